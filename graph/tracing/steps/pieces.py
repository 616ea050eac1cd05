"""Pieces of tensors: of positions, of features, of parameters."""

from __future__ import annotations

import math
from dataclasses import replace

from torch.fx import Node

from lawful.blocks import Concat, Positions, SelectToken, Split

from ..arrange import exact, relength, reordered, straight
from ..context import Context
from ..layout import COPIES, Atom, Dim, Dims, canonical, size
from ..values import NotUnderstood, Rows, Stacked, Stream, Value, Weight
from .apart import apart
from .parameters import piece_of, sliced


def piece(low: Context, node: Node, x: Value, dim: int, widths: list[int], which: int, gone: bool) -> Value:
    """One of the pieces that a dimension is cut into.

    Args:
        low: the program.
        node: the call.
        x: a stream or a parameter.
        dim: the dimension.
        widths: lengths of all pieces.
        which: the piece wanted.
        gone: whether the dimension is dropped.
    """
    dim %= len(x.dims)
    if isinstance(x, Stacked) and dim == 0 and gone:
        return x.parts[which]
    if len(widths) == 1:
        return x.arranged(x.dims[:dim] + x.dims[dim + 1 :]) if gone else x
    atoms = x.dims[dim]
    if all(a.axis == COPIES for a in atoms):
        rest: Dim = () if widths[which] == 1 else (Atom(COPIES, widths[which]),)
        return x.arranged(x.dims[:dim] + (() if gone else (rest,)) + x.dims[dim + 1 :])
    if isinstance(x, Weight):
        return sliced(x, dim, widths, which, gone)
    if isinstance(x, Rows) and gone and atoms == (Atom(1, x.weight.shape[1]),) and not x.masks:  # those of one head
        return replace(x, weight=piece_of(x.weight, 1, which, which + 1), dims=x.dims[:dim] + x.dims[dim + 1 :])
    if not isinstance(x, Stream):
        raise NotUnderstood("a piece of scores")
    if any(a.axis == x.feature_axis for a in atoms):
        return _features(low, node, x, dim, widths, which, gone)
    start = sum(widths[:which])
    if any(a.axis == 0 for a in atoms) and size(atoms) > 1:
        raise NotUnderstood("single examples of a batch are used")
    if widths[which] == 1 and len(x.signal.space) == 1 and not x.signal.channels_first and len(x.dims) == 3:
        s = exact(low, node, x, 1 if dim == 2 else 2)  # features lie where the tokens do not
        (y,) = low.emit(node, SelectToken(start), [s], label="token")
        return y if gone else y.arranged((*y.dims[:dim], (), *y.dims[dim:]))
    out = _positions(low, node, x, dim, (start, start + widths[which], 1))
    return out.arranged(out.dims[:dim] + out.dims[dim + 1 :]) if gone else out


def _positions(low: Context, node: Node, x: Value, dim: int, run: tuple[int, int, int]) -> Stream:
    """A slice of positions."""
    if not isinstance(x, Stream):
        raise NotUnderstood("every second entry of a parameter is used")
    dim %= len(x.dims)
    axis = straight(x, dim)
    if axis is not None:
        (out,) = low.emit(node, Positions("slice", run, axis), [x], label="slice")
        return relength(x, out, dim)
    found = x.feature_dims
    if dim in found:
        raise NotUnderstood("every second feature is used")
    feature = found[0] if len(found) == 1 else len(x.dims) - 1
    s = exact(low, node, x, feature, first=x.signal.channels_first and feature == 1)
    if len(s.dims[dim]) != 1:
        raise NotUnderstood("positions and examples are cut together")
    axis = s.dims[dim][0].axis
    axes = [i for i in range(1, len(s.signal.shape) + 1) if i != s.feature_axis]
    (out,) = low.emit(node, Positions("slice", run, axes.index(axis)), [s], label="slice")
    left = (Atom(axis, out.signal.space[axes.index(axis)]),)
    return out.arranged((*s.dims[:dim], left if left[0].size > 1 else (), *s.dims[dim + 1 :]))


def _features(low: Context, node: Node, x: Stream, dim: int, widths: list[int], which: int, gone: bool) -> Stream:
    """A run of features: an output of a split, or of a map of its own where they do not lie together."""
    atoms, every = x.dims[dim], x.feature_atoms
    first = atoms[0]
    if first.axis != x.feature_axis:
        raise NotUnderstood("positions and features are cut together")
    inner = math.prod(a.size for a in atoms) // first.size  # what of the dimension lies inside of its outer atom
    if any(w % inner for w in widths):
        raise NotUnderstood("features are cut across their pieces")
    runs = [w // inner for w in widths]
    if first == every[0]:
        parts = tuple(r * first.stride for r in runs)
        streams = _joined(low, x, parts) or low.emit(
            node, Split(parts), [x], label="split", key=("split", x.port, parts)
        )
        s = streams[which]
        kept = _without(x, first, runs[which])
        dims = kept[:dim] + kept[dim + 1 :] if gone else kept
        moved = tuple(
            tuple(Atom(s.feature_axis if a.axis == x.feature_axis else a.axis, a.size, a.stride) for a in d)
            for d in dims
        )
        return s.arranged(moved)
    try:
        out = apart(low, node, x, first, runs, which)
    except NotUnderstood:  # no map wrote them
        return _features(low, node, outermost(low, node, x, first), dim, widths, which, gone)
    return out.arranged(out.dims[:dim] + out.dims[dim + 1 :]) if gone else out


def _joined(low: Context, x: Stream, parts: tuple[int, ...]) -> tuple[Stream, ...] | None:
    """The streams that a concatenation put side by side, where these are the pieces wanted."""
    if not isinstance(low.builder.blocks.get(x.port[0]), Concat):
        return None
    ports = low.builder.reads[x.port[0]]
    signals = [low.builder.signals[p] for p in ports]
    if tuple(s.features for s in signals) != parts:
        return None
    return tuple(Stream(p, s, canonical((x.shape_batch, *s.shape))) for p, s in zip(ports, signals, strict=True))


def outermost(low: Context, node: Node, x: Stream, cut: Atom) -> Stream:
    """A stream whose features stand in another order, in which one of their atoms is the outermost one."""
    every = x.feature_atoms
    order = [cut, *(a for a in every if a != cut)]
    numbers = [0]
    for a in order:
        numbers = [at + k * a.stride for at in numbers for k in range(a.size)]
    y = reordered(low, node, x, numbers)
    strides = [math.prod(a.size for a in order[k + 1 :]) for k in range(len(order))]
    new = {a: Atom(y.feature_axis, a.size, n) for a, n in zip(order, strides, strict=True)}
    return y.arranged(tuple(tuple(new.get(a, a) for a in d) for d in x.dims))


def _without(x: Stream, cut: Atom, left: int) -> Dims:
    """The dimensions of a stream whose outer feature atom is shorter."""
    return tuple(
        tuple(Atom(a.axis, left, a.stride) if a == cut else a for a in d if a != cut or left > 1) for d in x.dims
    )
