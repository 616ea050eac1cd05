"""Brings streams into the arrangement that a block reads: by a `Rearrange` block, with copies as features.

This file is long because every way to bring a stream into an arrangement tries the others: they call each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lawful.blocks import Rearrange, Reorder, RepeatFeatures, Turn

from .layout import COPIES, Atom, Dim, Dims, Tangled, canonical, common, merged, shape
from .values import BothRepeated, NotUnderstood, OneFactor, Stream

if TYPE_CHECKING:
    from torch.fx import Node

    from .context import Context


def focus(low: Context, node: Node, s: Stream, feature: int) -> Stream:
    """A stream with features last whose feature axis is one dimension of the traced tensor.

    Raises:
        NotUnderstood: if no rule covers such a move.
    """
    feature %= len(s.dims)
    whole = (Atom(s.feature_axis, s.signal.features, 1),) if s.signal.features > 1 else ()
    if s.dims[feature] == whole and not (s.signal.channels_first and s.signal.space):
        return s
    return _rearranged(low, node, s, feature, first=False, every=False)


def exact(low: Context, node: Node, s: Stream, feature: int, first: bool = False) -> Stream:
    """A stream whose port carries the traced tensor as it is: the batch, then features first or last.

    Raises:
        NotUnderstood: if no rule covers such a move.
    """
    feature %= len(s.dims)
    wanted = (1 if first else len(s.dims) - 1) == feature and s.feature_axis == feature
    if wanted and s.dims == canonical((s.shape[0], *s.signal.shape)) and (s.signal.channels_first or not first):
        return s
    if wanted and s.dims == canonical((s.shape[0], *s.signal.shape)) and len(s.dims) == 2:
        return s
    return _rearranged(low, node, s, feature, first, every=True)


def turned(low: Context, node: Node, s: Stream, feature: int) -> Stream | None:
    """A stream whose features are what lies along a dimension of positions; None where that is no whole axis.

    Args:
        low: the program.
        node: the call.
        s: the stream.
        feature: the dimension.
    """
    wanted, found = s.dims[feature], s.feature_dims
    if not wanted and len(found) == 1 and found[0] and s.dims[found[0]] == s.feature_atoms:  # one feature was turned
        if all(s.signal.shape[axis - 1] > 1 for axis in own_axes(s)):
            s = exact(low, node, s, found[0], first=s.signal.channels_first and found[0] == 1)
        single = [axis for axis in own_axes(s) if s.signal.shape[axis - 1] == 1]
        return _swapped(low, node, s, single[0]) if single else None
    held = any(a.axis in (0, COPIES, s.feature_axis) for a in wanted)
    if held or not wanted or not found or any(a.axis != s.feature_axis for d in found for a in s.dims[d]):
        return None
    if len(wanted) > 1 or wanted[0].size != s.signal.shape[wanted[0].axis - 1]:
        if len(found) > 1 or s.dims[found[0]] != s.feature_atoms:
            return None
        s = exact(low, node, s, found[0], first=s.signal.channels_first and found[0] == 1)
        wanted = s.dims[feature]
    return _swapped(low, node, s, wanted[0].axis)


def facing(low: Context, node: Node, s: Stream, dim: int) -> Stream:
    """A stream whose features lie along a dimension of the traced tensor, turned if positions lie there."""
    s = _one_axis(low, node, s, dim % len(s.dims))
    axes = {a.axis for a in s.dims[dim]}
    if len(axes) != 1 or not axes.isdisjoint({0, COPIES, s.feature_axis}):
        return s
    return _swapped(low, node, s, axes.pop())


def _one_axis(low: Context, node: Node, s: Stream, dim: int) -> Stream:
    """A stream in which several axes of positions that make up a dimension are one: the pixels of an image."""
    atoms = s.dims[dim]
    held = [a for i, d in enumerate(s.dims) if i and i != dim for a in d]
    plain = all(a.axis not in (0, COPIES, s.feature_axis) for a in atoms) and all(
        a.axis == s.feature_axis for a in held
    )
    if len(atoms) < 2 or not dim or not plain or any(a.axis != 0 for a in s.dims[0]):
        return s
    first = s.signal.channels_first
    order = (s.feature_atoms, atoms) if first else (atoms, s.feature_atoms)
    y = exact(low, node, s.arranged((s.dims[0], *order)), 1 if first else 2, first=first)
    moved = [tuple(replace(a, axis=y.feature_axis) for a in d) for d in s.dims[1:]]
    moved[dim - 1] = y.dims[2 if first else 1]
    return y.arranged((y.dims[0], *moved))


def _swapped(low: Context, node: Node, s: Stream, axis: int) -> Stream:
    """A stream with one of the position axes of its port as features."""
    block = Turn(s.signal, own_axes(s).index(axis))
    (y,) = low.emit(node, block, [s], label="turn", key=("turn", s.port, axis))
    swap = {axis: s.feature_axis, s.feature_axis: axis}
    return y.arranged(tuple(tuple(replace(a, axis=swap.get(a.axis, a.axis)) for a in d) for d in s.dims))


def _rearranged(low: Context, node: Node, s: Stream, feature: int, first: bool, every: bool) -> Stream:
    if (y := turned(low, node, s, feature)) is not None:
        return exact(low, node, y, feature, first) if every else focus(low, node, y, feature)
    if (y := _in_order(low, node, s, feature)) is not None:
        return exact(low, node, y, feature, first) if every else focus(low, node, y, feature)
    pieces, index = _pieces(s)
    batch = [i for i, d in enumerate(s.dims) if any(a.axis == 0 for a in d)]
    if len(batch) > 1 or (batch and batch[0] == feature):
        raise NotUnderstood("examples of a batch are mixed")
    alone = all(a.axis == COPIES for a in s.dims[0])  # the same for every example
    home = batch[0] if batch else (0 if alone and feature != 0 else None)
    axes: list[Dim] = []  # the new axes without the batch and the features
    where: dict[int, Dim] = {}
    at = 2 if first else 1
    for i, dim in enumerate(s.dims):
        if i == feature:
            continue
        rest = tuple(a for a in dim if a.axis != 0)
        if i == home and not batch:
            rest = ()
        if not rest and (i == home or not every):
            where[i] = dim
            continue
        axes.append(rest)
        new = Atom(at, math.prod(a.size for a in rest))
        parts: list[Atom] = []
        for a in dim:
            parts += [a] if a.axis == 0 else [new] if new not in parts else []
        if any(a.axis == 0 for a in dim) and dim[0].axis != 0 and dim[-1].axis != 0:
            raise NotUnderstood("examples of a batch are mixed with positions")
        where[i] = tuple(p for p in parts if p.size > 1)
        at += 1
    features = s.dims[feature]
    ordered = [features, *axes] if first else [*axes, features]
    place = 1 if first else len(axes) + 1
    where[feature] = (Atom(place, math.prod(a.size for a in features)),) if features else ()
    order = tuple(index[a.axis, a.stride] if a.axis != COPIES else -1 for d in ordered for a in d)
    repeats = tuple(a.size for d in ordered for a in d if a.axis == COPIES)
    joined = tuple(len(d) for d in ordered)
    if any(a.axis == COPIES for a in features):
        opened = repeated(low, node, s, feature, first)
        return exact(low, node, opened, feature, first) if every else focus(low, node, opened, feature)
    move, before, after = _move(s, features)
    still = [i for d in axes for i in (index.get((a.axis, a.stride), -1) for a in d)]
    same = [n for n in s.signal.space if n > 1] == [n for n in (math.prod(a.size for a in d) for d in axes) if n > 1]
    moved = not (same and still == sorted(still) and not repeats and move == "same")
    block = Rearrange(tuple(pieces), order, joined, s.signal, first, moved, repeats, move, before, after)
    (out,) = low.emit(node, block, [s], label="view")
    return out.arranged(tuple(where[i] for i in range(len(s.dims))))


def _in_order(low: Context, node: Node, s: Stream, feature: int) -> Stream | None:
    """A stream whose features stand as they lie along a dimension: a shuffle of channels; None where they do."""
    here = s.dims[feature]
    if set(here) != set(s.feature_atoms) or here == s.feature_atoms or not here:
        return None
    order = [0]
    for atom in here:
        order = [at + k * atom.stride for at in order for k in range(atom.size)]
    y = reordered(low, node, s, order)
    whole = (Atom(y.feature_axis, y.signal.features),)
    return y.arranged(tuple(whole if i == feature else d for i, d in enumerate(s.dims)))


def _pieces(s: Stream) -> tuple[list[int], dict[tuple[int, int], int]]:
    """Sizes of the pieces of every axis behind the batch, and the number of every piece by axis and stride."""
    atoms: dict[int, list[Atom]] = {}
    for d in s.dims:
        for a in d:
            atoms.setdefault(a.axis, []).append(a)
    batch = atoms.pop(0, [])
    if len(batch) > 1:
        raise NotUnderstood("the batch axis is cut")
    pieces: list[int] = []
    index: dict[tuple[int, int], int] = {}
    for axis, n in enumerate(s.signal.shape, 1):
        found = sorted(atoms.get(axis, []), key=lambda a: -a.stride)
        if math.prod(a.size for a in found) != n:
            raise NotUnderstood("only a part of an axis is there")
        for a in found:
            index[axis, a.stride] = len(pieces)
            pieces.append(a.size)
    return pieces, index


def _move(s: Stream, features: Dim) -> tuple[str, int, int]:
    """What a new feature axis made of some atoms does to the features (see `Rearrange`)."""
    own = [a for a in features if a.axis == s.feature_axis]
    every = s.feature_atoms
    if [a.stride for a in own] != sorted((a.stride for a in own), reverse=True):
        raise NotUnderstood("features are permuted")
    if not every:  # a single feature: positions may stand in its place
        before = math.prod(a.size for a in features)
        return ("flatten", before, 1) if before > 1 else ("same", 1, 1)
    if len(own) == len(every):
        at = [i for i, a in enumerate(features) if a.axis == s.feature_axis]
        if not at:
            raise NotUnderstood("positions become features of a stream without features")
        if at[-1] - at[0] + 1 != len(at):
            raise NotUnderstood("positions come between the features")
        before = math.prod(a.size for a in features[: at[0]])
        after = math.prod(a.size for a in features[at[-1] + 1 :])
        return ("flatten", before, after) if before * after > 1 else ("same", 1, 1)
    if len(own) != len(features) or not own:
        raise NotUnderstood("positions and a part of the features change places")
    rest = math.prod(a.size for a in every) // math.prod(a.size for a in own)
    if tuple(own) == every[: len(own)]:
        return "inner", 1, rest
    if tuple(own) == every[-len(own) :]:
        return "outer", rest, 1
    raise NotUnderstood("a middle part of the features is used by itself")


def aligned(low: Context, node: Node, a: Stream, b: Stream) -> tuple[Stream, Stream]:
    """Two streams that broadcast against each other, the second in the arrangement of the first.

    Raises:
        OneFactor: if the second has no features.
        BothRepeated: if the first has to be repeated (see `spread_out`).
        NotUnderstood: if their axes cut each other.
    """
    if a.signal == b.signal and a.dims == b.dims:
        return a, b
    rank = max(len(a.dims), len(b.dims))
    dims_a, dims_b = ((),) * (rank - len(a.dims)) + a.dims, ((),) * (rank - len(b.dims)) + b.dims
    lengths = [max(m, n) for m, n in zip(shape(dims_a), shape(dims_b), strict=True)]
    try:
        cut_a, cut_b = common(lengths, dims_a, dims_b)
    except Tangled as error:
        raise NotUnderstood(str(error)) from error
    pairs = [(x, y) for da, db in zip(cut_a, cut_b, strict=True) for x, y in zip(da, db, strict=True)]
    if any(x.axis == COPIES and y.axis != COPIES for x, y in pairs):
        raise BothRepeated("both sides of an operation are repeated along axes of the other")
    if any((x.axis == 0) != (y.axis == 0) and COPIES not in (x.axis, y.axis) for x, y in pairs):
        raise NotUnderstood("the examples of one side meet positions of the other")
    axes: dict[int, list[tuple[Atom, Atom]]] = {}
    for x, y in pairs:
        axes.setdefault(x.axis, []).append((x, y))
    dims: list[Dim] = []
    for axis in range(len(a.signal.shape) + 1):
        own = sorted(axes.get(axis, []), key=lambda p: -p[0].stride)
        taken = [y for _, y in own]
        if all(y.axis == COPIES for y in taken):
            if axis == a.feature_axis and taken:
                raise OneFactor("one factor for all features")
            dims.append(())
        else:
            dims.append(merged(taken))
    other = b.arranged(tuple(dims))
    wanted = exact(low, node, other, a.feature_axis, a.signal.channels_first)
    return a.arranged(dims_a), wanted


def spread_out(low: Context, node: Node, s: Stream, lengths: Sequence[int], home: int = -1) -> Stream:
    """A stream that is repeated to a shape that it broadcasts to: its copies are positions and features of their own.

    Args:
        low: the program.
        node: the call.
        s: the stream.
        lengths: the shape.
        home: the dimension whose copies are features where it has none of its own.

    Raises:
        NotUnderstood: if it would be repeated for examples.
    """
    dims = ((),) * (len(lengths) - len(s.dims)) + s.dims
    whole = s.arranged(tuple(d or ((Atom(COPIES, n),) if n > 1 else ()) for d, n in zip(dims, lengths, strict=True)))
    alone = bool(whole.dims[0]) and all(a.axis == COPIES for a in whole.dims[0])
    if alone and s.batched:
        raise NotUnderstood("what is the same for every example is repeated along an axis of positions")
    found = whole.feature_home
    feature = found[0] if len(found) == 1 and found[0] > 0 else home % len(dims)
    if alone:  # no examples: the first axis is one of positions
        y = exact(low, node, whole.arranged(((), *whole.dims)), feature + 1)
        return y.arranged(y.dims[1:])
    return exact(low, node, whole, feature, first=s.signal.channels_first and feature == 1)


def spread(a: Dims, b: Dims) -> list[tuple[Atom, Atom]]:
    """The atoms of a tensor beside those of one that broadcasts against it.

    Raises:
        NotUnderstood: if they cut each other, or the first one would have to be repeated.
    """
    if len(b) > len(a):
        if any(b[: len(b) - len(a)]):
            raise NotUnderstood("the other side has more axes")
        b = b[len(b) - len(a) :]
    b = ((),) * (len(a) - len(b)) + b
    try:
        cut_a, cut_b = common([max(m, n) for m, n in zip(shape(a), shape(b), strict=True)], a, b)
    except Tangled as error:
        raise NotUnderstood(str(error)) from error
    pairs = [(x, y) for da, db in zip(cut_a, cut_b, strict=True) for x, y in zip(da, db, strict=True)]
    if any(x.axis == COPIES and y.axis != COPIES for x, y in pairs):
        raise NotUnderstood("a stream is repeated along an axis of a parameter")
    return pairs


def own_axes(s: Stream) -> Sequence[int]:
    """The axes of a stream's tensor that hold positions."""
    return [i for i in range(1, len(s.signal.shape) + 1) if i != s.feature_axis]


