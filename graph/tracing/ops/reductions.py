"""Means, sums and maxima over positions; sums over a stack, and over chosen experts."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import GlobalMaxPool, GroupMax, Pointwise, Product, Split

from ..arguments import Arguments
from ..arrange import exact, joined_features, reordered
from ..context import Context, handles
from ..layout import Dim
from ..opaque import ONLY_CHOICES, emit_opaque
from ..purity import name_of
from ..steps.arithmetic import add, mul, times
from ..steps.experts import mixture_of_experts
from ..steps.features import along_features, opened
from ..steps.formed import is_weight
from ..steps.maps import dense
from ..steps.patterns import plain
from ..steps.pointwise import mapped
from ..steps.positions import reduced
from ..steps.side_by_side import stacked, summed_stack, weighed_sum
from ..steps.totals import over_examples
from ..values import Fixed, NotUnderstood, Stream, Value, Weight

FACTORS = 16  # features at most whose product is taken factor by factor


@handles("logsumexp")
def logsumexp(low: Context, node: Node, x: Value, dims: Any, keep: bool = False) -> Value:
    """The logarithm of a sum of exponentials over features.

    Raises:
        NotUnderstood: for positions, along which it is measured as a whole.
    """
    along, s = [dims] if isinstance(dims, int) else list(dims), low.stream(x, node)
    if len(along) != 1 or not along_features(s, along[0]):
        raise NotUnderstood("no rule is known for it")
    total = reduced(low, node, mapped(low, node, s, Pointwise("exp"), "exp"), along, keep, mean=False)
    return mapped(low, node, total, Pointwise("log"), "log")


@handles("sum.dim_IntList", "mean.dim")
def reduce(low: Context, node: Node, x: Value, dims: Sequence[int] | None, keep: bool = False, **options: Any) -> Value:
    """A mean or a sum over positions."""
    mean = "mean" in str(node.target)
    whole = _summed_stack(low, node, dims, keep) or _summed_weight(low, node, x, dims, keep, mean)
    if whole is not None:
        return whole
    if dims and "sum" in str(node.target):
        experts = mixture_of_experts(low, node, dims)
        if experts is not None:
            return experts
        products = _weighed(low, node, dims, keep) if len(dims) == 1 else None
        if products is not None:
            return products
    return over_examples(low, node, x, dims, keep, mean) or reduced(low, node, x, dims, keep, mean)


def _weighed(low: Context, node: Node, dims: Sequence[int], keep: bool) -> Stream | None:
    """A sum over experts of a product with their weights; None for any other sum."""
    product = plain(node.args[0])
    if not isinstance(product, Node) or name_of(product) != "mul":
        return None
    at = dims[0] % len(product.meta["val"].shape)
    y = None
    for one, other in (product.args[:2], product.args[1::-1]):
        if y is None and isinstance(one, Node) and isinstance(other, Node):
            values, weights = low.env.get(one), low.env.get(other)
            parts = stacked(low, one, at)
            y = weighed_sum(low, node, values, weights, at)
            y = summed_stack(low, node, parts, weights, at) if parts and y is None else y
    return y.arranged((*y.dims[:at], (), *y.dims[at:])) if y is not None and keep else y


@handles("mean", "sum")
def of_everything(low: Context, node: Node, x: Value, **options: Any) -> Value:
    """The mean or the sum of all numbers, examples included."""
    s = low.stream(x, node)
    mean = "mean" in str(node.target)
    found = over_examples(low, node, s, list(range(len(s.dims))), False, mean)
    return found or reduced(low, node, s, list(range(len(s.dims))), False, mean)


@handles("nansum")
def finite_sum(
    low: Context, node: Node, x: Value, dims: Sequence[int] | None = None, keep: bool = False, **options: Any
) -> Value:
    """A sum of numbers, all of which are."""
    return reduce(low, node, x, dims, keep) if dims else of_everything(low, node, x)


@handles("var.correction", "var.dim")
def variance(low: Context, node: Node, x: Value, dims: Any = None, *rest: Any, **options: Any) -> Stream:
    """A variance over features: the mean of what is left of each square without the mean."""
    s = low.stream(x, node)
    rank, keep = len(s.dims), bool(options.get("keepdim", rest[1] if len(rest) > 1 else False))
    asked = sorted(d % rank for d in dims) if dims else list(range(rank))
    if not set(asked) & set(s.feature_dims):
        raise NotUnderstood("a variance over positions alone")  # which treats every feature by itself
    count = math.prod(s.shape[d] for d in asked)
    plain = options.get("unbiased", rest[0] if rest else True)  # of the older form
    less = options.get("correction") if "correction" in str(node.target) else int(plain)
    less = 1.0 if less is None else float(less)
    if count <= less:
        raise NotUnderstood("a variance of fewer numbers than its correction takes away")
    centre = add(low, node, s, times(low, node, reduced(low, node, s, asked, True, True), -1.0))
    square = reduced(low, node, mul(low, node, centre, centre), asked, keep, True)
    y = times(low, node, square, count / (count - less))
    assert isinstance(y, Stream)
    return y


@handles("std.correction", "std.dim")
def deviation(low: Context, node: Node, x: Value, dims: Any = None, *rest: Any, **options: Any) -> Stream:
    """The root of a variance over features."""
    y = variance(low, node, x, dims, *rest, **options)
    (root,) = low.emit(node, Pointwise("sqrt"), [y], label="sqrt")
    return root.arranged(y.dims)


@handles("prod.dim_int")
def product(low: Context, node: Node, x: Value, dim: int, keep: bool = False, **options: Any) -> Value:
    """The product of a few features: each has a scale of its own."""
    s = low.stream(x, node)
    if s.feature_dims != [dim % len(s.dims)] or s.signal.features > FACTORS:
        raise NotUnderstood("a product along an axis")
    s = opened(low, node, s, dim)
    first, *others = low.emit(node, Split((1,) * s.signal.features), [s], label="split")
    for other in others:
        (first,) = low.emit(node, Product(), [first, other], label="prod")
    y = joined_features(s, first, dim)
    at = dim % len(s.dims)
    return y if keep else y.arranged((*y.dims[:at], *y.dims[at + 1 :]))


def _summed_stack(low: Context, node: Node, dims: Sequence[int] | None, keep: bool) -> Stream | None:
    """A sum or mean over the axis of a stack, as the sum of what was stacked; None for any other sum.

    Args:
        low: the program.
        node: the call of the sum.
        dims: what is summed.
        keep: whether the axis stays, with length 1.
    """
    whole = node.args[0]
    if not isinstance(whole, Node) or name_of(whole) != "stack" or not dims or len(dims) != 1:
        return None
    rank = len(whole.meta["val"].shape)
    at = int(whole.args[1] if len(whole.args) > 1 else whole.kwargs.get("dim", 0)) % rank  # type: ignore[arg-type]
    parts = low.value(whole.args[0])
    if at != dims[0] % rank or not all(isinstance(p, Stream) for p in parts):
        return None
    y = parts[0]
    for part in parts[1:]:
        y = add(low, node, y, part)
    if name_of(node) == "mean":
        y = times(low, node, y, 1 / len(parts))
    return y.arranged((*y.dims[:at], (), *y.dims[at:])) if keep else y


def _summed_weight(
    low: Context, node: Node, x: Value, dims: Sequence[int] | None, keep: bool, mean: bool
) -> Stream | None:
    """The sum of the rows or columns of a matrix of parameters: what it makes of ones; None for any other sum.

    A map of the same matrix elsewhere is then another use of one and the same kind.
    """
    if not is_weight(x) or not dims:
        return None
    rank = len(x.shape)
    asked = {d % rank for d in dims}
    long = [i for i in range(rank) if x.shape[i] > 1]
    if len(long) != 2 or len(asked.intersection(long)) != 1 or (rank > 2 and not isinstance(x, Weight)):
        return None
    (out,), (inn,) = ([i for i in long if (i in asked) == gone] for gone in (False, True))
    count = x.shape[inn]
    numbers = torch.full((1, count), 1 / count if mean else 1.0, dtype=torch.float64)
    matrix = x.arranged((x.dims[out], x.dims[inn])) if isinstance(x, Weight) else x
    turned = not isinstance(x, Weight) and out == 1
    try:
        y = dense(low, node, Fixed(numbers), matrix, None, out=int(turned), inn=int(not turned))
    except NotUnderstood:
        return None
    left = [y.dims[-1] if i == out else () for i in range(rank)]
    return y.arranged(tuple(d for i, d in enumerate(left) if keep or i not in asked))


@handles("amax", "max.dim")
def largest(low: Context, node: Node, x: Value, dims: Any = (), keep: bool = False) -> Value:
    """The maximum over all positions, or over all features."""
    s = low.stream(x, node)
    rank = len(s.dims)
    asked = sorted(d % rank for d in ([dims] if isinstance(dims, int) else dims))
    found = s.feature_dims
    if len(found) == 1 and asked == found and s.signal.features == s.shape[found[0]] > 1:
        s = opened(low, node, s, found[0])
        (y,) = low.emit(node, GroupMax(s.signal.features), [s], label="max")
        out = joined_features(s, y, found[0])
        out = out if keep else out.arranged(tuple(d for i, d in enumerate(out.dims) if i not in asked))
        return _with_numbers(low, node, x, out)
    if len(asked) == 1 and (grouped := _of_groups(low, node, s, asked[0])) is not None:
        out = grouped if keep else grouped.arranged(tuple(d for i, d in enumerate(grouped.dims) if i not in asked))
        return _with_numbers(low, node, x, out)
    found = s.feature_home
    spaces = [d for d in range(1, rank) if d not in found and s.shape[d] > 1]
    if len(found) != 1 or not set(spaces) <= set(asked) or found[0] in asked or 0 in asked:
        raise NotUnderstood("a maximum over some of the positions")
    s = exact(low, node, s, found[0], first=s.signal.channels_first and found[0] == 1)
    (y,) = low.emit(node, GlobalMaxPool(), [s], label="max")
    left: list[Dim] = [() for _ in range(rank)]
    left[0], left[found[0]] = y.dims[0], y.dims[-1]
    out = y.arranged(tuple(d for i, d in enumerate(left) if keep or i not in asked))
    return _with_numbers(low, node, x, out)


def _of_groups(low: Context, node: Node, s: Stream, dim: int) -> Stream | None:
    """The largest along one of the axes that the features are cut into (maxout); None for any other axis."""
    atoms, own = list(s.feature_atoms), s.dims[dim]
    if len(own) != 1 or own[0] not in atoms or math.prod(a.size for a in atoms) != s.signal.features or len(atoms) < 2:
        return None
    rest = [a for a in atoms if a != own[0]]
    order = [0]
    for a in (*rest, own[0]):
        order = [i + k * a.stride for i in order for k in range(a.size)]
    ordered = reordered(low, node, s, order)
    (y,) = low.emit(node, GroupMax(own[0].size), [ordered], label="max")
    strides = {a: math.prod(b.size for b in rest[i + 1 :]) for i, a in enumerate(rest)}
    return y.arranged(
        tuple(tuple(replace(a, stride=strides.get(a, a.stride)) for a in d if a != own[0]) for d in s.dims)
    )


def _with_numbers(low: Context, node: Node, x: Value, largest: Stream) -> Value:
    """A maximum with the numbers of what is largest, where the call gives them; they only choose."""
    if name_of(node) != "max":
        return largest
    if not any(u.target is operator.getitem and u.args[1] == 1 and u.users for u in node.users):
        return largest, None
    arguments, rest = Arguments(low, node), node.args[1:]
    whole = arguments.plan(x)

    def numbers(tensors: Sequence[torch.Tensor], own: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.max(whole(tensors, own), *rest)[1]

    gives = node.meta["val"][1]
    return largest, emit_opaque(low, node, arguments.reads, ONLY_CHOICES, numbers, gives=gives, cut=True)
