"""Weights that are made of parameters by fixed moves: what they do is done to features before and after a plain map.

`W.flip(0) h` are the features of `W h` in the other order, `cat([A, B], 1) h` is `A h_1 + B h_2`, `(A B) h` is
`A (B h)`, and a row that is expanded is one feature that is repeated.

This file is long because every kind of weight that is made has to be cut, viewed and read back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..layout import COPIES, view
from ..values import Combined, Lazy, NotUnderstood, Value, Weight
from .parameters import is_repeated, piece_of

LARGEST = 12  # rows of a triangle that is written out
PIECES = 160  # pieces of a matrix that is masked


@dataclass(frozen=True, kw_only=True)
class Formed(Lazy):
    """A matrix, or a kernel whose first two axes are one, that is no parameter; a vector if `shape` says so.

    Attributes:
        shape: of the traced tensor.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Taken(Formed):
    """Entries of one axis in another order, some of them several times."""

    base: Value
    axis: int
    index: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Beside(Formed):
    """Values end to end along an axis; None stands for zeros, as many as `sizes` says."""

    parts: tuple[Value, ...]
    sizes: tuple[int, ...]
    axis: int


@dataclass(frozen=True, kw_only=True)
class Scaled(Formed):
    """A value times fixed numbers along an axis."""

    base: Value
    axis: int
    numbers: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Summed(Formed):
    """A sum of values of one shape."""

    terms: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Multiplied(Formed):
    """The product of two matrices."""

    first: Value
    second: Value


@dataclass(frozen=True, kw_only=True)
class Unit(Formed):
    """A parameter whose rows, or filters, are divided by their lengths: `v / ||v||`."""

    v: Weight


@dataclass(frozen=True, kw_only=True)
class OnDiagonal(Formed):
    """A diagonal matrix."""

    vector: Weight


@dataclass(frozen=True, kw_only=True)
class MeanRemoved(Formed):
    """A matrix without its mean along an axis."""

    base: Value
    axis: int


@dataclass(frozen=True, kw_only=True)
class Turned(Formed):
    """A transposed matrix."""

    base: Value


def is_weight(value: Value) -> bool:
    """Whether a value is made of parameters alone, in a way that a map can follow."""
    return isinstance(value, (Weight, Combined, Formed))


def take(value: Value, axis: int, index: Sequence[int]) -> Value:
    """Entries of one axis of a value by their numbers."""
    n = value.shape[axis]
    index = tuple(i % n for i in index)
    if index == tuple(range(n)):
        return value
    used = sorted(set(index))
    if len(used) < n:
        runs: list[tuple[int, int]] = []
        for i in used:
            if runs and runs[-1][1] == i:
                runs[-1] = (runs[-1][0], i + 1)
            else:
                runs.append((i, i + 1))
        value = beside([run(value, axis, a, b) for a, b in runs], axis)
        index = tuple(used.index(i) for i in index)
        if index == tuple(range(len(used))):
            return value
    shape = tuple(len(index) if i == axis else m for i, m in enumerate(value.shape))
    return Taken(shape=shape, base=value, axis=axis, index=index)


def beside(parts: Sequence[Value], axis: int) -> Value:
    """Values end to end; copies of one value are entries of it that are taken several times."""
    if len(parts) == 1:
        return parts[0]
    taken = [(p.base, p.index) if isinstance(p, Taken) and p.axis == axis else (p, None) for p in parts]
    if all(base == taken[0][0] for base, _ in taken) and isinstance(taken[0][0], Weight):
        whole = range(taken[0][0].shape[axis])
        return take(taken[0][0], axis, [i for _, index in taken for i in (whole if index is None else index)])
    sizes = tuple(p.shape[axis] for p in parts)
    shape = tuple(sum(sizes) if i == axis else n for i, n in enumerate(parts[0].shape))
    return Beside(shape=shape, parts=tuple(parts), sizes=sizes, axis=axis)