def straight(s: Stream, dim: int) -> int | None:
    """Which position axis of the port's tensor (from 0) a dimension is the whole of, None if it is something else."""
    atoms = s.dims[dim]
    if len(atoms) != 1 or atoms[0].axis in (0, COPIES, s.feature_axis):
        return None
    (atom,) = atoms
    return own_axes(s).index(atom.axis) if atom.size == s.signal.shape[atom.axis - 1] else None


def relength(s: Stream, out: Stream, dim: int) -> Stream:
    """What a block wrote that changed the length of one position axis only, arranged as what it read.

    Args:
        s: what it read; the dimension is the whole of a position axis of its port (see `straight`).
        out: what it wrote.
        dim: the dimension.
    """
    (atom,) = s.dims[dim]
    n = out.signal.shape[atom.axis - 1]
    dims = list(s.dims)
    dims[dim] = (Atom(atom.axis, n),) if n > 1 else ()
    return out.arranged(tuple(dims))


def repeats_of(s: Stream, dim: int) -> tuple[int, int] | None:
    """How often the features along a dimension are repeated outside and inside, None for another arrangement."""
    atoms = s.dims[dim]
    own = [i for i, a in enumerate(atoms) if a.axis != COPIES]
    if tuple(atoms[i] for i in own) != s.feature_atoms or len(own) > 1:
        return None
    at = own[0] if own else len(atoms)
    outer, inner = 1, 1
    for i, a in enumerate(atoms):
        outer *= a.size if i < at else 1
        inner *= a.size if i > at else 1
    return outer, inner


