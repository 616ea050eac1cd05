"""Sums whose terms cancel: what only they read does not move."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ...gauge.diagram import Diagram
from ...gauge.linalg import Number
from ...gauge.rewrites import is_factor
from ...gauge.rules import AddRule, PassRule

MOST = 32  # terms: longer sums are residual streams


def cancelling_limits(diagram: Diagram) -> Iterator[str]:
    """Reasons of this kind why laws may be missing, one sentence each."""
    for site in diagram.sites:
        if isinstance(site.rule, AddRule):
            factors: dict[int, Number] = {}
            for w, factor in _terms(diagram, site.outputs[0], Fraction(1)):
                factors[w] = factors.get(w, 0) + factor
            if not all(factors.values()):
                what = "adds terms that cancel each other"
                yield f"{site.name} {what}: parameters that only these terms read never change, and are not listed"


def _terms(diagram: Diagram, wire: int, factor: Fraction) -> list[tuple[int, Fraction]]:
    """The wires that a sum adds up, through the sums in it, with their fixed factors."""
    todo = [(wire, factor)]
    out: list[tuple[int, Fraction]] = []
    while todo and len(todo) + len(out) <= MOST:
        w, a = todo.pop()
        before = diagram.writer.get(w)
        if before is not None and isinstance(before.rule, AddRule):
            todo += [(x, a) for x in before.inputs]
        elif before is not None and isinstance(before.rule, PassRule) and is_factor(before.rule):
            todo.append((before.inputs[0], a * before.rule.factor))
        else:
            out.append((w, a))
    return [] if todo else out
