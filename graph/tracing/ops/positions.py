"""Padding, rolling, interpolation and other fixed maps of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import PixelShuffle, PixelUnshuffle, Positions

from ..context import Context, handles
from ..steps.arithmetic import plus
from ..steps.concatenation import padded_features, padded_heads
from ..steps.features import along_features, picked
from ..steps.positions import Walled, image, moved, padded
from ..steps.weighed import weighed
from ..values import Fixed, NotUnderstood, Value


@handles("constant_pad_nd", "pad")
def pad(low: Context, node: Node, x: Value, around: Sequence[int], *rest: Any) -> Value:
    """Zeros around the positions."""
    mode = rest[0] if rest and isinstance(rest[0], str) else "constant"
    value = next((v for v in rest if isinstance(v, (int, float))), 0)
    if not any(around):
        return x
    if mode == "constant" and value == -math.inf:
        return Walled(stream=low.stream(x, node, channels_first=True), around=tuple(around))
    if mode != "constant":
        return _mirrored(low, node, x, around, mode)
    s = low.stream(x, node)
    at = [len(s.dims) - 1 - i // 2 for i, n in enumerate(around) if n]
    if len(set(at)) == 1 and along_features(s, at[0]):
        side = 2 * (len(s.dims) - 1 - at[0])
        return padded_features(low, node, s, at[0], around[side], around[side + 1], value)
    if len(set(at)) == 1 and at[0] in s.feature_dims:
        side = 2 * (len(s.dims) - 1 - at[0])
        return padded_heads(low, node, s, at[0], around[side], around[side + 1], value)
    if not value:
        return padded(low, node, s, tuple(around))
    y = padded(low, node, plus(low, node, s, -value), tuple(around))  # zeros around what lacks the constant
    return plus(low, node, y, value)


def _mirrored(low: Context, node: Node, x: Value, around: Sequence[int], mode: str) -> Value:
    """Entries of a tensor itself around it: those at its border, behind it, or at the other end."""
    s = low.stream(x, node)
    for i in range(0, len(around), 2):
        dim = len(s.dims) - 1 - i // 2
        n, before, after = s.shape[dim], around[i], around[i + 1]
        at = range(-before, n + after)
        if mode == "reflect":
            numbers = [abs(k) if k < n else 2 * (n - 1) - k for k in at]
        elif mode == "replicate":
            numbers = [min(max(k, 0), n - 1) for k in at]
        elif mode == "circular":
            numbers = [k % n for k in at]
        else:
            raise NotUnderstood(f"padding by {mode}")
        s = moved(low, node, s, dim, "pick", tuple(numbers)) if numbers != list(range(n)) else s
    return s


@handles("roll")
def roll(low: Context, node: Node, x: Value, shifts: Any, dims: Any = ()) -> Value:
    """Positions rolled around."""
    many = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    out = x
    for n, d in zip(many, along, strict=True):
        if n:
            out = moved(low, node, out, d, "roll", (n,))
    return out


@handles("flip")
def flip(low: Context, node: Node, x: Value, dims: Sequence[int]) -> Value:
    """Positions in the other order."""
    out = x
    for d in dims:
        out = moved(low, node, out, d, "flip", ())
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
def upsample(low: Context, node: Node, x: Value, *rest: Any) -> Value:
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


@handles("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(low: Context, node: Node, x: Value, groups: int) -> Value:
    """Channels in another order."""
    s = image(low, node, x, len(node.meta["val"].shape) - 2)
    n = s.signal.features
    return picked(low, node, s, 1, [g * (n // groups) + i for i in range(n // groups) for g in range(groups)])


@handles("cumsum")
def cumsum(low: Context, node: Node, x: Value, dim: int, **options: Any) -> Value:
    """Sums of all positions so far; those of features have laws that no sum of wires shows."""
    s = low.stream(x, node)
    if dim % len(s.dims) != 1 or len(s.dims) != 3:
        raise NotUnderstood("sums so far along other axes than that of positions")
    n = s.shape[1]
    return weighed(low, node, Fixed(torch.ones(n, n, dtype=torch.float64).tril()), s)


@handles("pixel_shuffle")
def pixel_shuffle(low: Context, node: Node, x: Value, factor: int) -> Value:
    """Channels to pixels."""
    return low.emit(node, PixelShuffle(factor), [image(low, node, x, 2)])[0]


@handles("pixel_unshuffle")
def pixel_unshuffle(low: Context, node: Node, x: Value, factor: int) -> Value:
    """Pixels to channels."""
    return low.emit(node, PixelUnshuffle(factor), [image(low, node, x, 2)])[0]
