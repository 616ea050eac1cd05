"""Choices of the largest: their values, their numbers, and what is made of both by a router."""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from lawful.blocks import Pointwise, Softmax

from ..context import Context, handles
from ..opaque import opaque_call
from ..steps.routed import HIDDEN, weighed_choice
from ..values import Fixed, NotUnderstood, Stream, Value


@handles("topk")
def topk(
    low: Context, node: Node, x: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Value, Value]:
    """The largest few: their numbers only choose, and no gradient comes back through them."""
    soft = isinstance(x, Stream) and _is_soft(low, x)
    reason = "its values are taken in their order"
    y, numbers = opaque_call(low, node, (x, k, dim, largest, sorted), {}, reason, measure=not soft)
    if soft:  # weights of a softmax or of sigmoids have no laws of their own
        low.reasons.pop(y.port[0], None)
        low.behind.add(y.port[0])
    return y, numbers


def _is_soft(low: Context, x: Stream) -> bool:
    block = low.builder.blocks.get(x.port[0])
    return isinstance(block, Softmax) or (isinstance(block, Pointwise) and block.function == "sigmoid")


@handles("scatter.src", "scatter.value")
def scatter(low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, **options: Any) -> Value:
    """Weights of the chosen experts in the places of all; logits of which the others are hidden."""
    if not isinstance(base, Fixed) or not base.known or options or not base.tensor.is_floating_point():
        raise NotUnderstood("entries are written at places that depend on data")
    low_end = float(base.tensor.max()) if base.tensor.numel() else 0.0
    if dim not in (-1, len(base.shape) - 1) or (bool(base.tensor.any()) and low_end > HIDDEN):
        raise NotUnderstood("entries are written at places that depend on data")
    return weighed_choice(low, node, hidden=bool(base.tensor.any()))
