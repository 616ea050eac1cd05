"""Laws on gradients that a step has left: every scalar that moved is judged, and what did not move is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.func import jvp

from lawful.theory.laws.evaluate import pieces
from lawful.theory.laws.law import Law
from lawful.theory.parts import base, is_part, with_parts
from lawful.theory.verdict import Verdict

from .findings import LawFinding
from .witness.sample import MARGIN, Sample
from .witness.widths import EPS

Tensors = dict[str, torch.Tensor]
ENOUGH = 2  # steps on which every scalar of a law has moved
MISTAKE = "the plain network does not keep it either: a mistake of lawful, please report"
ELSEWHERE = "kept at the inputs that were given, not at others: what the module reads depends on them"
REST = 1e-12  # a scalar whose terms move less than that, relative to all others, was not exercised
UP_TO = 1e-2  # what an epsilon may move of a law, as a part of its terms, for the law to be called kept
EPSILON = "it holds up to the epsilon of a norm, which may be the cause"
NO_NUMBER = "a gradient is not a number"
NOISY = "moves no further than rounding moves its gradients, which decides nothing"
WIDE = 1e4  # times the noise of float64, which one draw may miss by far, and which is far below any fault
WEIGHED = 10  # times the bound: so much of a scalar is a parameter's own, if a factor on its gradient is to be seen
NOISE = 1000  # last bits of all gradients together: a norm of equal numbers hands on so many from the one before it


@dataclass(frozen=True, eq=False)
class Taken:
    """A step that was taken.

    Attributes:
        parameters: by name.
        own: their gradients.
        true: the derivative that these should be, None where it is not known.
        width: the narrowest type of numbers that took part.
        noise: by how much each gradient moves with the last bits of all that it is computed from, entry by entry.
        shake: draws more of that noise, into the same tensors; False where there is no more.
    """

    parameters: Tensors
    own: Tensors
    true: Tensors | None
    width: torch.dtype
    noise: Mapping[str, torch.Tensor] = field(default_factory=dict)
    shake: Callable[[], bool] = bool

    @cached_property
    def whole(self) -> torch.Tensor:
        """The length of all gradients together, which is the same for every law."""
        squares = [(g.double() ** 2).sum() for g in self.own.values()]
        return torch.sqrt(sum(squares, start=torch.zeros((), dtype=torch.float64)))


def check_law(law: Law, steps: Sequence[Taken], tolerance: float | None = None) -> LawFinding:
    """One law on some steps.

    Args:
        law: the law.
        steps: that were taken.
        tolerance: largest relative residual; by default a multiple of the last bit of the narrowest type, and of what
            the noise of the gradients does to the law: a norm of two numbers makes much of their last bits.

    The change of an approximate law along the right derivative is what its epsilon explains, and is subtracted.  Where
    that is not known nothing bounds what an epsilon explains, and the law is undecided.  A change that the noise of the
    gradients explains decides nothing either.
    """
    worst, hit, bad, explained, noisy = 0.0, None, "", False, False
    felt: dict[str, bool] = {}  # whether the law weighs the size of a gradient that it reads
    excused: list[int] = []  # steps on which the rules are wrong about this network, not its backward
    for number, step in enumerate(steps):
        true = step.true
        if number >= ENOUGH and hit is not None and bool(hit.all()):
            break
        last = EPS.get(step.width, 1e-2)
        slope = slope_of(law, step, step.own)
        change, scale, floor, heard = slope.change, slope.scale, slope.floor, slope.heard
        limit = tolerance if tolerance is not None else max(MARGIN * last, 1e-9)
        unbound = True  # nothing says how much the epsilon of an approximate law explains
        if true is not None and (not law.exact or bool((change.abs() > limit * (scale + floor)).any())):
            drift = slope_of(law, step, true).change
            if law.exact and bool((drift.abs() > limit * (scale + floor) + _slack(law, step, tolerance)).any()):
                excused.append(number)
                continue
            if not law.exact:
                unbound, change = False, change - drift
        elif not law.exact:
            limit = max(limit, UP_TO)
        rest = REST * float(scale.max()) if scale.numel() else 0.0
        moved = (scale > max(rest, 1e-300)) & (heard if law.kind == "balance" else True)
        ratio = torch.where(moved & heard, change.abs() / (scale + floor).clamp_min(1e-300), 0)
        hit = moved if hit is None else hit | moved
        for n, (share, weight) in slope.shares(law).items():
            sized = bool((moved & (share.abs() > WEIGHED * limit * (scale + floor))).any())
            if sized or bool((moved & (weight > rest)).any()):
                felt[n] = felt.get(n, False) or sized
        if not bool(torch.isfinite(ratio).all()):
            bad = NO_NUMBER
        elif float(ratio.max() if ratio.numel() else 0) > limit:
            beyond = torch.where(change.abs() > limit * (scale + floor) + _slack(law, step, tolerance), ratio, 0)
            while bool(beyond.any()) and tolerance is None and step.shake():
                beyond = torch.where(change.abs() > limit * (scale + floor) + _slack(law, step), beyond, 0)
            noisy = noisy or not bool(beyond.any())
            explained = explained or (not law.exact and unbound)
            if bool(beyond.any()):
                bad = bad or _scalars(beyond, limit)
        worst = max(worst, float(ratio.max()) if ratio.numel() else 0.0)
    names = tuple(dict.fromkeys(base(n) for n in law.parameters))
    total = hit.numel() if hit is not None else law.count
    tested = int(hit.sum()) if hit is not None else 0
    verdict = Verdict.VIOLATED if bad else Verdict.HOLDS if tested else Verdict.VACUOUS
    reason = bad or (MISTAKE if 0 in excused else ELSEWHERE if excused else "")
    if explained and bad != NO_NUMBER:
        verdict, reason = Verdict.UNDECIDED, f"moves by {worst:.1e} of its terms, but {EPSILON}"
    elif noisy and not bad:
        verdict, reason = Verdict.UNDECIDED, NOISY
    elif excused and not bad:
        verdict = Verdict.UNDECIDED
    sizes = tuple(n for n, sized in felt.items() if sized)
    return LawFinding(law.name, verdict, worst, tested, total, names, reason, sizes, tuple(felt))


def _scalars(ratio: torch.Tensor, limit: float) -> str:
    wrong = int((ratio > limit).sum())
    return f"{wrong} of {ratio.numel()} scalars move"


@dataclass(frozen=True, eq=False)
class Slope:
    """How the scalars of a law move along a gradient.

    Attributes:
        change: the derivative of every scalar.
        scale: the sum of its absolute contributions.
        floor: of that.
        heard: which scalars read a gradient that is more than the rounding of all gradients of the step.
        terms: what every term of the law adds to the derivative.
        weights: the same, of absolute contributions.
    """

    change: torch.Tensor
    scale: torch.Tensor
    floor: torch.Tensor
    heard: torch.Tensor
    terms: torch.Tensor
    weights: torch.Tensor

    def shares(self, law: Law) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """What each parameter adds to the derivative, and by how much its gradient is weighed.

        A parameter whose share is zero may have its gradient times any number: the law does not see it.
        """
        reads: dict[str, list[int]] = {}
        for i, term in enumerate(law.terms):
            for part in (term.part, *(() if term.partner is None else (term.partner,))):
                reads.setdefault(base(part.parameter), []).append(i)
        return {n: (self.terms[i].sum(0), self.weights[i].sum(0)) for n, i in reads.items()}


def slope_of(law: Law, step: Taken, gradient: Mapping[str, torch.Tensor]) -> Slope:
    """How the scalars of a law move along a gradient."""
    parameters, parts = step.parameters, [n for n in law.parameters if is_part(n)]
    if parts:
        parameters, gradient = with_parts(parameters, parts), with_parts(gradient, parts)
    theta = {n: parameters[n].detach().double() for n in law.parameters}
    along = {n: gradient[n].detach().double() for n in law.parameters}
    each = jvp(lambda p: pieces(law, p), (theta,), (along,))[1]
    change = each.sum(0)
    whole = step.whole
    noise = float(whole) * min(NOISE * EPS.get(step.width, 1e-2), UP_TO)
    loud = {n: not float(g.norm()) <= noise for n, g in along.items()}

    def terms(moves: Tensors) -> torch.Tensor:
        sizes = {n: t.abs() for n, t in theta.items()}
        return jvp(lambda p: pieces(law, p, magnitude=True), (sizes,), (moves,))[1]

    weights = terms({n: g.abs() for n, g in along.items()})
    if law.kind != "balance":  # the sum of a gradient that is zero is rounding of all the others
        heard = torch.full_like(change, any(loud.values()), dtype=torch.bool)
        return Slope(change, whole.expand_as(change).clone(), torch.zeros(()), heard, each, weights)
    scale = weights.sum(0)
    heard = scale > 0
    if not all(loud.values()):
        heard = terms({n: g.abs() * loud[n] for n, g in along.items()}).sum(0) > 0
    largest = max(float(t.abs().max()) for t in theta.values() if t.numel())
    return Slope(change, scale, whole * largest * 1e-3, heard, each, weights)


def _slack(law: Law, step: Taken, tolerance: float | None = None) -> torch.Tensor:
    """How far the noise of gradients may move every scalar, with a margin; by nothing where a tolerance is given."""
    if tolerance is not None:
        return torch.zeros(())
    parts = [n for n in law.parameters if is_part(n)]
    read = dict.fromkeys(law.parameters)
    held = {base(n): step.parameters[base(n)] for n in read}
    theta = {n: p.detach().double().abs().clamp_min(1e-300) for n, p in held.items()}  # |x| has a kink at 0
    moves = {n: _not_below_mean(step.noise.get(n, torch.zeros_like(t))) for n, t in theta.items()}
    theta, moves = with_parts(theta, parts), with_parts(moves, parts)
    known = {n: theta[n] for n in read}, {n: moves[n] for n in read}
    moved = jvp(lambda p: pieces(law, p, magnitude=True).sum(0), known[:1], known[1:])[1]
    return (WIDE if step.width == torch.float64 else MARGIN) * moved


def _not_below_mean(noise: torch.Tensor) -> torch.Tensor:
    """Noise that was drawn once, in which single entries may be small by chance."""
    noise = noise.detach().double()
    return noise.clamp_min(float(noise.square().mean().sqrt()) if noise.numel() else 0.0)


def of_samples(samples: Sequence[Sample], frozen: Mapping[str, torch.Tensor] | None = None) -> list[Taken]:
    """What `check_law` reads, from steps that were taken; parameters that do not train have gradient zero."""
    found = []
    for s in samples:
        every = {n: p.detach() for n, p in s.parameters.items()} | dict(frozen or {})
        own = {n: _or_zero(s.own.get(n), p) for n, p in every.items()}
        true = None if s.unknown else {n: _or_zero(s.true.get(n), p) for n, p in every.items()}
        found.append(Taken(every, own, true, s.width, s.shaken, s.shake))
    return found


def _or_zero(g: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like) if g is None else g


__all__ = ["Taken", "check_law", "of_samples", "slope_of"]
