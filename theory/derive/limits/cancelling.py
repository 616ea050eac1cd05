"""Sums whose terms cancel, and products whose factors do: what only they read does not move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.linalg import Number
from ...gauge.rewrites import is_factor
from ...gauge.roots import one_place
from ...gauge.rules import AddRule, FixedGainRule, GainRule, HomogeneousRule, PassRule, ProductRule, ScalarGainRule

MOST = 32  # terms: longer sums are residual streams

Powers = dict[int, Number]  # of every wire that a wire is a product of, feature by feature and but for trained factors


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
    yield from _divided_by_itself(diagram)


def _divided_by_itself(diagram: Diagram) -> Iterator[str]:
    """Products in which the powers of a factor add up to 0: `h / |h|` is a sign, which does not move."""
    known: dict[int, Powers] = {}
    for site in diagram.sites:
        if len(site.outputs) == 1:
            powers = _powers(diagram, site, known)
            if powers is not None and not all(powers.values()):
                what = "divides by what it multiplies"
                yield f"{site.name} {what}: parameters that only the quotient reads never change, and are not listed"
            known[site.outputs[0]] = {w: p for w, p in powers.items() if p} if powers else {site.outputs[0]: 1}


def _powers(diagram: Diagram, site: Site, known: Mapping[int, Powers]) -> Powers | None:
    """The powers of what a site multiplies, with those that are 0; None where it does something else."""
    rule = site.rule
    before = [known.get(w, {w: 1}) for w in site.inputs]
    if isinstance(rule, HomogeneousRule) and not rule.mixes:
        return {w: rule.power * p for w, p in before[0].items()}
    if isinstance(rule, ProductRule) and one_place(diagram, site):
        out: Powers = {}
        for powers in before:
            for w, p in powers.items():
                out[w] = out.get(w, 0) + p
        return out
    factor = isinstance(rule, PassRule) and is_factor(rule)
    gain = isinstance(rule, GainRule) and rule.gain is not None and rule.bias is None and not rule.offset
    return dict(before[0]) if factor or gain or isinstance(rule, (FixedGainRule, ScalarGainRule)) else None


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
