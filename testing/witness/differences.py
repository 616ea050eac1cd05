"""The backward of an operator that nobody can look into, against differences of what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from .resemblance import inner

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of the differences
MARGIN = 20  # times the error of a difference
CLOSE = 1e-4  # relative, of a difference in float64

AGREES, WRONG, DESIGN, OPEN = "agrees", "wrong", "by design", "undecided"

Run = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]


def _value(run: Run, values: Sequence[torch.Tensor], cotangents: dict[int, torch.Tensor]) -> float:
    with torch.no_grad():
        outs = run([v.clone() for v in values])
    return sum(inner(w, outs[i]) for i, w in cotangents.items())


def piecewise(
    own: torch.Tensor,
    true: torch.Tensor,
    run: Run,
    leaves: Sequence[torch.Tensor],
    j: int,
    cotangents: dict[int, torch.Tensor],
) -> bool:
    """Whether an operator is constant near this input, but not far from it, and its backward passes something on."""
    if float(true.norm()) > 1e-12 * float(own.norm()):
        return False
    generator = torch.Generator().manual_seed(j)
    here = _value(run, leaves, cotangents)
    for scale in (0.3, 1.0, 3.0, 10.0):
        moved = list(leaves)
        moved[j] = leaves[j] + scale * normal(leaves[j], generator)
        if abs(_value(run, moved, cotangents) - here) > 1e-9 * (1 + abs(here)):
            return True
    return False


def by_differences(
    own: torch.Tensor,
    run: Run,
    leaves: Sequence[torch.Tensor],
    j: int,
    cotangents: dict[int, torch.Tensor],
    generator: torch.Generator,
) -> tuple[str, float, str]:
    """The backward for one input against central differences along a random direction, with the error of these."""
    direction = normal(leaves[j], generator)
    slope = inner(own, direction)
    found = []
    size = float(leaves[j].abs().mean()) or 1.0
    for h in STEPS:
        ends = []
        for sign in (1, -1):
            moved = list(leaves)
            moved[j] = leaves[j] + sign * h * size * direction
            ends.append(_value(run, moved, cotangents))
        found.append((ends[0] - ends[1]) / (2 * h * size))
    # rounding grows as steps shrink: what the last ones differ by says how much of it is in the others
    rounding = max(abs(a - b) * h for (a, b), h in zip(list(pairwise(found))[-2:], STEPS[-2:], strict=True))
    errors = [(abs(a - b) + rounding / h, b) for (a, b), h in zip(pairwise(found), STEPS[1:], strict=True)]
    gap, best = min(errors)
    scale = max(abs(best), abs(slope), 1e-6 * float(own.norm()))
    if not scale:
        return AGREES, 0.0, ""
    error = abs(best - slope) / scale
    if abs(best - slope) <= MARGIN * gap + CLOSE * scale:
        settled = MARGIN * gap <= 0.1 * scale
        return (AGREES if settled else OPEN), error, ""
    if gap > 0.05 * scale:
        return OPEN, error, ""
    if best == 0 and piecewise(own, torch.zeros_like(own), run, leaves, j, cotangents):
        return DESIGN, error, ""
    guess = f"{slope / best:.3g} times the derivative along a random direction" if best else "it should be zero"
    guess = guess if slope else "missing"
    return WRONG, error, guess


def normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normal numbers in the form of a tensor."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


__all__ = ["AGREES", "CLOSE", "DESIGN", "OPEN", "WRONG", "Run", "by_differences", "normal", "piecewise"]
