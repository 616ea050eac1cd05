"""What weights that are made of parameters do to features: moves before and after plain maps (see `formed`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.fx import Node

from lawful.blocks import Centre, Concat, Numbers, Split, TimesNumbers

from ..arrange import joined_features
from ..context import Context
from ..values import Combined, Fixed, NotUnderstood, Stream, Value, Weight
from .arithmetic import add, times
from .broadcast import gain_by
from .concatenation import cat
from .features import added, opened, picked
from .formed import (
    Beside,
    Formed,
    MeanRemoved,
    Multiplied,
    OnDiagonal,
    Scaled,
    Summed,
    Taken,
    Turned,
    Unit,
    beside,
    plain,
    select,
)
from .reparametrised import Joined

Leaf = Callable[[Stream, Weight | Unit, bool], Stream]  # a plain map of a stream, by the transposed parameter or not


def apply(low: Context, node: Node, s: Stream, value: Value, leaf: Leaf, axis: int, turned: bool = False) -> Stream:
    """What a matrix of parameters makes of features.

    Args:
        low: the program.
        node: the call.
        s: the features.
        value: the matrix.
        leaf: a map by a plain parameter.
        axis: the dimension of the stream that holds the features.
        turned: whether it is the transposed matrix.

    Raises:
        NotUnderstood: for what no features follow.
    """

    def onward(x: Stream, v: Value, t: bool = turned) -> Stream:
        return apply(low, node, x, v, leaf, axis, t)

    value = plain(value)
    if isinstance(value, (Weight, Unit)):
        return leaf(s, value, turned)
    if isinstance(value, Combined):
        return _sum(low, node, [_times(low, node, leaf(s, w, turned), a) for w, a in value.terms])
    if isinstance(value, Summed):
        return _sum(low, node, [onward(s, t) for t in value.terms])
    if isinstance(value, Turned):
        return onward(s, value.base, not turned)
    if isinstance(value, Multiplied):
        first, second = (value.second, value.first)[:: -1 if turned else 1]
        return onward(onward(s, first), second)
    if isinstance(value, OnDiagonal):
        return gain_by(low, node, opened(low, node, s, axis), value.vector, axis)
    if isinstance(value, Scaled) and len(set(value.numbers)) == 1:
        return _times(low, node, onward(s, value.base), value.numbers[0])
    assert isinstance(value, (Taken, Beside, Scaled, MeanRemoved)), value
    if value.axis > 1:
        raise NotUnderstood("places of a kernel are moved")
    out = (value.axis == 0) != turned  # whether it is the features that it gives that are moved
    if isinstance(value, Beside):
        return _side_by_side(low, node, s, value, onward, axis, out)

    def moved(x: Stream) -> Stream:
        if isinstance(value, Taken):
            many = value.base.shape[value.axis]
            return picked(low, node, x, axis, value.index) if out else added(low, node, x, axis, value.index, many)
        x = opened(low, node, x, axis)
        if isinstance(value, MeanRemoved):
            return low.emit(node, Centre(), [x], label="centre")[0].arranged(x.dims)
        shape = [1] * len(x.signal.shape)
        shape[x.feature_axis - 1] = -1
        numbers = torch.tensor(value.numbers, dtype=torch.float64).reshape(shape)
        return low.emit(node, TimesNumbers(Numbers(numbers)), [x], label="times")[0].arranged(x.dims)

    return moved(onward(s, value.base)) if out else onward(moved(s), value.base)


def _side_by_side(
    low: Context, node: Node, s: Stream, value: Beside, onward: Callable[[Stream, Value], Stream], axis: int, out: bool
) -> Stream:
    if not out:
        s = opened(low, node, s, axis)
        pieces = low.emit(node, Split(value.sizes), [s], label="split", key=("split", s.port, value.sizes))
        terms = []
        for p, piece in zip(value.parts, pieces, strict=True):
            if p is not None:
                terms.append(onward(joined_features(s, piece, axis), p))
        if not terms:
            raise NotUnderstood("a map of zeros")
        return _sum(low, node, terms)
    if None in value.parts:
        shapes = [tuple(n if i == axis % len(s.dims) else m for i, m in enumerate(s.shape)) for n in value.sizes]
        zeros = [Fixed(torch.zeros(shape, dtype=torch.float64)) for shape in shapes]
        whole = [z if p is None else onward(s, p) for z, p in zip(zeros, value.parts, strict=True)]
        joined = cat(low, node, whole, axis)
        assert isinstance(joined, Stream)
        return joined
    parts = [opened(low, node, onward(s, p), axis) for p in value.parts]
    (y,) = low.emit(node, Concat(), parts, label="cat")
    return joined_features(parts[0], y, axis)


def _times(low: Context, node: Node, s: Stream, c: float) -> Stream:
    out = times(low, node, s, c)
    assert isinstance(out, Stream)
    return out


def _sum(low: Context, node: Node, terms: Sequence[Stream]) -> Stream:
    out = terms[0]
    for t in terms[1:]:
        out = add(low, node, out, t)
    return out


def as_vector(low: Context, node: Node, value: Value) -> Stream:
    """A vector of parameters as a stream that reads nothing.

    Raises:
        NotUnderstood: for a matrix, and for vectors that no features follow.
    """
    if isinstance(value, Joined):
        value = beside(value.parts, 0)
    value = plain(value)
    if not isinstance(value, Formed):
        return low.stream(value, node)
    if len(value.shape) == 2 and isinstance(value, Beside) and None not in value.parts:
        rows = cat(low, node, [as_vector(low, node, p) for p in value.parts], value.axis)
        assert isinstance(rows, Stream)
        return rows
    if len(value.shape) == 2 and isinstance(value, Summed):
        return _sum(low, node, [as_vector(low, node, t) for t in value.terms])
    if len(value.shape) == 2 and isinstance(value, Scaled) and len(set(value.numbers)) == 1:
        return _times(low, node, as_vector(low, node, value.base), value.numbers[0])
    if len(value.shape) == 2 and isinstance(value, Taken) and (value.axis, value.base.shape[0]) == (0, 1):
        return as_vector(low, node, select(value.base, 0, 0))  # a row for all positions
    if len(value.shape) != 1:
        raise NotUnderstood("a matrix that is computed is used as a tensor")
    if isinstance(value, Taken):
        return _row(picked(low, node, _opened(as_vector(low, node, value.base)), 1, value.index))
    if isinstance(value, Scaled):
        s = _opened(as_vector(low, node, value.base))
        numbers = Numbers(torch.tensor(value.numbers, dtype=torch.float64))
        return _row(low.emit(node, TimesNumbers(numbers), [s], label="times")[0].arranged(s.dims))
    if isinstance(value, Summed):
        return _sum(low, node, [as_vector(low, node, t) for t in value.terms])
    if isinstance(value, Beside) and None not in value.parts:
        parts = [opened(low, node, _opened(as_vector(low, node, p)), 1) for p in value.parts]
        (y,) = low.emit(node, Concat(), parts, label="cat")
        return _row(joined_features(parts[0], y, 1))
    raise NotUnderstood("a vector that is computed")


def _opened(s: Stream) -> Stream:
    return s.arranged(((), *s.dims))


def _row(s: Stream) -> Stream:
    return s.arranged(s.dims[1:])
