"""Moves and means of features: another order, and the mean of all features removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import NormRule, ReorderRule, Rule

from .base import Block, ShapeError, Signal
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Reorder(Block):
    """Features in another order.

    Args:
        order: for every feature of the output the number of a feature of the input.
    """

    order: tuple[int, ...]

    portable = False
    summary = "features in another order"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.order) != list(range(len(self.order))):
            raise ShapeError(f"{self} must name each of its {len(self.order)} features once")

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].features != len(self.order) or signals[0].tokens:
            raise ShapeError(f"{self} orders {len(self.order)} features but gets {signals[0]}; it fits one size only")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ReorderRule(self.order)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].index_select(run.axis, torch.tensor(self.order, device=x[0].device))


@dataclass(frozen=True, eq=False, repr=False)
class Centre(Block):
    """The mean of all features removed: `x - mean(x)`."""

    portable = False
    summary = "the mean of all features removed"
    source = "wire-balance theorem (lawful)"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens:
            raise ShapeError(f"{self} gets tokens; put an embedding before it")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=True, scale=False)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] - x[0].mean(run.axis, keepdim=True)
