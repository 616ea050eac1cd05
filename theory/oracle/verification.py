"""Checking laws against loss gradients in float64.

A law holds when its gradient is orthogonal to every loss gradient.  All scalars of a family are checked at once: the
derivative of the law's value along a loss gradient, relative to the same sum of absolute values (see `measuring`).
Copies of each law without each of its terms have to fail the same check, otherwise the check proved nothing; a law that
is identically zero says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from ..arguments import ArgumentError, Tolerance, misfit, of_right_kinds, plural, shown
from ..laws.law import Law
from ..losses import LossLike
from ..parts import is_part, with_parts
from ..verdict import Verdict
from .measuring import Measured, at_rest, corruptions, measure, residuals, uneven, vanishing
from .modules import Axes, ClassAxes, Point, module_points, point_of

TOLERANCE = 1e-10
SPARE = 4  # times as many points are tried where some gradient is no number
REFUTED = 1e-7  # what a gradient moves a false law by is larger, and rounding smaller
SEEN = 1e3  # a corrupted copy is seen to fail above this many tolerances

__all__ = [
    "TOLERANCE",
    "Differentiable",
    "LawReport",
    "Point",
    "Report",
    "corruptions",
    "point_of",
    "refuted",
    "residuals",
    "verify",
]


@runtime_checkable
class OnAxes(Protocol):
    """Laws that know which axis of each output the classes lie on."""

    axes: tuple[int | None, ...]


@runtime_checkable
class KnowsAxes(Protocol):
    """A module that knows the feature axis of each output."""

    output_axes: tuple[int, ...]


@runtime_checkable
class Differentiable(Protocol):
    """A network that can produce points by itself."""

    def points(self, loss: LossLike, samples: int, seed: int, exact_norms: bool) -> Sequence[Point]:
        """Random parameters, data and losses; `exact_norms` reads every epsilon as 0."""
        ...


@dataclass(frozen=True)
@of_right_kinds
class LawReport:
    """What was measured for one law.

    Attributes:
        law: its name.
        verdict: the outcome.
        residual: largest relative derivative along a loss gradient.
        control: the same for the corrupted copy of the law that misses by the least, which has to be large.
        reason: why it is no pass, or which of its terms are constant by themselves.
    """

    law: str
    verdict: Verdict
    residual: float
    control: float
    reason: str = ""


@dataclass(frozen=True, repr=False)
@of_right_kinds
class Report:
    """The outcome for a set of laws.

    Attributes:
        laws: what was measured for each.
    """

    laws: tuple[LawReport, ...]

    def __str__(self) -> str:
        """A line for every law, then the verdict."""
        rows = [f"{r.law}: {r.verdict}, residual {r.residual:.0e}{r.reason and f'; {r.reason}'}" for r in self.laws]
        return "\n".join([*rows, f"verdict: {self.verdict}"])

    def __repr__(self) -> str:
        return f"<Report: verdict {self.verdict}, {plural(len(self.laws), 'law')}; print it for the whole>"

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

    def _repr_html_(self) -> str:
        from html import escape

        from ..laws.pages import table

        head = ("law", "verdict", "residual", "residual of a corrupted copy", "why")
        rows = ((r.law, str(r.verdict), f"{r.residual:.0e}", f"{r.control:.0e}", r.reason) for r in self.laws)
        return table(head, (tuple(map(escape, row)) for row in rows), f"verdict: {self.verdict}")

    def __getitem__(self, name: str) -> LawReport:
        for r in self.laws:
            if r.law == name:
                return r
        raise KeyError(f"no law named {name!r} in the report")


def verify(
    laws: Sequence[Law],
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
    if type(samples) is not int or samples < 1:
        raise ArgumentError(f"verify: samples is {shown(samples)}; it must be an integer of at least 1")
    if wanted := misfit(tolerance, Tolerance):
        raise ArgumentError(f"verify: tolerance is {shown(tolerance)}; it must be {wanted}")
    if not isinstance(network, torch.nn.Module | Differentiable):
        raise ArgumentError(f"verify: the network is {shown(network)}; expected an architecture or a torch module")
    if isinstance(network, torch.nn.Module) and not isinstance(network, Differentiable):
        if isinstance(laws, OnAxes) and laws.axes and not isinstance(network, KnowsAxes):
            axis = axis if isinstance(axis, ClassAxes) else ClassAxes(laws.axes, axis)
        if axis is None:
            axis = network.output_axes if isinstance(network, KnowsAxes) else -1
        points: list[Point] = list(module_points(network, loss, args, samples, seed, axis, training, kwargs, redraw))
        if not all(map(_finite, points)):  # 0 / 0 where a unit is dead, say, is nothing about a law
            more = module_points(network, loss, args, SPARE * samples, seed + 1, axis, training, kwargs, redraw)
            points = [p for p in (*points, *more) if _finite(p)][: max(samples, 1)] or points
        # A module that does not move at its own parameters was not tested, whatever holds near them.
        points = [p for p in points if not p.moves] or points
        ideal = points
    else:
        assert isinstance(network, Differentiable)
        points = list(network.points(loss, samples, seed, False))
        if not all(map(_finite, points)):
            more = list(network.points(loss, SPARE * samples, seed + 1, False))
            points = [p for p in (*points, *more) if _finite(p)][: max(samples, 1)] or points
        ideal = list(network.points(loss, samples, seed, True)) if any(not w.exact for w in laws) else points
    parts = [n for law in laws for n in law.parameters if is_part(n)]
    if parts:
        plain = ideal is points
        points = [_with_parts(p, parts) for p in points]
        ideal = points if plain else [_with_parts(p, parts) for p in ideal]
    _expect_parameters(laws, points)
    return Report(tuple(_judge(law, points, ideal, tolerance) for law in laws))


def _finite(point: Point) -> bool:
    return bool(torch.isfinite(point.slope))


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
    if points and (empty := vanishing(law, points[0].parameters)):
        what = "it is" if empty == law.count else f"{empty} of its {law.count} scalars are"
        return LawReport(law.name, Verdict.VACUOUS, 0.0, 0.0, f"{what} the same whatever the parameters are")
    found = measure(law, points)
    # A term that is a law by itself may be dropped, but not be read unevenly.
    controls = [
        c if c > SEEN * tolerance else residuals(uneven(law, i), points)[0] for i, c in enumerate(found.controls)
    ]
    seen = [c for c in controls if c > SEEN * tolerance]
    control = min(seen, default=max(controls, default=float("inf")))
    if points and not any(map(_finite, points)):
        why = "no loss gradient is a number at any point that was tried"
        return LawReport(law.name, Verdict.UNDECIDED, float("inf"), float("inf"), why)
    verdict, residual, reason = _outcome(law, found, ideal if ideal is not points else None, tolerance)
    if verdict is Verdict.HOLDS and controls and not seen:
        verdict, reason = Verdict.UNDECIDED, "a corrupted copy of it passes as well, so the check shows nothing"
    elif verdict is Verdict.HOLDS and len(seen) < len(controls):
        still = [t.part.parameter for t, c in zip(law.terms, controls, strict=True) if c <= SEEN * tolerance]
        reason = (
            f"it holds without its terms in {', '.join(dict.fromkeys(still))} as well: they are constant by themselves"
        )
    return LawReport(law.name, verdict, residual, control, reason)


def _outcome(law: Law, found: Measured, ideal: Sequence[Point] | None, tolerance: float) -> tuple[Verdict, float, str]:
    """The verdict on a law before its control, its residual and the reason.

    Args:
        law: the law.
        found: what was measured.
        ideal: the points with every epsilon read as 0, where those are others.
        tolerance: see `verify`.
    """
    residual, tested = found.residual, found.tested
    if residual == float("inf"):
        return Verdict.VIOLATED, residual, "a loss gradient, or the law, is not a number"
    if not law.exact and ideal is not None:
        finite = [p for p in ideal if bool(torch.isfinite(p.slope))]
        if not finite:
            return Verdict.UNDECIDED, residual, "with every epsilon read as 0 no loss gradient is a number"
        limit, tested = residuals(law, finite)
        if not limit <= tolerance:
            return Verdict.VIOLATED, limit, "it does not hold with every epsilon read as 0 either"
    if not residual <= tolerance:
        if law.exact or not residual < 1:
            return Verdict.VIOLATED, residual, ""
        return Verdict.APPROXIMATE if tested else Verdict.VACUOUS, residual, ""
    if not tested:
        return Verdict.VACUOUS, residual, found.why_vacuous
    return Verdict.HOLDS, residual, ""


def refuted(laws: Sequence[Law], points: Sequence[Point]) -> list[tuple[Law, float]]:
    """The laws that some loss gradient moves by more than rounding, and by how much, relative to their terms.

    Points whose gradient is zero or no number say nothing and are left out.
    """
    parts = [n for law in laws for n in law.parameters if is_part(n)]
    told = [p for p in points if p.moves and bool(torch.isfinite(p.slope))]
    told = [_with_parts(p, parts) for p in told] if parts else told
    moved = [law for law in laws if not all(at_rest(law, p) for p in told)]
    found = [(law, residuals(law, told)[0]) for law in moved]
    return [(law, r) for law, r in found if not r <= REFUTED]
