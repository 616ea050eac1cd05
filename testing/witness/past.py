"""Numbers that leave torch and come back: `item()`, `numpy()`, a kernel that runs outside of any operator.

No graph shows what they depend on.  Where a forward has some, the derivative of all that is seen is compared with
finite differences of the whole forward; what is missing there went by them.  So are gradients where nothing was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

from .resemblance import inner

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
MARGIN = 20  # times the disagreement of two steps
SEEN = 1e-3  # relative, of a derivative that is missed
MOST = 24  # parameters that are named
WHY = "a number that leaves torch (item(), numpy(), a kernel of another library)"
READS_OUT = "aten._local_scalar_dense"
# kernels that draw numbers whose law depends on what they read: torch's gradient is not that of the numbers drawn
SAMPLERS = frozenset(
    "aten._standard_gamma aten._sample_dirichlet aten.poisson aten.binomial aten.multinomial aten.bernoulli "
    "aten.bernoulli_ aten.normal".split()
)

Tensors = Mapping[str, torch.Tensor]


def missed(
    value: Callable[[Tensors], float], point: Tensors, derivative: Mapping[str, torch.Tensor | None], seed: int
) -> dict[str, float]:
    """The parameters whose derivative is not all that the loss does, with the relative size of what is missing.

    Args:
        value: the loss at other parameters.
        point: the parameters.
        derivative: by each of them, as far as it is seen.
        seed: of the directions.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = {n: _direction(p, generator) for n, p in point.items()}
    whole = _off(value, point, derivative, directions) or 0.0
    if not whole:
        return {}
    found: dict[str, float] = {}
    groups = [[*point]]
    while groups and len(found) < MOST:  # halves that miss nothing are not looked into
        names = groups.pop()
        known = len(names) == len(point)
        gap = whole if known else _off(value, point, derivative, {n: directions[n] for n in names}) or 0.0
        if gap and len(names) == 1:
            found[names[0]] = gap
        elif gap:
            middle = len(names) // 2
            groups += [names[middle:], names[:middle]]
    return found


def followed(
    value: Callable[[Tensors], float], point: Tensors, gradient: Mapping[str, torch.Tensor | None], seed: int
) -> dict[str, float]:
    """How far gradients are from the slopes of the loss, where nothing else can tell; without what is too rough.

    Many parameters are moved some at a time, each by its own random direction.

    Args:
        value: the loss at other parameters.
        point: the parameters.
        gradient: what backward left in each.
        seed: of the directions.

    Returns:
        Zero where they agree, the relative size of the difference elsewhere.
    """
    generator = torch.Generator().manual_seed(seed)
    names = [*point]
    size = -(-len(names) // MOST)
    found: dict[str, float] = {}
    for some in (names[i : i + size] for i in range(0, len(names), size)):
        gap = _off(value, point, gradient, {n: _direction(point[n], generator) for n in some})
        if gap is not None:
            found |= dict.fromkeys(some, gap)
    return found


def _off(
    value: Callable[[Tensors], float],
    point: Tensors,
    derivative: Mapping[str, torch.Tensor | None],
    directions: Tensors,
) -> float | None:
    """The relative size of what a derivative misses along some directions; None where differences do not tell."""
    slope = sum(inner(g, d) for n, d in directions.items() if (g := derivative.get(n)) is not None)
    slopes = []
    for h in STEPS:
        one, other = (value({**point, **{n: point[n] + s * h * d for n, d in directions.items()}}) for s in (1.0, -1.0))
        slopes.append((one - other) / (2 * h))
    gap, best = min((abs(a - b), b) for a, b in pairwise(slopes))
    scale = max(abs(best), abs(slope))
    if not scale or gap > SEEN * scale:
        return None
    error = abs(best - slope)
    return error / scale if error > MARGIN * gap + SEEN * scale else 0.0 if MARGIN * gap < scale else None


def _direction(p: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    size = float(p.abs().mean()) or 1.0
    return size * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)


__all__ = ["READS_OUT", "SAMPLERS", "WHY", "followed", "missed"]