def run(value: Value, axis: int, start: int, stop: int) -> Value:
    """A run of one axis of a value.

    Raises:
        NotUnderstood: for a run of something that cannot be cut there.
    """
    if (start, stop) == (0, value.shape[axis]):
        return value
    shape = tuple(stop - start if i == axis else n for i, n in enumerate(value.shape))
    if isinstance(value, Weight):
        return run(plain(value), axis, start, stop) if is_repeated(value) else piece_of(value, axis, start, stop)
    if isinstance(value, Combined):
        return Combined(terms=tuple((piece_of(w, axis, start, stop), a) for w, a in value.terms))
    if isinstance(value, Taken):
        if value.axis == axis:
            return take(value.base, axis, value.index[start:stop])
        return Taken(shape=shape, base=run(value.base, axis, start, stop), axis=value.axis, index=value.index)
    if isinstance(value, Scaled):
        own = value.numbers[start:stop] if value.axis == axis else value.numbers
        return Scaled(shape=shape, base=run(value.base, axis, start, stop), axis=value.axis, numbers=own)
    if isinstance(value, Beside) and value.axis != axis:
        parts = tuple(p if p is None else run(p, axis, start, stop) for p in value.parts)
        return Beside(shape=shape, parts=parts, sizes=value.sizes, axis=value.axis)
    if isinstance(value, Beside):
        kept: list[tuple[Value, int]] = []
        at = 0
        for p, n in zip(value.parts, value.sizes, strict=True):
            a, b = max(start - at, 0), min(stop - at, n)
            if a < b:
                kept.append((p if p is None else run(p, axis, a, b), b - a))
            at += n
        if len(kept) == 1 and kept[0][0] is not None:
            return kept[0][0]
        return Beside(shape=shape, parts=tuple(p for p, _ in kept), sizes=tuple(n for _, n in kept), axis=axis)
    if isinstance(value, Multiplied):
        first = run(value.first, 0, start, stop) if axis == 0 else value.first
        second = run(value.second, 1, start, stop) if axis == 1 else value.second
        return Multiplied(shape=shape, first=first, second=second)
    if isinstance(value, Turned):
        return Turned(shape=shape, base=run(value.base, 1 - axis, start, stop))
    if isinstance(value, Unit) and axis == 0:
        return Unit(shape=shape, v=piece_of(value.v, axis, start, stop))
    if isinstance(value, Summed):
        return Summed(shape=shape, terms=tuple(run(t, axis, start, stop) for t in value.terms))
    raise NotUnderstood("a part of a weight that is computed")


def select(value: Value, axis: int, at: int) -> Value:
    """One entry of an axis, which is dropped."""
    return _without(run(plain(value), axis, at, at + 1), axis)


def _without(value: Value, axis: int) -> Value:
    """A value without an axis of length 1.

    Raises:
        NotUnderstood: for what is no table of single entries.
    """
    if isinstance(value, Weight):
        return value.arranged(value.dims[:axis] + value.dims[axis + 1 :])
    shape = value.shape[:axis] + value.shape[axis + 1 :]
    if isinstance(value, Combined):
        return Combined(terms=tuple((_without(w, axis), a) for w, a in value.terms))
    if isinstance(value, Beside) and value.axis != axis:
        parts = tuple(p if p is None else _without(p, axis) for p in value.parts)
        return Beside(shape=shape, parts=parts, sizes=value.sizes, axis=value.axis - (value.axis > axis))
    if isinstance(value, Taken) and value.axis != axis:
        own = value.axis - (value.axis > axis)
        return Taken(shape=shape, base=_without(value.base, axis), axis=own, index=value.index)
    if isinstance(value, Scaled) and value.axis != axis:
        own = value.axis - (value.axis > axis)
        return Scaled(shape=shape, base=_without(value.base, axis), axis=own, numbers=value.numbers)
    if isinstance(value, Summed):
        return Summed(shape=shape, terms=tuple(_without(t, axis) for t in value.terms))
    if isinstance(value, Turned):
        return _without(value.base, 1 - axis)
    raise NotUnderstood("an entry of a weight that is computed")


def extended(value: Value, axis: int) -> Value:
    """A value with a new axis of length 1.

    Raises:
        NotUnderstood: for what is computed of matrices as a whole.
    """
    if isinstance(value, Weight):
        return value.arranged((*value.dims[:axis], (), *value.dims[axis:]))
    shape = (*value.shape[:axis], 1, *value.shape[axis:])
    if isinstance(value, Combined):
        return Combined(terms=tuple((extended(w, axis), a) for w, a in value.terms))
    if isinstance(value, Beside):
        parts = tuple(p if p is None else extended(p, axis) for p in value.parts)
        return Beside(shape=shape, parts=parts, sizes=value.sizes, axis=value.axis + (value.axis >= axis))
    if isinstance(value, Taken):
        own = value.axis + (value.axis >= axis)
        return Taken(shape=shape, base=extended(value.base, axis), axis=own, index=value.index)
    if isinstance(value, Scaled):
        own = value.axis + (value.axis >= axis)
        return Scaled(shape=shape, base=extended(value.base, axis), axis=own, numbers=value.numbers)
    if isinstance(value, Summed):
        return Summed(shape=shape, terms=tuple(extended(t, axis) for t in value.terms))
    raise NotUnderstood("a new axis of a weight that is computed")


