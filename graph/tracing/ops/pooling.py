"""Pooling: means and maxima over windows of positions."""

from __future__ import annotations

from typing import Any

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
    UnevenPool,
)

from ..context import Context, handles
from ..steps.positions import Walled, beside, image, per_axis, rejoined
from ..values import NotUnderstood, Stream, Value

_MEANS: tuple[type[Block], ...] = (AveragePool1d, AveragePool2d, AveragePool3d)


_TOPS: tuple[type[Block], ...] = (MaxPool1d, MaxPool2d, MaxPool3d)


@handles("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    low: Context,
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
    extra = beside(s, rank)
    rank, ones = rank + extra, (1,) * extra
    k, p, step = ones + k, (0,) * extra + p, ones + step
    even = all(len(set(t)) == 1 for t in (k, p, step)) and not ceil
    block = _MEANS[rank - 1](k[0], step[0], p[0], counts) if even else None  # type: ignore[call-arg]
    block = block or UnevenPool(False, k, step, p, (1,) * rank, ceil, counts)
    return rejoined(s, low.emit(node, block, [s])[0], extra)


@handles("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices")
def max_pool(
    low: Context,
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
    extra = beside(s, rank)
    rank, ones = rank + extra, (1,) * extra
    k, p, d, step = ones + k, (0,) * extra + p, ones + d, ones + step
    even = all(len(set(t)) == 1 for t in (k, p, step)) and not ceil and set(d) == {1} and not around
    block: Block = UnevenPool(True, k, step, p, d, ceil, around=around)
    if even:
        block = _TOPS[rank - 1](k[0], step[0], p[0])  # type: ignore[call-arg]
    y = rejoined(s, low.emit(node, block, [s])[0], extra)
    return (y, None) if isinstance(out, (tuple, list)) else y


def _rank(node: Node) -> int:
    return len(node.meta["val"].shape) - 2


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_avg_pool(low: Context, node: Node, x: Value, size: Any) -> Value:
    """Mean over windows that fill a given size."""
    return _adaptive(low, node, x, size, False)


@handles("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(low: Context, node: Node, x: Value, size: Any) -> Value:
    """Maximum over windows that fill a given size."""
    return (_adaptive(low, node, x, size, True), None)


def _adaptive(low: Context, node: Node, x: Value, size: Any, maximum: bool) -> Stream:
    out = node.meta["val"]
    lengths = tuple(int(n) for n in (out[0] if isinstance(out, (tuple, list)) else out).shape[2:])
    s = image(low, node, x, len(lengths))
    if s.signal.space == lengths:
        return s
    if set(lengths) == {1}:
        (y,) = low.emit(node, GlobalMaxPool() if maximum else GlobalAveragePool(), [s])
        return y.arranged((*y.dims, *((),) * len(lengths)))
    return low.emit(node, UnevenPool(maximum, adaptive=lengths), [s])[0]
