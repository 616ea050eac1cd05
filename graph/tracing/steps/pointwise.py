"""Maps of single numbers; piecewise linear ones are written out in many ways."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Block, Identity, LeakyReLU, ReLU, Scale
from lawful.theory.gauge.rewrites import is_factor
from lawful.theory.gauge.rules import HomogeneousRule, PassRule

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
    """`f(x) (x > 0)`, where `f` is a multiple of x above 0; None for a product with the gate of something else."""
    slope = _slope_above(low, x, gate.of) if isinstance(x, Stream) else None
    if slope is None:
        return None
    (y,) = low.emit(node, ReLU(), [gate.of], label="gate")
    if slope != 1:
        (y,) = low.emit(node, Scale(float(slope)), [y], label="gate")
    return y.arranged(gate.of.dims)


def _slope_above(low: Context, y: Stream, x: Stream) -> Fraction | None:
    """The number that `y` is of `x` where `x` is above 0, None where it is something else."""
    port, made = y.port, []
    while port != x.port:
        block, reads = low.builder.blocks.get(port[0]), low.builder.reads.get(port[0], [])
        if block is None or len(reads) != 1 or block.outputs != 1:
            return None
        rule = block.rule(low.builder.names[port[0]], [low.builder.signals[reads[0]]], [low.builder.signals[port]])
        made.append(rule)
        port = reads[0]
    value = Fraction(1)
    for rule in reversed(made):
        if isinstance(rule, PassRule) and is_factor(rule):
            value *= rule.factor
        elif isinstance(rule, HomogeneousRule) and rule.negative is not None and rule.power == 1 and not rule.noisy:
            value *= 1 if value > 0 else Fraction(rule.negative)
        else:
            return None
    return value if value and y.dims == x.dims else None


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
