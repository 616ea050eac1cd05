"""What a straight-through estimator passes on, beside the derivative of what it would compute without its rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from .resemblance import resemblance
from .tape import OwnCall, Tape

ROUNDINGS = frozenset({"aten.round", "aten.floor", "aten.ceil", "aten.trunc"})
MISTAKES = ("transposed", "reversed", "shifted", "summed", "averaged", "the sign")  # which nobody can mean


class _Through:
    """A rounding whose gradient is that of the identity."""

    __qualname__ = "rounding, passed through"

    def __init__(self, func: Callable[..., torch.Tensor]) -> None:
        self._func = func

    def __call__(self, x: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        return x + (self._func(x.detach(), *rest, **options) - x).detach()


def passed_through(tape: Tape, call: OwnCall) -> Tape | None:
    """A tape on which gradients go through the roundings of one call; None where it has none."""
    inside = range(call.first, call.last)
    found = [i for i in inside if tape.steps[i].name in ROUNDINGS and not tape.steps[i].writes]
    if not found:
        return None
    steps = list(tape.steps)
    for i in found:
        steps[i] = replace(steps[i], func=_Through(steps[i].func))
    return replace(tape, steps=steps)


def mistake(own: torch.Tensor, through: torch.Tensor) -> str:
    """What is wrong with a straight-through gradient that is that of the rounding passed through, but for one thing."""
    guess = resemblance(own, through)
    return f"{guess}, beside its own rounding passed through" if guess.startswith(MISTAKES) else ""


__all__ = ["mistake", "passed_through"]
