"""Weighted sums over positions with weights that are no parameters: numbers, data, or something computed."""

from __future__ import annotations

import torch
from torch.fx import Node

from lawful.blocks import MixPositions, Numbers, WeighPositions

from ..arrange import exact
from ..context import Context
from ..layout import Atom
from ..values import Data, Fixed, NotUnderstood, Stream, Value


def weighed(low: Context, node: Node, weights: Value, value: Value) -> Stream:
    """`A x`: a matrix of numbers, or one for every example, times a tensor `(batch, positions, features)`.

    Raises:
        NotUnderstood: where what is mixed are no positions, or examples are.
    """
    x = low.stream(value, node, False)
    if len(x.dims) != 3 or not any(a.axis == 0 for a in x.dims[0]) or x.feature_dims not in ([2], []):
        raise NotUnderstood("a product of two tensors that mixes no positions alone")
    if isinstance(weights, Fixed):
        t = weights.tensor
        t = t[0] if t.ndim == 3 and (t == t[:1]).all() else t
        if t.ndim != 2 or not t.is_floating_point():
            raise NotUnderstood("a product with numbers that differ from example to example")
        (y,) = low.emit(node, MixPositions(Numbers(t)), [exact(low, node, x, 2)], label="mix")
    else:
        a = low.stream(weights, node, False)
        if len(a.dims) != 3 or not any(k.axis == 0 for k in a.dims[0]):
            raise NotUnderstood("a product with weights that are the same for every example")
        block = WeighPositions(narrow=not isinstance(weights, Data))
        (y,) = low.emit(node, block, [exact(low, node, a, 2), exact(low, node, x, 2)], label="mix")
    n, width = y.signal.space[0], y.signal.features
    return y.arranged((x.dims[0], (Atom(1, n),) if n > 1 else (), (Atom(2, width),) if width > 1 else ()))


def added_at(low: Context, node: Node, x: Value, dim: int, index: torch.Tensor, length: int, mean: bool) -> Stream:
    """What has one and the same place among new positions, added up: messages to the nodes of a graph.

    Args:
        low: the program.
        node: the call.
        x: what is added, `(batch, positions, features)`.
        dim: the dimension of the positions.
        index: for every position its place.
        length: number of places.
        mean: whether it is the mean of them and not the sum.

    Raises:
        NotUnderstood: for other arrangements.
    """
    if dim % 3 != 1:
        raise NotUnderstood("entries that are added along other axes than those of positions")
    table = torch.zeros(length, len(index), dtype=torch.float64)
    table[index, torch.arange(len(index))] = 1
    if mean:
        table = table / table.sum(1, keepdim=True).clamp_min(1)
    return weighed(low, node, Fixed(table), x)
