"""The way to the least norm of an orbit: one symmetry after another, with steps made longer where that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lawful.theory.laws.evaluate import evaluate
from lawful.theory.laws.law import Law
from lawful.theory.oracle.modules import as_double
from lawful.theory.parts import read, with_parts

from .element import Element
from .moves import moved as transformed
from .running import Tensors
from .symmetry import Symmetry

SWEEPS = 300
HALVINGS = 60  # of one step that goes up
STILL = 1e-15  # relative change of the norm by a sweep, below which it is rounding
CLOSE = 1e-11  # largest step of a sweep, from which on nothing moves
IDLE = 12  # sweeps after which a norm that only rounds ends it: steps that only compare norms get no closer
CLEARED = 3  # sweeps in which what nothing reads is looked for
NULL = 1e-12  # singular value of what reads nothing, relative to the largest: rounding
PACE = 5  # sweeps between two guesses of the best relaxation
FARTHEST = 1.9  # relaxation


@dataclass(frozen=True)
class Balanced:
    """What balancing did.

    Attributes:
        tensors: the parameters that moved, in float64.
        norm: sum of squares of all that symmetries move, before and after.
        sweeps: how often every symmetry was asked.
        left: symmetries whose law is not zero: their orbit has no point of least norm (a rank is too low).
    """

    tensors: Tensors
    norm: tuple[float, float]
    sweeps: int
    left: tuple[str, ...]


def least_norm(tensors: Mapping[str, torch.Tensor], chosen: Sequence[Symmetry]) -> Balanced:
    """Moves along every symmetry to the least norm on its orbit, again and again, until nothing moves.

    The norm is convex along every one of them, so that this ends at the least norm of the whole orbit.  Symmetries that
    move the same parameters slow one another down; steps are made longer by the factor that is best for the pace that
    is seen (successive over-relaxation, Young 1954), as long as the norm falls.

    Args:
        tensors: whole parameters by name.
        chosen: symmetries with a law.
    """
    names = sorted({n for s in chosen for n in s.parameters})
    now = {n: as_double(tensors[n]) for n in names}
    start = before = _norm(now)
    sweeps, idle, relaxation, falls = 0, 0, 1.0, list[float]()
    while sweeps < SWEEPS and idle < IDLE:
        sweeps += 1
        held, moved = dict(now), 0.0
        for one in chosen:
            if sweeps <= CLEARED and one.group == "general linear":
                now |= _cleared(one, now)
            step = _step(one, now)
            moved = max(moved, _length(step))
            now |= one.changed(now, _longer(step, relaxation))
        after = _norm(now)
        if after > before * (1 + STILL) and relaxation > 1:
            now, relaxation, falls = held, 1.0, []
            continue
        falls.append(before - after)
        idle = idle + 1 if falls[-1] <= STILL * before else 0
        before = after
        if moved < CLOSE:
            break
        if len(falls) >= PACE and not idle:
            relaxation, falls = _relaxation(relaxation, falls), []
    left = tuple(s.name for s in chosen if _far(s, now))
    return Balanced(now, (start, _norm(now)), sweeps, left)


def _relaxation(now: float, falls: Sequence[float]) -> float:
    """The best relaxation, by how fast the norm falls under the present one."""
    if falls[-2] <= 0:
        return now
    rate = min(max(falls[-1] / falls[-2], 0.0), 1.0) ** 0.5  # of the steps: the norm goes with their squares
    if rate <= now - 1:
        return now  # more would swing
    coupling = min((rate + now - 1) ** 2 / (rate * now**2), 1.0)
    return min(2 / (1 + (1 - coupling) ** 0.5), FARTHEST)


def _length(step: Element) -> float:
    """How far an element is from the identity."""
    if step.kind == "matrix":
        return float((step.value - torch.eye(step.value.shape[-1], dtype=step.value.dtype)).abs().max())
    return float((step.value.log() if step.kind == "scale" else step.value).abs().max()) if step.value.numel() else 0.0


def _longer(step: Element, by: float) -> Element:
    """A power of an element; matrices with readers of other degrees stay."""
    if by == 1 or step.powers:
        return step
    if step.kind == "scale":
        return Element("scale", step.value**by)
    return Element("shift", step.value * by) if step.kind == "shift" else Element("matrix", _root(step.value, by))


def _norm(tensors: Tensors) -> float:
    return sum(float(t.square().sum()) for t in tensors.values())


def _far(symmetry: Symmetry, tensors: Tensors) -> bool:
    assert isinstance(symmetry.law, Law)
    value, size = (symmetry.law.value(tensors, magnitude=m) for m in (False, True))
    return bool(value.numel()) and float(value.abs().max()) > 1e-5 * max(float(size.abs().max()), 1e-30)


def _step(symmetry: Symmetry, tensors: Tensors) -> Element:
    """The element that leads to the least norm along one symmetry, or towards it."""
    law = symmetry.law
    assert isinstance(law, Law)
    known = with_parts(tensors, law.parameters)
    if symmetry.kind == "shift":
        value = evaluate(law, known)
        weight = sum(float(t.coefficient) ** 2 * _summed(t.part, known) for t in law.terms)
        return Element("shift", -value.reshape(symmetry.shape) / weight)
    plain = all(abs(m.power) == 1 and not m.off_diagonal for m in symmetry.moves)
    if symmetry.kind == "scale" and plain and "traceless" not in symmetry.kinds:
        up, down = (_sums(symmetry, known, sign) for sign in (1, -1))
        both = (up > 0) & (down > 0)
        return Element("scale", torch.where(both, (down / up.clamp_min(1e-300)) ** 0.25, torch.ones_like(up)))
    if symmetry.group == "general linear":
        step = _mean(_grams(symmetry, known, 1), _grams(symmetry, known, -1))
        if step is not None:
            return step
    return _descent(symmetry, law, known)


def _summed(part: Any, tensors: Tensors) -> float:
    """How many entries of a parameter every scalar of a linear law adds up."""
    return float(part.read(read(part.parameter, tensors)).shape[-2])


def _sums(symmetry: Symmetry, tensors: Tensors, sign: int) -> torch.Tensor:
    total = torch.zeros(symmetry.shape, dtype=torch.float64)
    for m in symmetry.moves:
        if m.power * sign > 0:
            total = total + m.part.read(read(m.part.parameter, tensors)).square().sum((-1, -2)).cpu()
    return total


def _grams(symmetry: Symmetry, tensors: Tensors, sign: int) -> torch.Tensor:
    at = symmetry.kinds.index("matrix")
    total = torch.zeros(symmetry.shape, dtype=torch.float64)
    for m in symmetry.moves:
        if m.power * sign > 0:
            x = m.part.read(read(m.part.parameter, tensors)).flatten(-2).movedim(at, -2).cpu()
            total = total + x @ x.transpose(-1, -2)
    return total


def _root(a: torch.Tensor, power: float) -> torch.Tensor:
    """A power of positive definite matrices."""
    values, vectors = torch.linalg.eigh(a)
    return (vectors * (values.clamp_min(1e-300) ** power).unsqueeze(-2)) @ vectors.transpose(-1, -2)


def _cleared(symmetry: Symmetry, tensors: Tensors) -> Tensors:
    """What is written along directions that nothing reads becomes zero, and what is read where nothing is written.

    The orbit has no point of least norm there; this is the limit of elements that shrink these directions, and it
    leaves the function alone as they do.
    """
    at = symmetry.kinds.index("matrix")
    out: Tensors = {}
    if any(abs(m.power) != 1 or m.partner is not None or m.part.offset for m in symmetry.moves):
        return out
    for sign in (1, -1):
        mine = [m for m in symmetry.moves if m.power * sign > 0]
        others = tuple(replace(m, power=abs(m.power)) for m in symmetry.moves if m.power * sign < 0)
        now = tensors | out
        if not mine or not others or _full(_grams(symmetry, now, sign)):
            continue
        parts = (m.part.read(read(m.part.parameter, now)).flatten(-2).movedim(at, -2).cpu() for m in mine)
        vectors, sizes, _ = torch.linalg.svd(torch.cat(list(parts), -1))
        seen = torch.zeros(symmetry.shape[:-1], dtype=torch.bool)
        seen[..., : sizes.shape[-1]] = sizes > NULL * sizes[..., :1]
        projector = (vectors * seen.unsqueeze(-2)) @ vectors.transpose(-1, -2)
        if not bool(seen.all()):
            out |= transformed(others, symmetry.kinds, Element("matrix", projector), now)
    return out


def _full(gram: torch.Tensor) -> bool:
    """Whether no direction is nearly lost."""
    values = torch.linalg.eigvalsh(gram)
    return not bool((values[..., 0] <= 1e-10 * values[..., -1]).any())


def _mean(up: torch.Tensor, down: torch.Tensor) -> Element | None:
    """`g` with `g A g = g^-1 B g^-1`, symmetric: the fourth root of ratios; None where a rank is too low.

    Directions that neither has stay.
    """
    sizes = [g.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None].clamp_min(1e-300) for g in (up, down)]
    values, vectors = torch.linalg.eigh(up / sizes[0] + down / sizes[1])
    idle = (values <= 1e-14 * values[..., -1:]).to(up)
    fill = torch.maximum(*sizes) * ((vectors * idle.unsqueeze(-2)) @ vectors.transpose(-1, -2))
    up, down = up + fill, down + fill
    if not (_full(up) and _full(down)):
        return None
    half, inverse = _root(up, 0.5), _root(up, -0.5)
    squared = inverse @ _root(half @ down @ half, 0.5) @ inverse  # P A P = B
    return Element("matrix", _root((squared + squared.transpose(-1, -2)) / 2, 0.5))


def _descent(symmetry: Symmetry, law: Law, tensors: Tensors) -> Element:
    """A step against the law's value that goes down: half as long until it does, twice as long while that is better."""
    value = evaluate(law, tensors).cpu()
    now = {n: tensors[n] for n in symmetry.parameters}
    degree = max(float(abs(m.power)) for m in symmetry.moves)
    length = 1 / (4 * degree**2 * max(_norm(now), 1e-300))

    def tried(length: float) -> tuple[float, Element]:
        element = symmetry.exp(-length * value)
        return _norm(symmetry.changed(now, element)), element

    start, best = _norm(now), tried(length)
    for _ in range(HALVINGS):
        if best[0] <= start:
            break
        length /= 2
        best = tried(length)
    while (further := tried(2 * length))[0] < best[0]:
        best, length = further, 2 * length
    return best[1] if best[0] <= start else symmetry.exp(torch.zeros_like(value))
