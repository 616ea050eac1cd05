"""Checking laws against loss gradients in float64.

A law holds when its gradient is orthogonal to every loss gradient.  All scalars of a family are checked at once: the
derivative of the law's value along a loss gradient, relative to the same sum of absolute values.  A corrupted copy of
each law has to fail the same check, otherwise the check proved nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch.func import jvp

from .laws import Law, LawSet
from .losses import LossLike
from .modules import Axes, ClassAxes, Point, module_points, point_of
from .parts import is_part, with_parts
from .verdict import Verdict

TOLERANCE = 1e-10

__all__ = [
    "TOLERANCE",
    "Differentiable",
    "LawReport",
    "Point",
    "Report",
    "corruptions",
    "point_of",
    "residuals",
    "verify",
]


@runtime_checkable
class Differentiable(Protocol):
    """A network that can produce points by itself."""

    def points(self, loss: LossLike, samples: int, seed: int, exact_norms: bool) -> Sequence[Point]:
        """Random parameters, data and losses; `exact_norms` reads every epsilon as 0."""
        ...


@dataclass(frozen=True)
class LawReport:
    """What was measured for one law.

    Attributes:
        law: its name.
        verdict: the outcome.
        residual: largest relative derivative along a loss gradient.
        control: the same for a corrupted copy of the law, which has to be large.
    """

    law: str
    verdict: Verdict
    residual: float
    control: float


@dataclass(frozen=True)
class Report:
    """The outcome for a set of laws."""

    laws: tuple[LawReport, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict among the laws (`VACUOUS` if there is none)."""
        found = {r.verdict for r in self.laws}
        order = (Verdict.VIOLATED, Verdict.UNDECIDED, Verdict.VACUOUS, Verdict.APPROXIMATE, Verdict.HOLDS)
        return next((v for v in order if v in found), Verdict.VACUOUS)

    @property
    def residual(self) -> float:
        """The largest residual of a law that holds."""
        return max((r.residual for r in self.laws if r.verdict is Verdict.HOLDS), default=0.0)

    @property
    def violated(self) -> tuple[LawReport, ...]:
        """The laws that failed."""
        return tuple(r for r in self.laws if r.verdict is Verdict.VIOLATED)

    def __getitem__(self, name: str) -> LawReport:
        for r in self.laws:
            if r.law == name:
                return r
        raise KeyError(f"no law named {name!r} in the report")


def verify(
    laws: Sequence[Law] | LawSet,
    network: Differentiable | torch.nn.Module,
    loss: LossLike = "mse",
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    samples: int = 4,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    axis: Axes | None = None,
    training: bool | None = None,
    redraw: bool = True,
) -> Report:
    """Checks laws by gradients at random points.

    Args:
        laws: the laws.
        network: an architecture, or a module whose parameters have the names in the laws.
        loss: the loss the laws were derived for, one for every output (see `losses.read`).
        args: example inputs of a module; one random batch of their shapes is drawn per sample.
        kwargs: example keyword inputs of a module, likewise; masks and what is no tensor are passed on.
        redraw: whether the inputs of a module are drawn anew for every sample, like the examples; if not, they are
            data to be checked on as they are.
        samples: number of random points; a module is tried at its own parameters and at perturbed ones, in turn.
        seed: of points and data.
        tolerance: largest relative residual of a law that holds.
        axis: the axis of the features (the classes) in a module's output, or one for every output; by default the one
            that the laws of a traced module were derived for, the module's own `output_axes`, else the last.
        training: the mode of a module's submodules during the check; None keeps the mode of each.

    A module is left exactly as it was (see `module_points`).

    Returns:
        A verdict, a residual and the residual of a corrupted copy for every law.

    Raises:
        ValueError: for a module without example inputs, for laws of parameters that the network does not have, and for
            another axis than that the laws were derived for.
    """
    if isinstance(network, torch.nn.Module) and not isinstance(network, Differentiable):
        if isinstance(laws, LawSet) and laws.axes and not hasattr(network, "output_axes"):
            axis = axis if isinstance(axis, ClassAxes) else ClassAxes(laws.axes, axis)
        axis = getattr(network, "output_axes", -1) if axis is None else axis
        points: Sequence[Point] = module_points(network, loss, args, samples, seed, axis, training, kwargs, redraw)
        # A module that does not move at its own parameters was not tested, whatever holds near them.
        points = [p for p in points if not p.moves] or points
        ideal = points
    else:
        assert isinstance(network, Differentiable)
        points = network.points(loss, samples, seed, False)
        ideal = network.points(loss, samples, seed, True) if any(not w.exact for w in laws) else points
    parts = [n for law in laws for n in law.parameters if is_part(n)]
    if parts:
        plain = ideal is points
        points = [_with_parts(p, parts) for p in points]
        ideal = points if plain else [_with_parts(p, parts) for p in ideal]
    _expect_parameters(laws, points)
    return Report(tuple(_judge(law, points, ideal, tolerance) for law in laws))


