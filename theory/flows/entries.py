"""Laws that tie single entries: entries that never move, and what sign descent leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from ..laws.law import Law
from ..laws.statement import Term
from .laws import FlowLaw, Tensors
from .quadratic import as_flow_law

SIGNS = "equal gradients have equal signs; Marcotte, Gribonval, Peyré 2025 (two scalars)"


def reduced(laws: Sequence[Law]) -> list[Law]:
    """Laws of the gradient flow in the form that other flows need.

    A law `a^2` of single entries becomes `a`: `a g_a = 0` says that the gradient of `a` vanishes.  Such is a gain, or a
    row with one entry, before a norm that does not see its size, and that is more than the square says once parameters
    have a velocity, or move by signs.  Likewise `a^2 + b^2` where `b` never moves.  Any other law stays.
    """
    still = {t.part.parameter for law in laws if law.kind == "frozen" for t in law.terms if law.count == _entries(t)}
    return [_reduced(law, still) for law in laws]


def _reduced(law: Law, still: set[str]) -> Law:
    if law.kind != "balance" or not _diagonal(law):
        return law
    moving = [t for t in law.terms if t.part.parameter not in still or t.partner is not None]
    if len(moving) != 1 or not _single(moving[0]):
        return law
    (first,) = moving
    sizes = _sizes(first)
    return replace(
        law,
        kind="frozen",
        count=math.prod(sizes),
        independent=math.prod(sizes),
        shape=sizes,
        axis_kinds=("free",) * len(sizes),
        terms=(Term(Fraction(1), replace(first.part, offset=Fraction(0))),),
    )


def sign_laws(laws: Sequence[Law]) -> tuple[list[FlowLaw], list[str]]:
    """The laws under sign descent, and what was not derived.

    A gradient that is zero has no sign, so parameters that never move stay.  Equal (opposite) gradients of two entries
    have equal (opposite) signs, so their difference (sum) stays.  Where `a^2 - c b^2` is a law of the gradient flow,
    `a g_a = c b g_b`, and the signs of both sides say that `|a| - |b|` stays, `|a| + |b|` for `c < 0`.
    """
    out = []
    for law in laws:
        two = len(law.terms) == 2 and all(map(_single, law.terms))
        free = set(law.axis_kinds) <= {"free"}
        if law.kind == "frozen" or (law.kind == "shift" and two and free and _even(law)):
            out.append(as_flow_law(law, SIGNS))
        elif law.kind == "balance" and two and _diagonal(law):
            out.append(_absolute(law))
    return out, ["entries whose gradients are proportional for another reason were not looked for"]


def _absolute(law: Law) -> FlowLaw:
    first, second = law.terms
    sign = 1 if first.coefficient * second.coefficient > 0 else -1

    def measure(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
        a, b = (t.part.read(theta[t.part.parameter]).abs().flatten(-2).sum(-1) for t in (first, second))
        return a + sign * b

    count = math.prod(_sizes(first))
    mark = "+" if sign > 0 else "-"
    formula = f"|{first.part.parameter}| {mark} |{second.part.parameter}|, entry by entry"
    return replace(as_flow_law(law, SIGNS), count=count, independent=count, formula=formula, measure=measure)


def _even(law: Law) -> bool:
    first, second = law.terms
    return abs(first.coefficient) == abs(second.coefficient)


def _diagonal(law: Law) -> bool:
    """Whether every entry that a law reads has its square among the scalars."""
    return set(law.axis_kinds) <= {"free", "matrix"}


def _single(term: Term) -> bool:
    """Whether every scalar of a law, or of its diagonal, reads one entry of a parameter."""
    part = term.part
    if term.partner is not None or term.off_diagonal:
        return False
    summed = math.prod(n for n, a in zip(part.dims, part.axes, strict=True) if a < 0)
    return summed == 1 and _entries(term) == math.prod(part.sizes)


def _entries(term: Term) -> int:
    """Entries of the parameter that a term reads."""
    return math.prod(term.part.view.shape)


def _sizes(term: Term) -> tuple[int, ...]:
    """Lengths of the law's axes."""
    kept = sorted((a, n) for n, a in zip(term.part.dims, term.part.axes, strict=True) if a >= 0)
    return tuple(n for _, n in kept)
