"""One learned number that scales all features: the end of a residual branch without norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import Rule, ScalarGainRule

from .base import Block, Net, ShapeError, Signal, Spec
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class ScalarGain(Block):
    """`y = (a + offset) x` with one learned number, parameter `weight` of shape `(1,)` (SkipInit, ReZero, Fixup).

    Law: `a^2 - ||W||^2` against a map `W` before it that nothing else reads (wire-balance theorem; the block: De, Smith
    2020; Bachlechner et al. 2021).
    """

    offset: float = 0.0
    frozen: tuple[str, ...] = ()

    summary = "y = a x, one learned a"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((1,), 0.0, 1.0 - self.offset)}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens:
            raise ShapeError(f"{self} reads numbers but gets {signals[0]}; put an Embedding before it")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ScalarGainRule(names["weight"], Fraction(self.offset))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] * (p["weight"] + self.offset if self.offset else p["weight"])

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The block by itself."""
        return () if signal.tokens else (cls(),)