def viewed_as(value: Value, shape: Sequence[int]) -> Value | None:
    """A value in another shape: with other axes of length 1, or two axes as one; None for any other."""
    if isinstance(value, Unit):
        rows = shape[0] == value.shape[0] and len(shape) > 1
        return Unit(shape=tuple(shape), v=value.v.arranged(view(value.v.dims, shape))) if rows else None
    if isinstance(value, Scaled) and isinstance(value.base, Unit) and value.axis == 0:
        base = viewed_as(value.base, shape)
        return None if base is None else Scaled(shape=tuple(shape), base=base, axis=0, numbers=value.numbers)
    if [n for n in shape if n != 1] == [n for n in value.shape if n != 1]:
        for axis in reversed(range(len(value.shape))):
            if value.shape[axis] == 1:
                value = _without(value, axis)
        for axis, n in enumerate(shape):
            value = extended(value, axis) if n == 1 else value
        return value
    for i, (a, b) in enumerate(itertools.pairwise(value.shape)):
        if a <= LARGEST and (*value.shape[:i], a * b, *value.shape[i + 2 :]) == tuple(shape):
            return beside([select(value, i, j) for j in range(a)], i)
    return None


def grid(weight: Weight, edges: Sequence[Sequence[int]]) -> Value:
    """A parameter as its sectors, cut along its first axes.

    Args:
        weight: the parameter.
        edges: for each of these axes the places where it is cut, ends included.
    """
    if not edges:
        return weight
    axis, own = len(edges) - 1, edges[-1]
    parts = [weight if (a, b) == (0, own[-1]) else piece_of(weight, axis, a, b) for a, b in itertools.pairwise(own)]
    return beside([grid(p, edges[:-1]) for p in parts], axis)


def plain(value: Value) -> Value:
    """A parameter whose entries a view repeats, as entries that are taken several times; others as they are.

    Raises:
        NotUnderstood: where copies and a part of an axis come together.
    """
    if not is_repeated(value):
        return value
    out: Value = value.arranged(tuple(tuple(a for a in d if a.axis != COPIES) for d in value.dims))
    for axis, d in enumerate(value.dims):
        if not any(a.axis == COPIES for a in d):
            continue
        if sum(a.axis != COPIES for a in d) > 1:
            raise NotUnderstood("copies of a part of an axis of a parameter")
        index = torch.zeros(1, dtype=torch.long)
        for a in reversed(d):
            own = torch.arange(a.size) if a.axis != COPIES else torch.zeros(a.size, dtype=torch.long)
            index = (own[:, None] + index[None, :]).reshape(-1)
        out = take(out, axis, index.tolist())
    return out


def leaves(value: Value) -> list[Weight]:
    """The parameters that a value is made of, each as often as it is read."""
    if isinstance(value, Weight):
        return [value]
    if isinstance(value, Combined):
        return [w for w, _ in value.terms]
    if isinstance(value, Multiplied):
        return [*leaves(value.first), *leaves(value.second)]
    if isinstance(value, (OnDiagonal, Unit)):
        return [value.vector if isinstance(value, OnDiagonal) else value.v]
    if isinstance(value, (Beside, Summed)):
        parts = value.parts if isinstance(value, Beside) else value.terms
        return [w for p in parts if p is not None for w in leaves(p)]
    assert isinstance(value, (Taken, Scaled, MeanRemoved, Turned)), value
    return leaves(value.base)


def is_linear(value: Value) -> bool:
    """Whether a value of one parameter is linear in it: nothing is divided by a length."""
    if isinstance(value, Unit):
        return False
    if isinstance(value, (Beside, Summed)):
        return all(is_linear(p) for p in (value.parts if isinstance(value, Beside) else value.terms) if p is not None)
    if isinstance(value, Multiplied):
        return is_linear(value.first) and is_linear(value.second)
    return is_linear(value.base) if isinstance(value, (Taken, Scaled, MeanRemoved, Turned)) else True