def _with_parts(point: Point, names: Sequence[str]) -> Point:
    """A point with the parts of parameters that laws read, and their gradients."""
    return Point(with_parts(point.parameters, names), with_parts(point.gradient, names), point.loss)


def _expect_parameters(laws: Sequence[Law], points: Sequence[Point]) -> None:
    known = points[0].parameters if points else {}
    for law in laws:
        for name in law.parameters:
            if name not in known:
                raise ValueError(
                    f"{law.name} reads {name!r}, which is no parameter of the network ({', '.join(list(known)[:6])}); "
                    "pass the network that the laws were derived from"
                )


def _judge(law: Law, points: Sequence[Point], ideal: Sequence[Point], tolerance: float) -> LawReport:
    residual, tested = residuals(law, points)
    control = max((residuals(false, points)[0] for false in corruptions(law)[:1]), default=float("inf"))
    if not law.exact:
        limit, tested = residuals(law, ideal)
        if not limit <= tolerance and ideal is not points:
            return LawReport(law.name, Verdict.VIOLATED, limit, control)
        if not residual <= tolerance:
            verdict = Verdict.APPROXIMATE if residual < 1 else Verdict.VIOLATED
            return LawReport(law.name, verdict if tested else Verdict.VACUOUS, residual, control)
    if not residual <= tolerance:
        return LawReport(law.name, Verdict.VIOLATED, residual, control)
    if not tested:
        return LawReport(law.name, Verdict.VACUOUS, residual, control)
    verdict = Verdict.HOLDS if control > 1e3 * tolerance else Verdict.UNDECIDED
    return LawReport(law.name, verdict, residual, control)


def residuals(law: Law, points: Sequence[Point]) -> tuple[float, bool]:
    """Largest relative derivative of a law along the loss gradients, and whether every scalar of it was tested.

    A derivative that is not a number gives an infinite residual.
    """
    worst, scales = 0.0, None
    for point in points:
        if not point.moves:
            continue
        names = law.parameters
        theta = {n: point.parameters[n] for n in names}
        direction = {n: point.gradient[n] for n in names}
        total = point.slope
        if not bool(torch.isfinite(total)):
            return float("inf"), True
        change = jvp(lambda p: law.value(p), (theta,), (direction,))[1]
        if law.kind == "balance":
            absolute = {n: t.abs() for n, t in theta.items()}
            scale = jvp(
                lambda p: law.value(p, magnitude=True), (absolute,), ({n: g.abs() for n, g in direction.items()},)
            )[1]
        else:
            scale = total.expand_as(change)
        floor = total * max(float(t.abs().max()) for t in theta.values()) * 1e-3 if law.kind == "balance" else 0.0
        ratio = torch.where(scale > 0, change.abs() / (scale + floor).clamp_min(1e-300), change.abs())
        if not bool(torch.isfinite(ratio).all()) or not bool(torch.isfinite(scale).all()):
            return float("inf"), True
        worst = max(worst, float(ratio.max()))
        scales = scale if scales is None else scales + scale
    if scales is None:
        return 0.0, False
    return worst, bool((scales > 0).all())


def corruptions(law: Law) -> list[Law]:
    """False laws of the same shape: one parameter read unevenly, one sign flipped, one term dropped.

    The last two need two terms.  A parameter that never moves has no false law of its own.
    """
    if law.kind == "frozen":
        return []
    first, *others = law.terms
    out = [replace(law, terms=(replace(first, part=replace(first.part, ramp=True)), *others))]
    if others:
        out.append(replace(law, terms=(replace(first, coefficient=-first.coefficient), *others)))
        out.append(replace(law, terms=tuple(others)))
    return out
