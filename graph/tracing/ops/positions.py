"""Pooling, padding, interpolation and other fixed maps of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import (
    AveragePool1d,
    AveragePool2d,
    AveragePool3d,
    Block,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    PixelShuffle,
    PixelUnshuffle,
    Positions,
    Scale,
    UnevenPool,
)

from ..arrange import exact, own_axes, relength, straight
from ..layout import Dim
from ..lowering import Lowering, handles
from ..sources import source
from ..values import Lazy, NotUnderstood, Stream, Value, Weight
from .features import along_features, picked, total
from .features import padded as padded_features
from .maps import per_axis

_MEANS: tuple[type[Block], ...] = (AveragePool1d, AveragePool2d, AveragePool3d)
_TOPS: tuple[type[Block], ...] = (MaxPool1d, MaxPool2d, MaxPool3d)


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


def image(low: Lowering, node: Node, x: Value, rank: int) -> Stream:
    """A tensor `(batch, channels, ...)` with some position axes."""
    s = source(low, node, x, 1) if isinstance(x, Weight) else low.stream(x, node, channels_first=True)
    if len(s.dims) != rank + 2:
        raise NotUnderstood("an image without a batch axis")
    return exact(low, node, s, 1, first=True)


def pick(low: Lowering, node: Node, x: Stream, dim: int, index: torch.Tensor) -> Stream:
    """Positions by fixed indices."""
    return _moved(low, node, x, dim, "pick", tuple(int(i) for i in index))


def _moved(low: Lowering, node: Node, x: Value, dim: int, operation: str, numbers: tuple[int, ...]) -> Stream:
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
        y = _moved(low, node, opened, 1, operation, numbers)
        return y.arranged(y.dims[1:])
    s, axis = _along(low, node, s, dim)
    (y,) = low.emit(node, Positions(operation, numbers, axis), [s], label=operation)
    return y


def _indices(n: int, operation: str, numbers: tuple[int, ...]) -> list[int]:
    """The entries that a move of an axis of so many puts one after the other."""
    axis = torch.arange(n)
    if operation == "roll":
        return axis.roll(numbers[0]).tolist()
    return axis.flip(0).tolist() if operation == "flip" else [i % n for i in numbers]


def _along(low: Lowering, node: Node, x: Value, dim: int) -> tuple[Stream, int]:
    """A stream as it is traced, and which of its position axes a dimension is."""
    s = low.stream(x, node)
    dim %= len(s.dims)
    found = s.feature_dims
    feature = found[0] if len(found) == 1 and found[0] > 0 else len(s.dims) - 1
    if dim == feature or dim == 0:
        raise NotUnderstood("features or examples are moved")
    s = exact(low, node, s, feature, first=s.signal.channels_first and feature == 1)
    return s, [i for i in range(1, len(s.dims)) if i != s.feature_axis].index(dim)


@handles("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    low: Lowering,
    node: Node,
    x: Value,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil: bool = False,
    counts: bool = True,
    divisor: int | None = None,
) -> Value:
    """Mean over windows."""
    rank = _rank(node)
    s = image(low, node, x, rank)
    if divisor:
        raise NotUnderstood("a mean with a divisor of its own")
    k, p = per_axis(kernel, rank), per_axis(padding, rank)
    step = per_axis(stride, rank) if stride else k
    even = all(len(set(t)) == 1 for t in (k, p, step)) and not ceil
    block = _MEANS[rank - 1](k[0], step[0], p[0], counts) if even else None  # type: ignore[call-arg]
    block = block or UnevenPool(False, k, step, p, (1,) * rank, ceil, counts)
    return low.emit(node, block, [s])[0]


@handles("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices")
def max_pool(
    low: Lowering,
    node: Node,
    x: Value,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> Value:
    """Maximum over windows."""
    out = node.meta["val"]
    rank = len((out[0] if isinstance(out, (tuple, list)) else out).shape) - 2
    around: tuple[int, ...] = ()
    if isinstance(x, Walled):
        x, around = x.stream, x.around
    s = image(low, node, x, rank)
    k, p, d = per_axis(kernel, rank), per_axis(padding, rank), per_axis(dilation, rank)
    step = per_axis(stride, rank) if stride else k
    even = all(len(set(t)) == 1 for t in (k, p, step)) and not ceil and set(d) == {1} and not around
    block: Block = UnevenPool(True, k, step, p, d, ceil, around=around)
    if even:
        block = _TOPS[rank - 1](k[0], step[0], p[0])  # type: ignore[call-arg]
    (y,) = low.emit(node, block, [s])
    return (y, None) if isinstance(out, (tuple, list)) else y


def _rank(node: Node) -> int:
    return len(node.meta["val"].shape) - 2


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(low: Lowering, node: Node, x: Value, size: Any) -> Value:
    """Mean over windows that fill a given size."""
    return _adaptive(low, node, x, size, False)


@handles("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(low: Lowering, node: Node, x: Value, size: Any) -> Value:
    """Maximum over windows that fill a given size."""
    return (_adaptive(low, node, x, size, True), None)


def _adaptive(low: Lowering, node: Node, x: Value, size: Any, maximum: bool) -> Stream:
    out = node.meta["val"]
    lengths = tuple(int(n) for n in (out[0] if isinstance(out, (tuple, list)) else out).shape[2:])
    s = image(low, node, x, len(lengths))
    if s.signal.space == lengths:
        return s
    if set(lengths) == {1}:
        (y,) = low.emit(node, GlobalMaxPool() if maximum else GlobalAveragePool(), [s])
        return y.arranged((*y.dims, *((),) * len(lengths)))
    return low.emit(node, UnevenPool(maximum, adaptive=lengths), [s])[0]


def reduced(low: Lowering, node: Node, x: Value, dims: Sequence[int] | None, keep: bool, mean: bool) -> Value:
    """A mean or a sum over some dimensions."""
    s = low.stream(x, node)
    rank = len(s.dims)
    gone = sorted(d % rank for d in dims) if dims else []
    gone = [d for d in gone if s.shape[d] > 1]
    asked = sorted(d % rank for d in dims) if dims else list(range(rank))
    if len(gone) == 1 and along_features(s, gone[0]):
        y = total(low, node, s, gone[0], mean)
        return y.arranged(tuple(d for i, d in enumerate(y.dims) if keep or i not in asked))
    kept = [d for d in s.feature_dims if d not in gone]
    if not kept or not asked or any(a.axis == 0 for d in gone for a in s.dims[d]):
        raise NotUnderstood("a mean or a sum over features or examples")
    count = math.prod(s.shape[d] for d in gone)
    feature = kept[0] if len(s.feature_dims) == 1 or (gone and len(kept) == 1) else rank - 1
    if feature == 0 or feature in gone:
        raise NotUnderstood("a mean or a sum over features or examples")
    spaces = [d for d in range(1, rank) if d != feature and s.shape[d] > 1]
    if not gone:
        y, left = s, list(s.dims)
    elif set(gone) == set(spaces) and len(s.feature_dims) == 1:
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


@handles("amax", "max.dim")
def largest(low: Lowering, node: Node, x: Value, dims: Any = (), keep: bool = False) -> Value:
    """The maximum over all positions."""
    s = low.stream(x, node)
    rank = len(s.dims)
    asked = sorted(d % rank for d in ([dims] if isinstance(dims, int) else dims))
    found = s.feature_dims
    spaces = [d for d in range(1, rank) if d not in found and s.shape[d] > 1]
    if len(found) != 1 or not set(spaces) <= set(asked) or found[0] in asked or 0 in asked:
        raise NotUnderstood("a maximum over some of the positions")
    s = exact(low, node, s, found[0], first=s.signal.channels_first and found[0] == 1)
    (y,) = low.emit(node, GlobalMaxPool(), [s], label="max")
    left: list[Dim] = [() for _ in range(rank)]
    left[0], left[found[0]] = y.dims[0], y.dims[-1]
    out = y.arranged(tuple(d for i, d in enumerate(left) if keep or i not in asked))
    return out if str(node.target).startswith("aten.amax") else (out, None)


@handles("constant_pad_nd", "pad")
def pad(low: Lowering, node: Node, x: Value, around: Sequence[int], *rest: Any) -> Value:
    """Zeros around the positions."""
    mode = rest[0] if rest and isinstance(rest[0], str) else "constant"
    value = next((v for v in rest if isinstance(v, (int, float))), 0)
    if mode == "constant" and value == -math.inf:
        return Walled(stream=low.stream(x, node, channels_first=True), around=tuple(around))
    if mode != "constant":
        raise NotUnderstood(f"padding by {mode} {value}")
    if not any(around):
        return x
    s = low.stream(x, node)
    at = [len(s.dims) - 1 - i // 2 for i, n in enumerate(around) if n]
    if len(set(at)) == 1 and along_features(s, at[0]):
        side = 2 * (len(s.dims) - 1 - at[0])
        return padded_features(low, node, s, at[0], around[side], around[side + 1], value)
    if value:
        raise NotUnderstood(f"padding by {mode} {value}")
    return padded(low, node, low.stream(x, node), tuple(around))


def padded(low: Lowering, node: Node, s: Stream, around: Sequence[int]) -> Stream:
    """A stream with zeros around its last dimensions.

    Raises:
        NotUnderstood: if features or examples are padded.
    """
    rank = len(s.dims)
    pairs = [tuple(around[i : i + 2]) for i in range(0, len(around), 2)]
    by_dim = {rank - 1 - i: p for i, p in enumerate(pairs) if any(p)}
    found = s.feature_dims
    feature = found[0] if len(found) == 1 and found[0] > 0 else rank - 1
    if feature in by_dim or 0 in by_dim:
        raise NotUnderstood("features or examples are padded")
    s = exact(low, node, s, feature, first=s.signal.channels_first and feature == 1)
    axes = [i for i in range(1, rank) if i != s.feature_axis]
    numbers = tuple(n for i in reversed(axes) for n in by_dim.get(i, (0, 0)))
    return low.emit(node, Positions("pad", numbers), [s], label="pad")[0]


@handles("roll")
def roll(low: Lowering, node: Node, x: Value, shifts: Any, dims: Any = ()) -> Value:
    """Positions rolled around."""
    many = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    out = x
    for n, d in zip(many, along, strict=True):
        if n:
            out = _moved(low, node, out, d, "roll", (n,))
    return out


@handles("flip")
def flip(low: Lowering, node: Node, x: Value, dims: Sequence[int]) -> Value:
    """Positions in the other order."""
    out = x
    for d in dims:
        out = _moved(low, node, out, d, "flip", ())
    return out


_MODES = {
    "upsample_nearest": "nearest",
    "upsample_bilinear": "bilinear",
    "upsample_bicubic": "bicubic",
    "upsample_linear": "linear",
    "upsample_trilinear": "trilinear",
    "_upsample_nearest_exact": "nearest-exact",
}


@handles(
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
    "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
)
def upsample(low: Lowering, node: Node, x: Value, *rest: Any) -> Value:
    """Interpolation to another size."""
    name = str(node.target).split(".")[1]
    smooth = name.endswith("_aa")
    mode = next((m for n, m in _MODES.items() if name.removeprefix("_" * smooth).startswith(n)), None)
    if mode is None:
        raise NotUnderstood(f"interpolation by {name}")
    lengths = tuple(int(n) for n in node.meta["val"].shape[2:])
    s = image(low, node, x, len(lengths))
    corners = any(v is True for v in rest)
    if s.signal.space == lengths and mode.startswith(("bi", "nearest")):
        return s
    block = Positions("resize", lengths, 0, mode + ("+corners" if corners else "") + ("+smooth" if smooth else ""))
    return low.emit(node, block, [s], label="resize")[0]


@handles("pixel_shuffle")
def pixel_shuffle(low: Lowering, node: Node, x: Value, factor: int) -> Value:
    """Channels to pixels."""
    return low.emit(node, PixelShuffle(factor), [image(low, node, x, 2)])[0]


@handles("pixel_unshuffle")
def pixel_unshuffle(low: Lowering, node: Node, x: Value, factor: int) -> Value:
    """Pixels to channels."""
    return low.emit(node, PixelUnshuffle(factor), [image(low, node, x, 2)])[0]


__all__ = ["image", "padded", "pick", "reduced"]
