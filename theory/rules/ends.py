"""Rules of the ends of a network: what it reads, and what a loss sees of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..algebra import Nothing, Scalar
from ..diagram import Site
from .base import Blind, Rule

if TYPE_CHECKING:
    from ..balance import Balance
    from ..directions import Directions
    from ..layouts import Layouts
    from ..linalg import Number
    from ..losses import Loss
    from ..shifts import Shifts


@dataclass(frozen=True)
class SourceRule(Rule):
    """The network's input: `S = 0`, `t = 0`."""

    @property
    def statement(self) -> str:
        return "network input: S = 0, t = 0"


@dataclass(frozen=True)
class OutputRule(Rule):
    """An output: what may move there is what its loss does not see (`losses`: all, shift or scale).

    A loss of `z / |z|` lets every position have a scale of its own: `S` in the span of `I`, and a positive factor on
    the output, also one per position, is unseen.
    """

    loss: Loss

    @property
    def statement(self) -> str:
        return self.loss.statement

    def shape(self, layouts: Layouts, site: Site) -> None:
        w = site.inputs[0]
        if self.loss.span == "shift":
            layouts.ones(w)
        else:
            allowed = Scalar if self.loss.span == "scale" else Nothing
            layouts.meet(w, allowed(layouts.size(w)))

    def balance(self, balance: Balance, site: Site) -> None:
        if self.loss.span == "shift":
            balance.only_ones(site.inputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        if self.loss.span == "shift":
            shifts.allow_ones(site.inputs[0])
        else:
            shifts.forbid(site.inputs[0])

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        if self.loss.span == "shift":
            line = directions.ones(site.inputs[0])
            return [Blind(line, line)]
        return [Blind()]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0 if self.loss.span == "scale" else super().degree(degrees, local)
