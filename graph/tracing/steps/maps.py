"""Linear maps of the last dimension."""

from __future__ import annotations

import torch
from torch.fx import Node

from lawful.blocks import InnerProducts, Linear, MixFeatures, Numbers

from ..arrange import exact, focus
from ..context import Context
from ..layout import Atom, Dim, size
from ..values import Combined, Fixed, NotUnderstood, Stream, Value, Weight
from .applied import apply
from .arithmetic import add, distributed
from .formed import Formed, Unit
from .parameters import bias_name, is_repeated, matrix_name
from .reparametrised import Directed, Joined, dense_in_parts, directed_map, unit_map


def dense(low: Context, node: Node, x: Value, weight: Value, bias: Value, out: int, inn: int) -> Stream:
    """A linear map of the last dimension by a parameter.

    Args:
        low: the program.
        node: the call.
        x: what it reads.
        weight: the parameter.
        bias: a parameter or None.
        out: the dimension of the weight that runs over outputs.
        inn: the dimension of the weight that runs over inputs.

    Raises:
        NotUnderstood: for weights that are no plain parameter, and maps of positions.
    """
    if isinstance(weight, Combined):
        y = distributed(low, node, weight, lambda w: dense(low, node, x, w, None, out, inn))
        return y if bias is None else plus_bias(low, node, y, bias)
    if isinstance(weight, Directed) and (out, inn) == (0, 1):
        return directed_map(low, node, x, weight, bias)
    if isinstance(weight, Unit):
        if (out, inn) != (0, 1):
            raise NotUnderstood("a map whose columns are divided by their lengths")
        return _with_bias(low, node, unit_map(low, node, x, weight), bias)
    if (isinstance(weight, Formed) or is_repeated(weight)) and len(weight.shape) == 2:
        s = focus(low, node, low.stream(x, node, channels_first=False), -1)

        def leaf(z: Stream, w: Weight | Unit, turned: bool) -> Stream:
            return dense(low, node, z, w, None, int(turned), int(not turned))

        return _with_bias(low, node, apply(low, node, s, weight, leaf, len(s.dims) - 1, turned=out == 1), bias)
    if isinstance(weight, Fixed) and len(weight.shape) == 2 and weight.tensor.is_floating_point():
        return _with_bias(low, node, _fixed_map(low, node, x, weight.tensor if out == 0 else weight.tensor.t()), bias)
    if isinstance(weight, Stream) and len(weight.dims) == 2:
        return _with_bias(
            low, node, _computed_map(low, node, x, weight.arranged((weight.dims[out], weight.dims[inn]))), bias
        )
    if not isinstance(weight, Weight) or len(weight.dims) != 2:
        raise NotUnderstood("a linear map whose weight is computed")
    name, transposed = matrix_name(weight, weight.dims[out], weight.dims[inn])
    width, features = size(weight.dims[out]), size(weight.dims[inn])
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    if isinstance(bias, Joined):
        return dense_in_parts(low, node, s, weight, bias, out, inn)
    plain = bias is None or (isinstance(bias, Weight) and not is_repeated(bias))
    names = {"weight": name} | (bias_name(bias, width) if plain else {})
    block = Linear(features, width, "bias" in names, transposed=transposed)
    (y,) = low.emit(node, block, [s], names)
    y = y.arranged((*s.dims[:-1], (Atom(y.feature_axis, width),) if width > 1 else ()))
    if plain:
        return y
    return plus_bias(low, node, y, bias)


def _computed_map(low: Context, node: Node, x: Value, rows: Stream) -> Stream:
    """A linear map by a matrix that is computed of parameters: products with each of its rows.

    Raises:
        NotUnderstood: for a matrix that differs from example to example.
    """
    if rows.shape_batch != 1 or any(a.axis == 0 for d in rows.dims for a in d):
        raise NotUnderstood("a linear map whose weight depends on the examples")
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    table = exact(low, node, rows.arranged(((), *rows.dims)), 2)
    (y,) = low.emit(node, InnerProducts(), [s, table], label="products")
    many = y.signal.space[-1]
    place: Dim = (Atom(len(y.signal.space), many),) if many > 1 else ()
    return focus(low, node, y.arranged((*s.dims[:-1], place)), -1)


def _fixed_map(low: Context, node: Node, x: Value, matrix: torch.Tensor) -> Stream:
    """A linear map of the last dimension by numbers."""
    s = focus(low, node, low.stream(x, node, channels_first=False), -1)
    (y,) = low.emit(node, MixFeatures(Numbers(matrix)), [s], label="mix")
    width = y.signal.features
    return y.arranged((*s.dims[:-1], (Atom(y.feature_axis, width),) if width > 1 else ()))


def _with_bias(low: Context, node: Node, y: Stream, bias: Value) -> Stream:
    return y if bias is None else plus_bias(low, node, y, bias)


def plus_bias(low: Context, node: Node, y: Value, bias: Value) -> Stream:
    """What a map gives plus a bias of any kind: a sum of parameters, numbers, something computed."""
    total = add(low, node, y, bias)
    assert isinstance(total, Stream)
    return total
