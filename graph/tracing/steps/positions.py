"""Moves, means and borders of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import GlobalAveragePool, Positions, Scale

from ..arrange import exact, own_axes, relength, straight
from ..context import Context
from ..layout import COPIES, canonical
from ..sources import source
from ..values import Lazy, NotUnderstood, Stream, Value, Weight
from .features import along_features, picked, total


@dataclass(frozen=True, kw_only=True)
class Walled(Lazy):
    """An image with minus infinity around it, which a maximum never takes.

    Attributes:
        stream: the image.
        around: how much of it, as in `torch.nn.functional.pad`.
    """

    stream: Stream
    around: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        wide = [0] * len(self.stream.shape)
        for i in range(len(self.around) // 2):
            wide[-1 - i] = self.around[2 * i] + self.around[2 * i + 1]
        return tuple(n + m for n, m in zip(self.stream.shape, wide, strict=True))


def image(low: Context, node: Node, x: Value, rank: int) -> Stream:
    """A tensor `(batch, channels, ...)` with some position axes."""
    s = source(low, node, x, 1) if isinstance(x, Weight) else low.stream(x, node, channels_first=True)
    if len(s.dims) != rank + 2:
        raise NotUnderstood("an image without a batch axis")
    return exact(low, node, s, 1, first=True)


def beside(s: Stream, rank: int) -> int:
    """How many position axes of an image stand beside the examples: windows that a forward treats as examples.

    Raises:
        NotUnderstood: where they are not the first ones, or more than a block can walk over.
    """
    extra = len(s.signal.space) - rank
    whole = canonical((s.shape_batch, *s.signal.shape))
    if extra and (rank + extra > 3 or s.dims[0] != sum((whole[0], *whole[2 : 2 + extra]), ())):
        raise NotUnderstood("examples and positions share an axis")
    return extra


def rejoined(s: Stream, y: Stream, extra: int) -> Stream:
    """What a window function makes of an image, with the axes that stand beside the examples where they were."""
    return y.arranged((sum((y.dims[0], *y.dims[2 : 2 + extra]), ()), y.dims[1], *y.dims[2 + extra :])) if extra else y


def pick(low: Context, node: Node, x: Stream, dim: int, index: torch.Tensor) -> Stream:
    """Positions by fixed indices."""
    return moved(low, node, x, dim, "pick", tuple(int(i) for i in index))


def moved(low: Context, node: Node, x: Value, dim: int, operation: str, numbers: tuple[int, ...]) -> Stream:
    """A move of the positions along one dimension."""
    s = low.stream(x, node)
    dim %= len(s.dims)
    if along_features(s, dim):
        return picked(low, node, s, dim, _indices(s.signal.features, operation, numbers))
    at = straight(s, dim)
    if at is not None:
        (y,) = low.emit(node, Positions(operation, numbers, at), [s], label=operation)
        return relength(s, y, dim)
    if dim == 0 and s.shape_batch == 1:
        # no examples: a table, whose first dimension is no batch
        opened = s.arranged(((), *s.dims))
        y = moved(low, node, opened, 1, operation, numbers)
        return y.arranged(y.dims[1:])
    s, order = _laid(low, node, s)
    if dim not in order:
        raise NotUnderstood("features or examples are moved")
    (y,) = low.emit(node, Positions(operation, numbers, order.index(dim)), [s], label=operation)
    return _as_laid(s, y, order)


def _indices(n: int, operation: str, numbers: tuple[int, ...]) -> list[int]:
    """The entries that a move of an axis of so many puts one after the other."""
    axis = torch.arange(n)
    if operation == "roll":
        return axis.roll(numbers[0]).tolist()
    return axis.flip(0).tolist() if operation == "flip" else [i % n for i in numbers]


def _laid(low: Context, node: Node, s: Stream) -> tuple[Stream, list[int]]:
    """A stream whose position axes are dimensions of the traced tensor, and which dimension each of them is.

    Raises:
        NotUnderstood: if examples and positions share a dimension.
    """
    found = s.feature_dims
    feature = found[0] if len(found) == 1 and found[0] > 0 else len(s.dims) - 1
    s = exact(low, node, s, feature, first=s.signal.channels_first and feature == 1)
    home = next((i for i, d in enumerate(s.dims) if any(a.axis == 0 for a in d)), 0)
    if any(a.axis for a in s.dims[home]):
        raise NotUnderstood("examples and positions are moved together")
    return s, [i for i in range(len(s.dims)) if i not in (feature, home)]


def _as_laid(s: Stream, y: Stream, order: Sequence[int]) -> Stream:
    """What a block wrote that changed lengths of position axes only, arranged as what it read (see `_laid`)."""
    dims = list(s.dims)
    for i, axis in zip(order, own_axes(y), strict=True):
        dims[i] = y.dims[axis]
    return y.arranged(tuple(dims))


def reduced(low: Context, node: Node, x: Value, dims: Sequence[int] | None, keep: bool, mean: bool) -> Value:
    """A mean or a sum over some dimensions."""
    s = low.stream(x, node)
    rank = len(s.dims)
    if s.shape_batch == 1 and rank and s.dims[0] and not any(a.axis in (0, COPIES) for d in s.dims for a in d):
        return _of_parameters(low, node, s, sorted(d % rank for d in dims) if dims else list(range(rank)), keep, mean)
    gone = sorted(d % rank for d in dims) if dims else []
    gone = [d for d in gone if s.shape[d] > 1]
    asked = sorted(d % rank for d in dims) if dims else list(range(rank))
    if len(gone) == 1 and along_features(s, gone[0]):
        y = total(low, node, s, gone[0], mean)
        return y.arranged(tuple(d for i, d in enumerate(y.dims) if keep or i not in asked))
    kept = [d for d in s.feature_home if d not in gone]
    if not kept or not asked or any(a.axis == 0 for d in gone for a in s.dims[d]):
        raise NotUnderstood("a mean or a sum over features or examples")
    count = math.prod(s.shape[d] for d in gone)
    feature = kept[0] if len(s.feature_home) == 1 or (gone and len(kept) == 1) else rank - 1
    if feature == 0 or feature in gone:
        raise NotUnderstood("a mean or a sum over features or examples")
    spaces = [d for d in range(1, rank) if d != feature and s.shape[d] > 1]
    if not gone:
        y, left = s, list(s.dims)
    elif set(gone) == set(spaces) and len(s.feature_home) == 1:
        s = exact(low, node, s, feature, first=s.signal.channels_first and feature == 1)
        (y,) = low.emit(
            node, GlobalAveragePool(), [s], label="mean" if low.place(node).op.startswith("mean") else "sum"
        )
        left = [() for _ in range(rank)]
        left[0], left[feature] = y.dims[0], y.dims[-1]
    else:
        s = exact(low, node, s, feature, first=s.signal.channels_first and feature == 1)
        if any(len(s.dims[d]) != 1 for d in gone):
            raise NotUnderstood("positions and examples are averaged together")
        y, left = s, list(s.dims)
        for d in sorted(gone, key=lambda d: -s.dims[d][0].axis):
            axis = left[d][0].axis
            (y,) = low.emit(node, Positions("mean", (), own_axes(y).index(axis)), [y], label="mean")
            left[d] = ()
            left = [tuple(replace(a, axis=a.axis - 1) if a.axis > axis else a for a in dim) for dim in left]
    if not mean and count != 1:
        (y,) = low.emit(node, Scale(float(count)), [y], label="sum")
    dims_left = tuple(d for i, d in enumerate(left) if keep or i not in asked)
    return y.arranged(dims_left)


def _of_parameters(low: Context, node: Node, s: Stream, asked: Sequence[int], keep: bool, mean: bool) -> Value:
    """A mean or a sum of what is the same for every example: over its features first, then over its positions."""
    y: Value = s.arranged(((), *s.dims))
    along = [d + 1 for d in asked if s.shape[d] > 1]
    for kind in ([d for d in along if d - 1 in s.feature_dims], [d for d in along if d - 1 not in s.feature_dims]):
        if kind:
            y = reduced(low, node, y, kind, True, mean)
    assert isinstance(y, Stream)
    return y.arranged(tuple(d for i, d in enumerate(y.dims[1:]) if keep or i not in asked))


def padded(low: Context, node: Node, s: Stream, around: Sequence[int]) -> Stream:
    """A stream with zeros around its last dimensions.

    Raises:
        NotUnderstood: if features or examples are padded.
    """
    rank = len(s.dims)
    pairs = [tuple(around[i : i + 2]) for i in range(0, len(around), 2)]
    by_dim = {rank - 1 - i: p for i, p in enumerate(pairs) if any(p)}
    s, order = _laid(low, node, s)
    if not by_dim.keys() <= set(order):
        raise NotUnderstood("features or examples are padded")
    numbers = tuple(n for i in reversed(order) for n in by_dim.get(i, (0, 0)))
    (y,) = low.emit(node, Positions("pad", numbers), [s], label="pad")
    return _as_laid(s, y, order)


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """An option of a window for every axis."""
    if isinstance(value, int):
        return (value,) * rank
    found = tuple(int(n) for n in value)
    return found * rank if len(found) == 1 else found
