"""Piecewise linear maps that are written out: `h * (h > 0)`, `where(h > 0, h, c h)`, `maximum(h, c h)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from lawful.blocks import LeakyReLU, ReLU

from ..lowering import Lowering, handles
from ..values import Data, Lazy, NotUnderstood, Stream, Value


@dataclass(frozen=True, kw_only=True)
class Positive(Lazy):
    """Where a stream is above 0.

    Attributes:
        of: the stream.
    """

    of: Stream

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        return self.of.shape


@handles("gt.Scalar", "ge.Scalar")
def above(low: Lowering, node: Node, x: Value, c: Any) -> Value:
    """Where a stream is above 0."""
    if c != 0 or not isinstance(x, Stream):
        raise NotUnderstood("no rule is known for it")
    return Positive(of=x)


def gated(low: Lowering, node: Node, x: Value, gate: Positive) -> Stream | None:
    """`x (x > 0)`; None for a product with the gate of something else."""
    if isinstance(x, Stream) and x == gate.of:
        (y,) = low.emit(node, ReLU(), [x], label="gate")
        return y.arranged(x.dims)
    return None


def chosen(low: Lowering, node: Node, gate: Positive, a: Value, b: Value) -> Stream:
    """`where(x > 0, x, c x)`.

    Raises:
        NotUnderstood: for a choice between other tensors.
    """
    slope = _slope(low, gate.of, b, node.args[2])
    if a != gate.of or slope is None:
        raise NotUnderstood("a choice between two tensors")
    return _leaky(low, node, gate.of, slope)


def _slope(low: Lowering, x: Stream, value: Value, origin: Any) -> float | None:
    """The number that `value` is of `x`, None if it is something else."""
    from .joins import number

    if (fixed := number(value)) is not None:
        return 0.0 if fixed == 0 else None
    if not isinstance(origin, Node) or not str(origin.target).startswith(("aten.mul", "aten.neg")):
        return None
    read = [low.value(a) for a in origin.args]
    if x not in read:
        return None
    return -1.0 if len(read) == 1 else number(read[1] if read[0] == x else read[0])


def _leaky(low: Lowering, node: Node, x: Stream, slope: float) -> Stream:
    (y,) = low.emit(node, LeakyReLU(slope) if slope else ReLU(), [x], label="gate")
    return y.arranged(x.dims)


@handles("maximum", "max.other", "fmax")
def maximum(low: Lowering, node: Node, a: Value, b: Value) -> Stream:
    """`max(x, c x)` for c below 1.

    Raises:
        NotUnderstood: for other tensors.
    """
    for x, other, origin in ((a, b, node.args[1]), (b, a, node.args[0])):
        if isinstance(x, Stream) and not isinstance(x, Data):
            slope = _slope(low, x, other, origin)
            if slope is not None and slope < 1:
                return _leaky(low, node, x, slope)
    raise NotUnderstood("no rule is known for it")
