"""What the numbers say about one law: its derivative along loss gradients, that of corrupted copies, and its own size.

All scalars of a family are measured at once: the derivative of the law's value along a loss gradient, relative to the
same sum of absolute values.  A law is a sum of terms, so one pass gives the derivative of every copy without a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.func import jvp

from ..laws.evaluate import pieces
from ..laws.law import Law
from .modules import Point, Tensors, norm

ROUNDING = 1e-12  # a law this far below its terms, at random parameters, is identically zero


@dataclass(frozen=True)
class Measured:
    """One law at some points.

    Attributes:
        residual: largest relative derivative of a scalar along a loss gradient; infinite for what is not a number.
        tested: whether every scalar was tested: its terms move at some point.
        controls: the residual of copies without each of its terms in turn.
        still: how many of its numbers never moved, though others did.
        size: how many numbers it has.
    """

    residual: float
    tested: bool
    controls: tuple[float, ...]
    still: int = 0
    size: int = 0

    @property
    def why_vacuous(self) -> str:
        """Why not all of it was tested."""
        if not self.still:
            return "nothing that it reads moved"
        return f"{self.still} of its {self.size} numbers did not move: a dead unit, or an input without examples"


def measure(law: Law, points: Sequence[Point], control: bool = True) -> Measured:
    """Derivatives of a law, and of corrupted copies of it, along the loss gradients of some points.

    Args:
        law: the law.
        points: where; those that do not move are left out.
        control: whether corrupted copies are measured too.
    """
    worst, scales = 0.0, None
    count = 0 if not control or law.kind == "frozen" else len(law.terms)
    controls = torch.zeros(count, dtype=torch.float64)
    for point in points:
        if not point.moves:
            continue
        theta = {n: point.parameters[n] for n in law.parameters}
        direction = {n: point.gradient[n] for n in law.parameters}
        if not bool(torch.isfinite(point.slope)):
            return Measured(float("inf"), True, (float("inf"),) * count)
        parts = jvp(lambda p: pieces(law, p), (theta,), (direction,))[1]
        change = parts.sum(0)
        scale, floor = _scale(law, theta, direction, point.slope, change)
        ratio = _ratio(change, scale, floor)
        if not bool(torch.isfinite(ratio).all()) or not bool(torch.isfinite(scale).all()):
            return Measured(float("inf"), True, (float("inf"),) * count)
        worst = max(worst, float(ratio.max()))
        scales = scale if scales is None else scales + scale
        if count:
            seen = torch.stack([_ratio(change - one, scale, floor).max() for one in parts]).cpu()
            controls = torch.maximum(controls, seen)
    if scales is None:
        return Measured(0.0, False, tuple(controls.tolist()))
    still = int((scales <= 0).sum())
    return Measured(worst, not still, tuple(controls.tolist()), still * (still < scales.numel()), scales.numel())


def _scale(
    law: Law, theta: Tensors, direction: Tensors, slope: torch.Tensor, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """What derivatives of a law are measured against, and a floor for it."""
    if law.kind != "balance":
        return slope.expand_as(like), 0.0
    sizes = {n: t.abs() for n, t in theta.items()}
    steps = {n: g.abs() for n, g in direction.items()}
    scale = jvp(lambda p: pieces(law, p, magnitude=True).sum(0), (sizes,), (steps,))[1]
    return scale, slope * max(float(t.abs().max()) for t in theta.values()) * 1e-3


def _ratio(change: torch.Tensor, scale: torch.Tensor, floor: torch.Tensor | float) -> torch.Tensor:
    return torch.where(scale > 0, change.abs() / (scale + floor).clamp_min(1e-300), change.abs())


def vanishing(law: Law, parameters: Tensors) -> int:
    """How many scalars of a law are the same whatever the parameters are, beyond those that its shape leaves empty.

    Args:
        law: the law.
        parameters: examples, of which only shapes and devices are used.
    """
    generator = torch.Generator().manual_seed(0)
    values, sizes = [], []
    for _ in range(2):
        theta = {
            n: torch.randn(parameters[n].shape, generator=generator, dtype=torch.float64).to(parameters[n].device)
            for n in law.parameters
        }
        values.append(pieces(law, theta).sum(0))
        sizes.append(pieces(law, {n: t.abs() for n, t in theta.items()}, magnitude=True).sum(0))
    alive = (values[0] - values[1]).abs() > ROUNDING * (sizes[0] + sizes[1])
    return max(0, law.count - int(alive.sum()))


def residuals(law: Law, points: Sequence[Point]) -> tuple[float, bool]:
    """Largest relative derivative of a law along the loss gradients, and whether every scalar of it was tested.

    A derivative that is not a number gives an infinite residual.
    """
    found = measure(law, points, control=False)
    return found.residual, found.tested


def at_rest(law: Law, point: Point) -> bool:
    """A quick look: whether a loss gradient moves no scalar of a law by more than rounding.

    Changes are measured against the size of all parameters of the law and of their gradient together, so that only
    what is far below both passes.  `h(theta + d) - h(theta - d)` is exact for laws of degree 2.
    """
    step = {n: point.gradient[n] for n in law.parameters}
    if law.kind != "balance":
        change, size = law.value(step), point.slope
    else:
        theta = {n: point.parameters[n] for n in law.parameters}
        size, length = norm(theta), norm(step)
        if not float(length) > 0:
            return not bool(torch.isnan(length))
        step = {n: g * (size / length) for n, g in step.items()}
        ahead, behind = ({n: t + sign * step[n] for n, t in theta.items()} for sign in (1, -1))
        change, size = law.value(ahead) - law.value(behind), size * size
    return bool((change.abs() <= ROUNDING * size).all())


def uneven(law: Law, at: int = 0) -> Law:
    """The law with one of its terms read unevenly."""
    term = law.terms[at]
    ramped = replace(term, part=replace(term.part, ramp=True))
    return replace(law, terms=(*law.terms[:at], ramped, *law.terms[at + 1 :]))


def corruptions(law: Law) -> list[Law]:
    """False laws of the same shape: a parameter read unevenly, a sign flipped, each of its terms dropped in turn.

    All but the first need two terms.  A parameter that never moves has no false law of its own, and a term that is a
    law by itself may be dropped.
    """
    if law.kind == "frozen":
        return []
    first, *others = law.terms
    out = [uneven(law)]
    if others:
        out.append(replace(law, terms=(replace(first, coefficient=-first.coefficient), *others)))
        out += [replace(law, terms=(*law.terms[:i], *law.terms[i + 1 :])) for i in range(len(law.terms))]
    return out


__all__ = ["Measured", "at_rest", "corruptions", "measure", "residuals", "uneven", "vanishing"]
