"""Sums, products and concatenations of two or more tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import (
    Add,
    AddNumbers,
    Affine,
    Blend,
    Concat,
    ConcatPositions,
    ConcatTokens,
    HeadAffine,
    Mixture,
    Numbers,
    Pointwise,
    Product,
    RepeatFeatures,
    ScalarGain,
    Scale,
    Table,
    TimesNumbers,
)

from ..arguments import restored
from ..arrange import aligned, exact, relength, spread, straight
from ..layout import COPIES, Atom, Dim, canonical, merged
from ..lowering import Lowering, handles
from ..sources import arranged_name, source
from ..values import Combined, Data, Fixed, Moved, NotUnderstood, Rows, Scores, Stream, Value, Weight
from .applied import gained as gained_by_parts
from .combined import as_stream, combined, distributed
from .features import along_features, centred
from .formed import Formed
from .gates import Positive, gated
from .norms import written_out
from .parts import joined_vectors
from .rotary import partly, rotated


def number(value: Value) -> float | None:
    """A fixed number, or a fixed tensor that is one number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Fixed) and value.known and value.tensor.numel() == 1 and value.tensor.is_floating_point():
        return float(value.tensor)
    return None


@handles("add.Tensor", "add.Scalar")
def add(low: Lowering, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`a + alpha b`."""
    if isinstance(a, Scores) or isinstance(b, Scores):
        from .attention import biased

        return biased(low, node, a, b, alpha) if isinstance(a, Scores) else biased(low, node, b, a, 1)
    if alpha != 1:
        b = mul(low, node, b, alpha)
    if not isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        a, b = b, a
    if (c := number(b)) is not None:
        return plus(low, node, a, c)
    if isinstance(a, Fixed) and isinstance(b, Rows):
        a, b = b, a
    if isinstance(a, Rows) and isinstance(b, Fixed):
        return replace(a, masks=(*a.masks, b.tensor))
    turned = rotated(low, node)
    if turned is not None:
        return turned
    if isinstance(b, Fixed):
        return _with_numbers(low, node, low.stream(a, node), b, AddNumbers)
    if isinstance(a, (Weight, Combined)) and isinstance(b, (Weight, Combined)):
        both = combined((a, 1.0), (b, 1.0))
        if both is not None:
            return both
        a = as_stream(low, node, a) if isinstance(a, Combined) else a
    if isinstance(b, Weight):
        return _shifted(low, node, low.stream(a, node, _first(b)), b)
    if isinstance(b, Combined):
        for w, c in b.terms:
            a = add(low, node, a, w if c == 1 else times(low, node, low.stream(w, node, _first(w)), c))
        return a
    if isinstance(a, (Weight, Rows)) and isinstance(b, (Weight, Rows)):
        raise NotUnderstood("a sum of parameters")
    return joined(low, node, Add(), a, b)


def plus(low: Lowering, node: Node, a: Value, c: float) -> Value:
    """`a + c` for a number."""
    if c == 0:
        return a
    a = as_stream(low, node, a) if isinstance(a, Combined) else a
    if isinstance(a, Weight):
        return Moved(weight=a, offset=c)
    s = low.stream(a, node)
    table = torch.full((1,) * len(s.signal.shape), c, dtype=torch.float64)
    (y,) = low.emit(node, AddNumbers(Numbers(table)), [s], label="add")
    return y.arranged(s.dims)


def _first(w: Weight) -> bool | None:
    """Whether a parameter that is added to an image speaks of channels first."""
    return True if len(w.shape) in (3, 4) and all(n == 1 for n in w.shape[-2:]) else None


@handles("sub.Tensor", "sub.Scalar")
def sub(low: Lowering, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`a - alpha b`."""
    if isinstance(b, (int, float)):
        return add(low, node, a, -b * alpha)
    if isinstance(a, Stream) and alpha == 1 and (found := centred(low, node, a)) is not None:
        return found
    return add(low, node, a, mul(low, node, b, -alpha))


@handles("rsub.Scalar", "rsub.Tensor")
def rsub(low: Lowering, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`b - alpha a`."""
    if b == 1 and alpha == 1 and isinstance(a, Stream):
        (y,) = low.emit(node, Pointwise("one_minus"), [a], label="one_minus")
        return y.arranged(a.dims)
    return add(low, node, mul(low, node, a, -alpha), b)


@handles("mul.Tensor", "mul.Scalar")
def mul(low: Lowering, node: Node, a: Value, b: Value) -> Value:
    """`a b`."""
    if isinstance(a, Scores) or isinstance(b, Scores):
        from .attention import scaled

        return scaled(low, node, a, b) if isinstance(a, Scores) else scaled(low, node, b, a)
    if not isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        a, b = b, a
    if isinstance(b, Positive) and (gate := gated(low, node, a, b)) is not None:
        return gate
    if (c := number(b)) is not None:
        return times(low, node, a, c)
    if str(node.target).startswith("aten.mul") and isinstance(a, Stream):
        found = written_out(low, node)
        if found is not None:
            return found
    if isinstance(b, Fixed):
        return _with_numbers(low, node, low.stream(a, node), b, TimesNumbers)
    if isinstance(b, Weight):
        return _gained(low, node, low.stream(a, node, _first(b)), b, 0.0)
    if isinstance(b, Combined) and not isinstance(a, (Weight, Combined)):
        return distributed(low, node, b, lambda w: mul(low, node, a, w))
    a, b = (as_stream(low, node, v) if isinstance(v, Combined) else v for v in (a, b))
    if isinstance(a, Stream) and isinstance(b, Formed) and len(b.shape) == 1 and along_features(a, len(a.dims) - 1):
        try:
            return gained_by_parts(low, node, a, b, len(a.dims) - 1)
        except NotUnderstood:
            pass
    if isinstance(b, Moved):
        return _gained(low, node, low.stream(a, node, _first(b.weight)), b.weight, b.offset)
    return joined(low, node, Product(), a, b)


def times(low: Lowering, node: Node, a: Value, c: float) -> Value:
    """`c a` for a number."""
    if c == 1:
        return a
    if c == 0 or not math.isfinite(c):
        raise NotUnderstood(f"a product with {c}")
    if isinstance(a, (Weight, Combined)):
        return combined((a, c))
    s = low.stream(a, node)
    (y,) = low.emit(node, Scale(c), [s], label="scale")
    return y.arranged(s.dims)


@handles("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(low: Lowering, node: Node, a: Value, b: Value) -> Value:
    """`a / b`."""
    c = number(b)
    if c is not None:
        return mul(low, node, a, 1 / c)
    if isinstance(a, (Stream, Data)):
        found = written_out(low, node)
        if found is not None:
            return found
    if isinstance(b, Fixed):
        return mul(low, node, a, Fixed(1 / b.tensor))
    if isinstance(b, Stream):
        (inverse,) = low.emit(node, Pointwise("reciprocal"), [b], label="reciprocal")
        return mul(low, node, a, inverse.arranged(b.dims))
    raise NotUnderstood("a quotient")


def joined(low: Lowering, node: Node, block: Add | Product, a: Value, b: Value) -> Stream:
    """A sum or a product of two streams."""
    first = True if any(isinstance(v, Stream) and v.signal.channels_first for v in (a, b)) else None
    x, y = low.stream(a, node, first), low.stream(b, node, first)
    if _fills(y) > _fills(x):
        x, y = y, x
    label = type(block).__name__.lower()
    try:
        x, y = aligned(low, node, x, y)
    except NotUnderstood as error:
        if "one factor" not in str(error) or not isinstance(block, Product):
            raise
        return _weighed(low, node, x, y)
    (out,) = low.emit(node, block, [x, y], label=label)
    return out.arranged(x.dims)


def _fills(s: Stream) -> int:
    return math.prod(s.shape)


def _weighed(low: Lowering, node: Node, x: Stream, y: Stream) -> Stream:
    """A stream times one number for every position: a mixture of one."""
    rank = len(x.dims)
    found = x.feature_dims
    if len(found) != 1:
        raise NotUnderstood("one factor for all features of a head")
    s = exact(low, node, x, found[0])
    pad = y.arranged(((),) * (rank - len(y.dims)) + y.dims)
    order = [i for i in range(rank) if i != found[0]] + [found[0]]
    weights = exact(low, node, pad.arranged(tuple(pad.dims[i] for i in order)), rank - 1)
    if found[0] != rank - 1:
        s = exact(low, node, x.arranged(tuple(x.dims[i] for i in order)), rank - 1)
    (out,) = low.emit(node, Mixture(normalised=False), [weights, s], label="weigh")
    back = [order.index(i) for i in range(rank)]
    dims = s.dims if found[0] == rank - 1 else tuple(s.dims[i] for i in back)
    return out.arranged(dims)


def _with_numbers(low: Lowering, node: Node, s: Stream, b: Fixed, kind: Any) -> Stream:
    """A sum or product with fixed numbers that broadcast against a stream."""
    t = b.tensor
    if not t.is_floating_point():
        t = t.to(torch.float64) if t.dtype != torch.bool or kind is TimesNumbers else t
    try:
        pairs = spread(s.dims, canonical(tuple(t.shape)))
    except NotUnderstood:  # numbers along an axis of copies: these become positions
        found = s.feature_dims
        if not any(a.axis == COPIES for d in s.dims for a in d) or len(found) > 1:
            raise
        s = exact(low, node, s, found[0] if found else len(s.dims) - 1)
        pairs = spread(s.dims, canonical(tuple(t.shape)))
    shape = [1] * (len(s.signal.shape) + 1)
    axes: dict[int, list[tuple[Atom, Atom]]] = {}
    for x, y in pairs:
        axes.setdefault(x.axis, []).append((x, y))
    order: list[Atom] = []
    sizes: list[int] = []
    for axis in range(len(shape)):
        own = sorted(axes.get(axis, []), key=lambda p: -p[0].stride)
        covered = [y for _, y in own if y.axis != COPIES]
        if covered and len(covered) != len(own):
            expanded = math.prod(x.size for x, _ in own)
            if axis == 0:
                raise NotUnderstood("fixed numbers differ from example to example")
            shape[axis] = expanded
            order += [y if y.axis != COPIES else Atom(COPIES, x.size) for x, y in own]
            sizes.append(len(own))
            continue
        if covered and axis == 0:
            raise NotUnderstood("fixed numbers differ from example to example")
        shape[axis] = math.prod(y.size for y in covered)
        order += covered
        sizes.append(len(covered))
    at = iter(order)
    dims = tuple(merged([next(at) for _ in range(n)]) for n in sizes)
    table = restored(dims, tuple(t.shape), batch=False)(t).reshape(shape)[0]
    (out,) = low.emit(node, kind(Numbers(table)), [s], label="add" if kind is AddNumbers else "times")
    return out.arranged(s.dims)


def _covered(s: Stream, w: Weight) -> tuple[list[Atom], dict[int, list[Atom]]]:
    """The atoms of a parameter in the order of a stream's tensor, and the stream's atoms that it covers by axis."""
    pairs = [(x, y) for x, y in spread(s.dims, w.dims) if y.axis != COPIES]
    pairs.sort(key=lambda p: (p[0].axis == s.feature_axis, p[0].axis, -p[0].stride))
    covered: dict[int, list[Atom]] = {}
    for x, _ in pairs:
        covered.setdefault(x.axis, []).append(x)
    return [y for _, y in pairs], covered


def _is_whole(s: Stream, covered: dict[int, list[Atom]]) -> bool:
    """Whether a parameter has one number for every feature and nothing else."""
    return set(covered) == {s.feature_axis} and math.prod(a.size for a in covered[s.feature_axis]) == s.signal.features


def _shifted(low: Lowering, node: Node, s: Stream, w: Weight) -> Value:
    """A stream plus a parameter."""
    order, covered = _covered(s, w)
    if not covered and s.signal.features > 1:
        return _one_shift(low, node, s, w)
    if _is_whole(s, covered) or (s.signal.features == 1 and not covered):
        name = arranged_name(w, order)
        (y,) = low.emit(node, Affine(s.signal.features, gain=False), [s], {"bias": name}, label="shift")
        return y.arranged(s.dims)
    return _with_table(low, node, s, w, Add())


def _one_shift(low: Lowering, node: Node, s: Stream, w: Weight) -> Value:
    """A stream plus one trained number: a table of one feature that is repeated."""
    (one,) = low.emit(node, Table(1, 1), [], {"weight": w.name}, label="shift")
    (many,) = low.emit(node, RepeatFeatures(s.signal.features), [one], label="repeat")
    dims: list[Dim] = [() for _ in s.signal.shape]
    dims.insert(s.feature_axis, (Atom(many.feature_axis, many.signal.features),))
    shift = exact(low, node, many.arranged(tuple(dims)), s.feature_axis, s.signal.channels_first)
    (y,) = low.emit(node, Add(), [s, shift], label="add")
    return y.arranged(s.dims)


def _with_table(low: Lowering, node: Node, s: Stream, w: Weight, block: Any) -> Value:
    order, covered = _covered(s, w)
    own = covered.get(s.feature_axis, [])
    if math.prod(a.size for a in own) != s.signal.features:
        raise NotUnderstood("a parameter for some positions or features only")
    feature = [i for i, d in enumerate(w.dims) if any(a in order[-len(own) :] for a in d)]
    if len(feature) != 1:
        raise NotUnderstood("a parameter whose features are cut")
    table = source(low, node, w, feature[0])
    return joined(low, node, block, s, table)


def _gained(low: Lowering, node: Node, s: Stream, w: Weight, offset: float) -> Value:
    """A stream times a parameter."""
    order, covered = _covered(s, w)
    if _is_whole(s, covered):
        name = arranged_name(w, order)
        (y,) = low.emit(
            node, Affine(s.signal.features, shift=False, offset=offset), [s], {"weight": name}, label="gain"
        )
        return y.arranged(s.dims)
    if not covered:
        (y,) = low.emit(node, ScalarGain(offset), [s], {"weight": w.name}, label="gain")
        return y.arranged(s.dims)
    own = covered.get(s.feature_axis, [])
    if set(covered) == {s.feature_axis} and own == list(s.feature_atoms)[-len(own) :]:
        width = math.prod(a.size for a in own)
        name = arranged_name(w, order)
        block = HeadAffine(s.signal.features // width, width, offset=offset)
        (y,) = low.emit(node, block, [s], {"weight": name}, label="gain")
        return y.arranged(s.dims)
    if offset:
        raise NotUnderstood("a parameter with an offset for some positions or features only")
    return _with_table(low, node, s, w, Product())


@handles("lerp.Tensor")
def lerp(low: Lowering, node: Node, a: Value, b: Value, g: Value) -> Value:
    """`a + g (b - a)`."""
    x, y, z = (low.stream(v, node) for v in (g, b, a))
    if not x.dims == y.dims == z.dims or not x.signal == y.signal == z.signal:
        raise NotUnderstood("a blend of unlike tensors")
    (out,) = low.emit(node, Blend(), [x, y, z], label="blend")
    return out.arranged(x.dims)


@handles("cat", "concat")
def cat(low: Lowering, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    """Tensors side by side: features, or positions."""
    rank = len(node.meta["val"].shape)
    dim %= rank
    vectors = joined_vectors(parts)
    if vectors is not None:
        return vectors
    turned = partly(low, node) if dim == rank - 1 and str(node.target).startswith("aten.cat") else None
    if turned is not None:
        return turned
    first = next((v for v in parts if isinstance(v, Stream)), None)
    known = first is not None and first.signal.channels_first
    streams = [
        source(low, node, v) if isinstance(v, (Weight, Fixed)) else low.stream(v, node, known or None) for v in parts
    ]
    streams = [s for s in streams if math.prod(s.shape)]
    lead = next((s for s in streams if s.shape_batch > 1), streams[0])
    beside = _beside(low, node, streams, dim) if len(streams) > 1 else None
    if beside is not None:
        return beside
    found = lead.feature_dims
    feature = found[0] if len(found) == 1 else dim if dim in found else rank - 1
    home = next((i for i, d in enumerate(lead.dims) if d and {a.axis for a in d} == {0}), 0)
    if home and dim != home and feature != home:
        return _reordered(low, node, streams, dim, [home, *(i for i in range(rank) if i != home)])
    if dim == 0:
        raise NotUnderstood("batches end to end")
    channels = lead.signal.channels_first and feature == 1 and rank > 2
    if feature not in (0, rank - 1) and not channels:
        return _reordered(low, node, streams, dim, [*(i for i in range(rank) if i != feature), feature])
    whole = [exact(low, node, s, feature, channels) for s in streams]
    if len(whole) == 1:
        return whole[0]
    if dim == feature:
        (y,) = low.emit(node, Concat(), whole, label="cat")
        return y
    axis = [i for i in range(1, rank) if i != feature].index(dim)
    if rank == 3 and not channels:
        (y,) = low.emit(node, ConcatTokens(), whole, label="cat")
    else:
        (y,) = low.emit(node, ConcatPositions(axis), whole, label="cat")
    return y


def _reordered(low: Lowering, node: Node, streams: Sequence[Stream], dim: int, order: Sequence[int]) -> Value:
    """Tensors side by side whose axes are put in another order before (examples first, features last), and back."""
    moved = []
    for s in streams:
        dims = [s.dims[i] for i in order]
        dims[0] = () if all(a.axis == COPIES for a in dims[0]) else dims[0]
        moved.append(s.arranged(tuple(dims)))
    y = cat(low, node, moved, order.index(dim))
    return y.arranged(tuple(y.dims[order.index(i)] for i in range(len(order))))


def _beside(low: Lowering, node: Node, streams: Sequence[Stream], dim: int) -> Stream | None:
    """Streams with equal axes end to end along a position axis of their ports, None if they are arranged otherwise."""
    first = next((s for s in streams if straight(s, dim) is not None), streams[0])
    axis = straight(first, dim)
    rest = first.dims[:dim] + first.dims[dim + 1 :]
    if axis is None:
        return None
    for s in streams:
        alike = s.dims[:dim] + s.dims[dim + 1 :] == rest and s.signal.channels_first == first.signal.channels_first
        single = s.dims[dim] == () and len(s.signal.space) == len(first.signal.space) and s.signal.space[axis] == 1
        if not alike or not (single or straight(s, dim) == axis):
            return None
    plain = len(first.signal.space) == 1 and not first.signal.channels_first
    (y,) = low.emit(node, ConcatTokens() if plain else ConcatPositions(axis), list(streams), label="cat")
    return relength(first, y, dim)


@handles("sum.dim_IntList", "mean.dim")
def reduce(
    low: Lowering, node: Node, x: Value, dims: Sequence[int] | None, keep: bool = False, **options: Any
) -> Value:
    """A mean or a sum over positions."""
    from .experts import mixture_of_experts
    from .positions import reduced
    from .stacks import summed_stack

    whole = summed_stack(low, node, dims, keep)
    if whole is not None:
        return whole
    if dims and "sum" in str(node.target):
        experts = mixture_of_experts(low, node, dims)
        if experts is not None:
            return experts
    return reduced(low, node, x, dims, keep, mean="mean" in str(node.target))
