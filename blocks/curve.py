"""Factors that are functions of a parameter: learned temperatures of attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import CurveRule, Rule

from .base import Block, Net, ShapeError, Signal, Spec
from .run import Run

STEPS: dict[str, Callable[..., torch.Tensor]] = {
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "times": torch.mul,
    "most": lambda p, n: torch.clamp(p, max=n),
    "least": lambda p, n: torch.clamp(p, min=n),
}


@dataclass(frozen=True, eq=False, repr=False)
class Temperature(Block):
    """`y_h = f(p_h) x_h` for every head h, with a parameter `weight` of shape `(heads,)`.

    Args:
        heads: runs of features with a factor each; 1 for one factor of everything.
        steps: f as a chain of functions: `exp`, `sigmoid`, `tanh`, `softplus`, or with a number `times`, `most`,
            `least` (`(("most", 4.6), ("exp", 0.0))`).
        frozen: local names of parameters that training does not move.

    Law: none of its own that is quadratic (Liu et al. 2022, Swin V2, equation 2, defines it).
    """

    heads: int
    steps: tuple[tuple[str, float], ...] = (("exp", 0.0),)
    frozen: tuple[str, ...] = ()

    portable = False
    summary = "a learned factor f(p) per head"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, _ in self.steps:
            if name not in STEPS:
                raise ShapeError(f"no function {name!r} of a factor; there are {', '.join(STEPS)}")

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((self.heads,), 0.5)}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.features % self.heads:
            raise ShapeError(f"{self} reads {self.heads} heads but gets {s}; make the width a multiple of the heads")
        return (s,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return CurveRule(names["weight"], self.heads)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        factor = p["weight"]
        for name, n in self.steps:
            f = STEPS[name]
            factor = f(factor, n) if name in ("times", "most", "least") else f(factor)
        y = x[0].movedim(run.axis, -1)
        y = (y.unflatten(-1, (self.heads, -1)) * factor[:, None]).flatten(-2)
        return y.movedim(-1, run.axis)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or signal.features % 2:
            return ()
        return [cls(2)]
