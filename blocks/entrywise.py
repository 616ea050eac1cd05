"""Maps of single numbers that no other block names: whatever torch applies entry by entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lawful.theory.gauge.rules import PointwiseRule, Rule

from .base import Signal
from .called import Call, Called


@dataclass(frozen=True, eq=False, repr=False)
class Entrywise(Called):
    """A function of single numbers that is not homogeneous, as torch computes it; it leaves no law.

    Args:
        operation: its name, with its options.
        call: computes it; it is no plain data, so an architecture with such a block cannot be written as JSON.
        exponential: whether adding to its input multiplies what it gives.
        keeps_zero: whether 0 stays 0.
        positive: whether nothing that it gives is negative.
        parity: 1 for an even function, -1 for an odd one, 0 for any other.
        pieces: whether it has several, between fixed numbers.
        far: whether it scales with a power of its input until that is large.
    """

    operation: str
    call: Call | None = field(default=None, compare=False)
    exponential: bool = False
    keeps_zero: bool = False
    positive: bool = False
    parity: int = 0
    pieces: bool = False
    far: bool = False

    least = {"parity": -1}  # noqa: RUF012
    summary = "any point-wise function"
    source = "tran2026, theorem 4.1"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return signals

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PointwiseRule(self.exponential, self.keeps_zero, self.positive, True, self.parity, self.pieces, self.far)
