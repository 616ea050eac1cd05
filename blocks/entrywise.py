"""Maps of single numbers that no other block names: whatever torch applies entry by entry, and the larger of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lawful.theory.gauge.rules import LargerRule, PointwiseRule, Rule

from .base import Block, ShapeError, Signal
from .joins import _Join
from .pieces import in_pieces
from .run import Run
from .whole import Call


@dataclass(frozen=True, eq=False, repr=False)
class Entrywise(Block):
    """A function of single numbers that is not homogeneous, as torch computes it; it leaves no law.

    Args:
        operation: its name, with its options.
        call: computes it; it is no plain data, so an architecture with such a block cannot be written as JSON.
        exponential: whether adding to its input multiplies what it gives.
        keeps_zero: whether 0 stays 0.
        positive: whether nothing that it gives is negative.
        parity: 1 for an even function, -1 for an odd one, 0 for any other.
        pieces: whether it has several, between fixed numbers.
    """

    operation: str
    call: Call | None = field(default=None, compare=False)
    exponential: bool = False
    keeps_zero: bool = False
    positive: bool = False
    parity: int = 0
    pieces: bool = False

    portable = False
    least = {"parity": -1}  # noqa: RUF012
    summary = "any point-wise function"
    source = "tran2026, theorem 4.1"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return signals

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PointwiseRule(self.exponential, self.keeps_zero, self.positive, True, self.parity, self.pieces)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if self.call is None:
            raise ShapeError(f"{self} does not say how it is computed; trace the module that it comes from")
        return in_pieces(self.call, run, x, p)

    def config(self) -> dict[str, Any]:
        """Its fields, without how it is computed."""
        return {k: v for k, v in super().config().items() if k != "call"}


@dataclass(frozen=True, eq=False, repr=False)
class Larger(_Join):
    """The larger of its two inputs, or the smaller, feature by feature.

    One scale per feature passes where both inputs have the same, and so does a constant.
    """

    smaller: bool = False

    inputs = 2  # type: ignore[assignment]
    portable = False
    summary = "max(x_1, x_2)"
    source = "marcotte2023, theorem 4.1, for maps that choose one of several inputs"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LargerRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        a, b = self._spread(x, run)
        choose = torch.minimum if self.smaller else torch.maximum
        gate = run.gate(a - b, real=lambda: a - b > 0)
        if gate is None:
            return choose(a, b)
        gate = 1 - gate if self.smaller else gate
        return gate * a + (1 - gate) * b