def tensor_of(value: Value, read: Callable[[Weight], torch.Tensor]) -> torch.Tensor:
    """The numbers of a value, from those of the parameters that it is made of."""
    if isinstance(value, Weight):
        return read(value)
    if isinstance(value, Combined):
        return sum((a * read(w) for w, a in value.terms), start=torch.zeros((), dtype=torch.float64))
    if isinstance(value, Multiplied):
        return tensor_of(value.first, read) @ tensor_of(value.second, read)
    if isinstance(value, OnDiagonal):
        return torch.diag(read(value.vector))
    if isinstance(value, Unit):
        return torch.nn.functional.normalize(read(value.v).flatten(1)).reshape(value.shape)
    if isinstance(value, Summed):
        return sum((tensor_of(t, read) for t in value.terms), start=torch.zeros((), dtype=torch.float64))
    if isinstance(value, Beside):
        known = [None if p is None else tensor_of(p, read) for p in value.parts]
        some = next(t for t in known if t is not None)
        whole = []
        for t, n in zip(known, value.sizes, strict=True):
            shape = [n if i == value.axis else m for i, m in enumerate(value.shape)]
            whole.append(some.new_zeros(shape) if t is None else t)
        return torch.cat(whole, value.axis)
    assert isinstance(value, (Taken, Scaled, MeanRemoved, Turned)), value
    base = tensor_of(value.base, read)
    if isinstance(value, Turned):
        return base.transpose(0, 1)
    if isinstance(value, MeanRemoved):
        return base - base.mean(value.axis, keepdim=True)
    if isinstance(value, Taken):
        return base.index_select(value.axis, torch.tensor(value.index, device=base.device))
    shape = [-1 if i == value.axis else 1 for i in range(base.ndim)]
    return base * torch.tensor(value.numbers, dtype=base.dtype, device=base.device).reshape(shape)


def triangle(value: Weight, upper: bool) -> Value:
    """The rows of a square part of a matrix, each without what lies on the other side of the diagonal."""
    rows, columns = value.shape
    if rows > LARGEST or columns > LARGEST:
        raise NotUnderstood("a large triangle of a matrix")
    out: list[Value] = []
    for i in range(rows):
        start, stop = (min(i, columns), columns) if upper else (0, min(i + 1, columns))
        row = run(value, 0, i, i + 1)
        sizes = [start, stop - start, columns - stop]
        if start == stop:
            raise NotUnderstood("a row of zeros")
        parts = [None, run(row, 1, start, stop), None]
        kept = [(p, n) for p, n in zip(parts, sizes, strict=True) if n]
        whole = len(kept) == 1
        out.append(
            row
            if whole
            else Beside(shape=(1, columns), parts=tuple(p for p, _ in kept), sizes=tuple(n for _, n in kept), axis=1)
        )
    return beside(out, 0)


def holed(value: Value, mask: torch.Tensor) -> Value | None:
    """A matrix without the entries where a mask is zero: rows of one pattern are a map of the columns that they read.

    Args:
        value: the matrix.
        mask: zeros and ones, of the same shape.

    Returns:
        The matrix, None where it would be too many pieces.
    """
    patterns = [tuple(row) for row in mask.int().tolist()]
    pairs = [(p, [i for i, _ in same]) for p, same in itertools.groupby(enumerate(patterns), lambda row: row[1])]
    if not mask.any() or sum(1 + sum(a != b for a, b in itertools.pairwise(p)) for p, _ in pairs) > PIECES:
        return None
    parts: list[Value | None] = []
    for pattern, rows in pairs:
        runs = [(k, len(list(same))) for k, same in itertools.groupby(pattern)]
        if runs == [(0, len(pattern))]:
            parts.append(None)
            continue
        own = run(value, 0, rows[0], rows[-1] + 1)
        ends = list(itertools.accumulate((n for _, n in runs), initial=0))
        cut = tuple(run(own, 1, a, a + n) if k else None for (k, n), a in zip(runs, ends, strict=False))
        shape = (len(rows), len(pattern))
        parts.append(own if len(runs) == 1 else Beside(shape=shape, parts=cut, sizes=tuple(n for _, n in runs), axis=1))
    sizes = tuple(len(rows) for _, rows in pairs)
    return Beside(shape=value.shape, parts=tuple(parts), sizes=sizes, axis=0) if len(parts) > 1 else parts[0]