def repeated(low: Context, node: Node, s: Stream, dim: int, first: bool) -> Stream:
    """A stream in which features that a view repeats are features of their own.

    Raises:
        NotUnderstood: where copies and something else than the whole of the features come together.
    """
    found = repeats_of(s, dim)
    if found is None:
        raise NotUnderstood("features are repeated")
    outer, inner = found
    plain = s.arranged((*s.dims[:dim], s.feature_atoms, *s.dims[dim + 1 :]))
    plain = exact(low, node, plain, dim, first=first)
    n = plain.signal.features
    y = each_repeated(low, node, plain, outer * inner)
    order = [f * outer * inner + o * inner + i for o in range(outer) for f in range(n) for i in range(inner)]
    return joined_features(plain, reordered(low, node, y, order), dim)


def each_repeated(low: Context, node: Node, s: Stream, copies: int) -> Stream:
    """Features, each so many times one after the other."""
    return low.emit(node, RepeatFeatures(copies), [s], label="repeat")[0] if copies > 1 else s


def reordered(low: Context, node: Node, s: Stream, order: Sequence[int]) -> Stream:
    """Features in another order."""
    if list(order) == list(range(len(order))):
        return s
    return low.emit(node, Reorder(tuple(order)), [s], label="order")[0]


def joined_features(s: Stream, y: Stream, dim: int) -> Stream:
    """What was made of a stream with other features, arranged as that is."""
    dim %= len(s.dims)
    n = y.signal.features
    dims = list(s.dims)
    dims[dim] = (Atom(y.feature_axis, n),) if n > 1 else ()
    return y.arranged(tuple(dims))
