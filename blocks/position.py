"""Fixed positions: tables that are added to tokens and never trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import OffsetRule, Rule

from .base import Block, Net, ShapeError, Signal
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Sinusoidal(Block):
    """Adds `sin(t / base^(2i/n))` and `cos(t / base^(2i/n))` to feature 2i and 2i + 1 of token t (Vaswani et al. 2017).

    No law of a stream passes it: `S` would have to kill every row of the table.  Constants pass.

    Args:
        base: of the wavelengths.
    """

    base: float = 10000.0

    summary = "x + table of sines and cosines"
    source = "theory of wires: S = 0, t_out = t_in"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.base > 1 or not math.isfinite(self.base):
            raise ShapeError(f"{self}: the base must be a number above 1")

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.channels_first or len(s.space) != 1:
            raise ShapeError(f"{self} reads a sequence of tokens with features last but gets {s}")
        return (s,)

    def input_signal(self) -> Signal:
        return Signal(4, (4,))

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return OffsetRule(rows=inputs[0].positions)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] + self.table(x[0].shape[-2], x[0].shape[-1]).to(x[0])

    def table(self, tokens: int, features: int) -> torch.Tensor:
        """The table, shape `(tokens, features)`."""
        place = torch.arange(tokens, dtype=torch.float64)[:, None]
        index = torch.arange(features)
        angle = place / self.base ** (2 * (index // 2).to(torch.float64) / features)
        return torch.where(index % 2 == 0, torch.sin(angle), torch.cos(angle))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The table by itself, where it has more rows than features."""
        if signal.tokens or signal.channels_first or len(signal.space) != 1 or signal.space[0] <= signal.features:
            return ()
        return (cls(10.0),)
