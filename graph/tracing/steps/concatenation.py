"""Tensors side by side: features, or positions; fixed numbers beside features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.fx import Node

from lawful.blocks import Concat, ConcatPositions, ConcatTokens

from ..arrange import exact, relength, straight
from ..context import Context
from ..layout import COPIES, Atom, merged, view
from ..sources import source
from ..values import Fixed, NotUnderstood, Stream, Value, Weight
from .features import opened, picked
from .headwise import by_heads
from .pieces import piece
from .planes import halves_rotated
from .reparametrised import joined_vectors
from .rotary import partly
from .shuffled import side_by_side
from .sinks import with_sink

MANY = 16  # features that become positions one by one


def cat(low: Context, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    """Tensors side by side: features, or positions."""
    if len(parts) == 1:
        return parts[0]
    first = next((v for v in parts if isinstance(v, Stream)), None)
    rank = len(node.meta["val"].shape) if first is None else len(first.dims)
    dim %= rank
    vectors = joined_vectors(parts)
    if vectors is not None:
        return vectors
    joins = dim == rank - 1 and str(node.target).startswith("aten.cat")
    turned = (partly(low, node) or halves_rotated(low, node, list(node.args[0]), False)) if joins else None  # type: ignore[arg-type]
    if turned is not None:
        return turned
    sunk = with_sink(parts, dim)
    if sunk is not None:
        return sunk
    mixed = side_by_side(low, node, parts, dim, cat)
    if mixed is not None:
        return mixed
    known = first is not None and first.signal.channels_first
    streams = [low.stream(v, node, known or None) for v in parts]
    examples = [s for s in streams if s.shape_batch > 1] or streams[:1]
    lead = next((s for s in examples if s.feature_dims), examples[0])  # one feature by itself lies nowhere
    beside = _beside(low, node, streams, dim)
    if beside is not None:
        return beside
    headed = by_heads(low, node, streams, dim)
    if headed is not None:
        return headed
    if lead.dims[0] and not any(s.batched for s in streams):  # no examples: the first axis is one of positions
        y = cat(low, node, [s.arranged(((), *s.dims)) for s in streams], dim + 1)
        return y.arranged(y.dims[1:])
    found = lead.feature_home
    if len(found) > 1 and dim and dim not in found and 0 not in found:
        return _of_heads(low, node, parts, streams, dim, found)
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
    if dim == feature:
        (y,) = low.emit(node, Concat(), whole, label="cat")
        return y
    axis = [i for i in range(1, rank) if i != feature].index(dim)
    if rank == 3 and not channels:
        (y,) = low.emit(node, ConcatTokens(), whole, label="cat")
    else:
        (y,) = low.emit(node, ConcatPositions(axis), whole, label="cat")
    return y


def as_positions(low: Context, node: Node, s: Stream, dim: int) -> Stream:
    """A stream whose features along one of several dimensions are positions: piece by piece, end to end.

    Raises:
        NotUnderstood: for more than a few, and for what no piece of is understood.
    """
    n = s.shape[dim]
    if n > MANY:
        raise NotUnderstood("many features that are used as positions")
    y = cat(low, node, [piece(low, node, s, dim, [1] * n, i, gone=False) for i in range(n)], dim)
    assert isinstance(y, Stream)
    return y


def _of_heads(
    low: Context, node: Node, parts: Sequence[Value], streams: Sequence[Stream], dim: int, homes: Sequence[int]
) -> Value:
    """Tensors side by side along positions, whose features lie along several dimensions: these are one meanwhile.

    A parameter beside them, such as keys that are learned, is a table whose rows hold the features of all heads.

    Raises:
        NotUnderstood: for features in another order, or beside positions on one dimension.
    """
    rank = len(streams[0].dims)
    others = [i for i in range(rank) if i not in homes]
    moved = []
    for part, s in zip(parts, streams, strict=True):
        if isinstance(part, Weight):
            flat = merged(a for d in homes for a in part.dims[d])
            moved.append(source(low, node, part.arranged((*(part.dims[i] for i in others), flat)), -1))
            continue
        whole = tuple(a for d in homes for a in s.dims[d])
        if any(a.axis != s.feature_axis for a in whole) or whole != s.feature_atoms:
            raise NotUnderstood("positions and features of heads are put side by side")
        moved.append(s.arranged((*(s.dims[i] for i in others), merged(whole))))
    y = cat(low, node, moved, others.index(dim))
    dims = dict(zip(others, y.dims, strict=False))
    lengths = [streams[0].shape[d] for d in homes]
    dims |= dict(zip(homes, view(y.dims[-1:], lengths), strict=True))
    return y.arranged(tuple(dims[i] for i in range(rank)))


def _reordered(low: Context, node: Node, streams: Sequence[Stream], dim: int, order: Sequence[int]) -> Value:
    """Tensors side by side whose axes are put in another order before (examples first, features last), and back."""
    moved = []
    for s in streams:
        dims = [s.dims[i] for i in order]
        dims[0] = () if all(a.axis == COPIES for a in dims[0]) else dims[0]
        moved.append(s.arranged(tuple(dims)))
    y = cat(low, node, moved, order.index(dim))
    return y.arranged(tuple(y.dims[order.index(i)] for i in range(len(order))))


def _beside(low: Context, node: Node, streams: Sequence[Stream], dim: int) -> Stream | None:
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


def padded_heads(low: Context, node: Node, s: Stream, dim: int, before: int, after: int, value: float) -> Stream:
    """Fixed numbers beside the features of every head.

    Raises:
        NotUnderstood: for features that are cut into something else than heads.
    """
    own, new = s.feature_dims, s.signal.features
    if len(own) != 2 or any(len(s.dims[d]) != 1 for d in own) or min(before, after) < 0:
        raise NotUnderstood("padding of a part of the features")
    (other,) = (d for d in own if d != dim)
    (head,), (one,) = s.dims[other], s.dims[dim]
    if head.size * one.size != new:
        raise NotUnderstood("padding of a part of the features")
    dims = list(s.dims)
    dims[other], dims[dim] = (), (Atom(s.feature_axis, new),)
    longer = padded_features(low, node, s.arranged(tuple(dims)), dim, 0, 1, value)
    index: list[int] = []
    for h in range(head.size):
        inside = [h * head.stride + i * one.stride for i in range(one.size)]
        index += [new] * before + inside + [new] * after
    y = picked(low, node, longer, dim, index)
    wide = before + one.size + after
    dims = list(y.dims)
    dims[other], dims[dim] = (Atom(y.feature_axis, head.size, wide),), (Atom(y.feature_axis, wide),)
    return y.arranged(tuple(dims))


def padded_features(low: Context, node: Node, s: Stream, dim: int, before: int, after: int, value: float) -> Stream:
    """Fixed numbers beside the features."""
    parts: list[Stream | Fixed] = [opened(low, node, s, dim)]
    for n, at in ((before, 0), (after, 2)):
        if n < 0:
            raise NotUnderstood("features are cut by a negative padding")
        if n:
            shape = [*s.shape]
            shape[dim] = n
            parts.insert(at, Fixed(torch.full(shape, value, dtype=torch.float64)))
    out = cat(low, node, parts, dim)
    assert isinstance(out, Stream)
    return out
