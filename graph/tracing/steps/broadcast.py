"""Sums and products of a stream with another one, with fixed numbers, or with a parameter.

This file is long because all three ways to broadcast share how two shapes are brought together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import (
    Add,
    AddNumbers,
    Affine,
    Concat,
    HeadAffine,
    Larger,
    Mixture,
    Numbers,
    Product,
    RepeatFeatures,
    ScalarGain,
    Split,
    Table,
    TimesNumbers,
)

from ..arguments import restored
from ..arrange import aligned, exact, facing, joined_features, spread, spread_out
from ..context import Context
from ..layout import COPIES, Atom, Dim, canonical, merged, size, view
from ..sources import arranged_name, source
from ..values import BothRepeated, Fixed, NotUnderstood, OneFactor, Stream, Value, Weight
from .features import opened
from .formed import Beside, Formed
from .parameters import is_repeated


def joined(low: Context, node: Node, block: Add | Product | Larger, a: Value, b: Value) -> Stream:
    """A sum or a product of two streams, or the larger of both."""
    first = True if any(isinstance(v, Stream) and v.signal.channels_first for v in (a, b)) else None
    x, y = low.stream(a, node, first), low.stream(b, node, first)
    if _fills(y) > _fills(x):
        x, y = y, x
    label = type(block).__name__.lower()
    if _apart(x, y):
        return _outer(low, node, block, x, y)
    try:
        x, y = aligned(low, node, x, y)
    except BothRepeated:
        if y.batched and not x.batched:
            x, y = y, x
        home = [d - len(y.dims) for d in y.feature_dims]
        at = home[0] if len(home) == 1 and not x.feature_dims else -1
        return joined(low, node, block, spread_out(low, node, x, _lengths(x, y), at), y)
    except OneFactor:
        if isinstance(block, Product) and len(x.feature_dims) == 1:
            return _weighed(low, node, x, y)
        x, y = aligned(low, node, x, spread_out(low, node, y, _lengths(x, y)))
    (out,) = low.emit(node, block, [x, y], label=label)
    return out.arranged(x.dims)


def _apart(x: Stream, y: Stream) -> bool:
    """Whether the features of two streams lie along different dimensions, each repeated along those of the other."""
    rank = max(len(x.dims), len(y.dims))
    homes = [[d - len(s.dims) for d in s.feature_dims] for s in (x, y)]
    pads = [((),) * (rank - len(s.dims)) + s.dims for s in (x, y)]
    whole = all(a.axis == s.feature_axis for s, own in zip((x, y), homes, strict=True) for d in own for a in s.dims[d])
    bare = all(a.axis == COPIES for dims, other in zip(pads, homes[::-1], strict=True) for d in other for a in dims[d])
    return all(homes) and not set(homes[0]) & set(homes[1]) and whole and bare and min(map(min, homes)) > -rank


def _outer(low: Context, node: Node, block: Add | Product | Larger, x: Stream, y: Stream) -> Stream:
    """What is made of every feature of one stream with every feature of another: pairs are features."""
    lengths = _lengths(x, y)
    rank = len(lengths)
    homes = [[d - len(s.dims) + rank for d in s.feature_dims] for s in (x, y)]
    pairs = homes[0] + homes[1]
    others = [d for d in range(rank) if d not in pairs]
    whole = [lengths[d] for d in others] + [math.prod(lengths[d] for d in pairs)]
    flat = []
    for s in (x, y):
        dims = ((),) * (rank - len(s.dims)) + s.dims
        every = [dims[d] or (Atom(COPIES, lengths[d]),) for d in pairs]
        opened = s.arranged((*(dims[d] for d in others), tuple(a for d in every for a in d if a.size > 1)))
        flat.append(spread_out(low, node, opened, whole if s.batched or lengths[0] == 1 else [1, *whole[1:]]))
    a, b = aligned(low, node, *flat)
    (out,) = low.emit(node, block, [a, b], label=type(block).__name__.lower())
    lying = dict(zip(others, a.dims, strict=False))
    stride = whole[-1]
    for d in pairs:
        stride //= lengths[d]
        lying[d] = (Atom(out.feature_axis, lengths[d], stride),) if lengths[d] > 1 else ()
    return out.arranged(tuple(lying[d] for d in range(rank)))


def _lengths(x: Stream, y: Stream | Weight) -> list[int]:
    """The shape of two tensors that broadcast against each other."""
    rank = max(len(x.dims), len(y.dims))
    return [max(pair) for pair in zip(*((1,) * (rank - len(s.dims)) + s.shape for s in (x, y)), strict=True)]


def _fills(s: Stream) -> int:
    return math.prod(s.shape)


def _weighed(low: Context, node: Node, x: Stream, y: Stream) -> Stream:
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


def expanded(x: Value, lengths: Sequence[int]) -> Value:
    """A value whose dimensions of length 1 are repeated to a shape."""
    dims = ((),) * (len(lengths) - len(x.dims)) + x.dims
    return x.arranged(tuple(d if size(d) == n else (Atom(COPIES, n),) for d, n in zip(dims, lengths, strict=True)))


def one_for_all(s: Value, b: Fixed) -> Fixed:
    """Fixed numbers that are the same for every example of a stream, and a single one where they are all the same."""
    t = b.tensor
    if not isinstance(s, Stream) or not b.known or len(s.dims) != t.ndim or not t.is_floating_point():
        return b
    for i, d in enumerate(s.dims):
        if t.shape[i] > 1 and t.shape[i] == s.shape[i] and d and all(a.axis == 0 for a in d):
            first = t.narrow(i, 0, 1)
            if not bool((t == first).all()):
                return b
            t = first
    if t is b.tensor:
        return b
    return Fixed(t.reshape(-1)[:1].reshape((1,) * t.ndim) if bool((t == t.reshape(-1)[0]).all()) else t)


def with_numbers(low: Context, node: Node, s: Stream, b: Fixed, kind: Any) -> Stream:
    """A sum or product with fixed numbers that broadcast against a stream."""
    t = b.tensor
    if not t.is_floating_point():
        t = t.to(torch.float64) if t.dtype != torch.bool or kind is TimesNumbers else t
    try:
        pairs = spread(s.dims, canonical(tuple(t.shape)))
    except NotUnderstood:  # numbers along axes that are copied, or are none yet: these become positions
        lengths = torch.broadcast_shapes(s.shape, t.shape)
        s = spread_out(low, node, s, lengths)
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


def _widened(low: Context, node: Node, s: Stream, w: Weight, met: Callable[[Stream, Weight], Value]) -> Value:
    """What becomes of a stream and a parameter that has axes which the stream lacks: these are features as well.

    Args:
        low: the program.
        node: the call.
        s: the stream.
        w: the parameter.
        met: what is done to the two, once the stream has all axes.
    """
    lengths = _lengths(s, w)
    rank = len(lengths)
    dims, own = ((),) * (rank - len(s.dims)) + s.dims, ((),) * (rank - len(w.dims)) + w.dims
    homes = [d - len(s.dims) + rank for d in s.feature_dims]
    new = [d for d in range(rank) if not dims[d] and lengths[d] > 1]
    pairs = sorted(homes + new)
    whole = all(own[d] for d in pairs) and all(a.axis == s.feature_axis for d in homes for a in dims[d])
    if not whole or 0 in pairs:
        return met(spread_out(low, node, s, lengths), w)
    others = [d for d in range(rank) if d not in pairs]
    last = tuple(a for d in pairs for a in (dims[d] or (Atom(COPIES, lengths[d]),)))
    wide = [lengths[d] for d in others] + [math.prod(lengths[d] for d in pairs)]
    flat = spread_out(low, node, s.arranged((*(dims[d] for d in others), last)), wide)
    y = met(flat, w.arranged((*(own[d] for d in others), merged(a for d in pairs for a in own[d]))))
    back = dict(zip(others, y.dims, strict=False))
    back |= dict(zip(pairs, view(y.dims[-1:], [lengths[d] for d in pairs]), strict=True))
    return y.arranged(tuple(back[d] for d in range(rank)))


def plus_parameter(low: Context, node: Node, s: Stream, w: Weight) -> Value:
    """A stream plus a parameter."""
    if list(s.shape) != _lengths(s, w):
        return _widened(low, node, s, w, lambda t, v: plus_parameter(low, node, t, v))
    order, covered = _covered(s, w)
    if not covered and s.signal.features > 1:
        return _one_shift(low, node, s, w)
    if _is_whole(s, covered) or (s.signal.features == 1 and not covered):
        name = arranged_name(w, order)
        (y,) = low.emit(node, Affine(s.signal.features, gain=False), [s], {"bias": name}, label="shift")
        return y.arranged(s.dims)
    return _with_table(low, node, s, w, Add())


def _one_shift(low: Context, node: Node, s: Stream, w: Weight) -> Value:
    """A stream plus one trained number: a table of one feature that is repeated."""
    (one,) = low.emit(node, Table(1, 1), [], {"weight": w.name}, label="shift")
    (many,) = low.emit(node, RepeatFeatures(s.signal.features), [one], label="repeat")
    dims: list[Dim] = [() for _ in s.signal.shape]
    dims.insert(s.feature_axis, (Atom(many.feature_axis, many.signal.features),))
    shift = exact(low, node, many.arranged(tuple(dims)), s.feature_axis, s.signal.channels_first)
    (y,) = low.emit(node, Add(), [s, shift], label="add")
    return y.arranged(s.dims)


def times_parameter(low: Context, node: Node, s: Stream, w: Weight, offset: float) -> Value:
    """A stream times a parameter."""
    if list(s.shape) != _lengths(s, w):
        return _widened(low, node, s, w, lambda t, v: times_parameter(low, node, t, v, offset))
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


def _facing(low: Context, node: Node, s: Stream, w: Weight) -> Stream | None:
    """A stream with the dimension as features along which a parameter has numbers; None where that is none."""
    own = [len(s.dims) - i for i, d in enumerate(reversed(w.dims), 1) if d]
    if len(own) != 1:
        return None
    turned = facing(low, node, s, own[0])
    whole = turned.dims[own[0]] == turned.feature_atoms and turned.signal.features == w.shape[own[0] - len(s.dims)]
    return turned if whole else None


def _with_table(low: Context, node: Node, s: Stream, w: Weight, block: Any) -> Value:
    order, covered = _covered(s, w)
    own = covered.get(s.feature_axis, [])
    if math.prod(a.size for a in own) != s.signal.features:
        turned = _facing(low, node, s, w)
        if turned is None:
            raise NotUnderstood("a parameter for some positions or features only")
        met = plus_parameter if isinstance(block, Add) else partial(times_parameter, offset=0.0)
        return met(low, node, turned, w)
    feature = [i for i, d in enumerate(w.dims) if any(a in order[-len(own) :] for a in d)]
    if len(feature) != 1:
        raise NotUnderstood("a parameter whose features are cut")
    table = low.stream(w, node) if len(w.dims) == 1 else source(low, node, w, feature[0])
    return joined(low, node, block, s, table)


def times_parameters(low: Context, node: Node, s: Stream, value: Formed, axis: int) -> Stream:
    """A stream times a vector of parameters that are put end to end: a gain for each part of its features.

    Raises:
        NotUnderstood: for any other vector.
    """
    if not isinstance(value, Beside) or not all(isinstance(p, Weight) and not is_repeated(p) for p in value.parts):
        raise NotUnderstood("a gain that is computed")
    s = opened(low, node, s, axis)
    if value.shape != (s.signal.features,):
        raise NotUnderstood("a gain for some of the features")
    pieces = low.emit(node, Split(value.sizes), [s], label="split", key=("split", s.port, value.sizes))
    whole = [joined_features(s, piece, axis) for piece in pieces]
    parts = [gain_by(low, node, piece, w, axis) for piece, w in zip(whole, value.parts, strict=True)]
    (y,) = low.emit(node, Concat(), parts, label="cat")
    return joined_features(s, y, axis)


def gain_by(low: Context, node: Node, s: Stream, w: Weight, axis: int) -> Stream:
    """A stream times a parameter with one number for every feature."""
    name = arranged_name(w, [a for d in w.dims for a in d])
    (y,) = low.emit(node, Affine(s.signal.features, shift=False), [s], {"weight": name}, label="gain")
    return y.arranged(s.dims)
