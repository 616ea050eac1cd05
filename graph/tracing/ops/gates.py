"""Gates: comparisons, maxima, gated units."""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from lawful.blocks import Larger, Pointwise, Product

from ..context import Context, handles
from ..steps.broadcast import joined
from ..steps.composed import composed, uniform
from ..steps.pieces import piece
from ..steps.pointwise import Positive, leaky, mapped, slope_of
from ..values import Data, NotUnderstood, Stream, Value


@handles("gt.Scalar", "ge.Scalar")
def above(low: Context, node: Node, x: Value, c: Any) -> Value:
    """Where a stream is above 0."""
    if c != 0 or not isinstance(x, Stream):
        raise NotUnderstood("no rule is known for it")
    return Positive(of=x)


@handles("maximum", "max.other", "fmax")
def maximum(low: Context, node: Node, a: Value, b: Value) -> Stream:
    """`max(x, c x)` for c below 1, and the larger of any two streams."""
    for x, other, origin in ((a, b, node.args[1]), (b, a, node.args[0])):
        if isinstance(x, Stream) and not isinstance(x, Data):
            slope = slope_of(low, x, other, origin)
            if slope is not None and slope < 1:
                return leaky(low, node, x, slope)
    return _bounded(low, node, Larger(), a, b)


@handles("minimum", "min.other", "fmin")
def minimum(low: Context, node: Node, a: Value, b: Value) -> Stream:
    """The smaller of two streams."""
    return _bounded(low, node, Larger(smaller=True), a, b)


def _bounded(low: Context, node: Node, block: Larger, a: Value, b: Value) -> Stream:
    """The larger, or the smaller, of two tensors; of a stream and one number a function of single numbers."""
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Stream) and uniform(other) is not None:
            try:
                return composed(low, node, "a bound")
            except NotUnderstood:  # it scales with a power between jumps
                break
    return joined(low, node, block, a, b)


@handles("glu")
def glu(low: Context, node: Node, x: Value, dim: int = -1) -> Value:
    """Half of the features times the sigmoid of the others."""
    s = low.stream(x, node)
    n = s.shape[dim] // 2
    value, gate = (piece(low, node, s, dim, [n, n], i, gone=False) for i in (0, 1))
    return joined(low, node, Product(), value, mapped(low, node, gate, Pointwise("sigmoid"), "gate"))
