"""Maps of single numbers; piecewise linear ones are written out in many ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Block, Identity, LeakyReLU, ReLU, Scale

from ..context import Context
from ..values import Lazy, NotUnderstood, Stream, Value, number


def mapped(low: Context, node: Node, x: Value, block: Block, label: str = "") -> Stream:
    """A map of single numbers, in whatever arrangement they are.

    Raises:
        NotUnderstood: for complex numbers, unless they are multiplied alike.
    """
    read = (n.meta.get("val") for n in node.all_input_nodes)
    if not isinstance(block, Identity | Scale) and any(isinstance(t, torch.Tensor) and t.is_complex() for t in read):
        raise NotUnderstood("a function of complex numbers")
    s = low.stream(x, node)
    (y,) = low.emit(node, block, [s], label=label)
    return y.arranged(s.dims)


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


def gated(low: Context, node: Node, x: Value, gate: Positive) -> Stream | None:
    """`x (x > 0)`; None for a product with the gate of something else."""
    if isinstance(x, Stream) and x == gate.of:
        (y,) = low.emit(node, ReLU(), [x], label="gate")
        return y.arranged(x.dims)
    return None


def chosen(low: Context, node: Node, gate: Positive, a: Value, b: Value) -> Stream:
    """`where(x > 0, x, c x)`.

    Raises:
        NotUnderstood: for a choice between other tensors.
    """
    slope = slope_of(low, gate.of, b, node.args[2])
    if a != gate.of or slope is None:
        raise NotUnderstood("a choice between two tensors")
    return leaky(low, node, gate.of, slope)


def slope_of(low: Context, x: Stream, value: Value, origin: Any) -> float | None:
    """The number that `value` is of `x`, None if it is something else."""
    if (fixed := number(value)) is not None:
        return 0.0 if fixed == 0 else None
    if not isinstance(origin, Node) or not str(origin.target).startswith(("aten.mul", "aten.neg")):
        return None
    read = [low.value(a) for a in origin.args]
    if x not in read:
        return None
    return -1.0 if len(read) == 1 else number(read[1] if read[0] == x else read[0])


def leaky(low: Context, node: Node, x: Stream, slope: float) -> Stream:
    """`max(x, c x)` for a slope c."""
    (y,) = low.emit(node, LeakyReLU(slope) if slope else ReLU(), [x], label="gate")
    return y.arranged(x.dims)
