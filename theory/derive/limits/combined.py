"""Several combinations of the same maps: `a + b` beside `a - b`, the larger of two features beside the smaller.

Two sums of the same maps are features of their own: each may have a law that neither map has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction

from ...gauge.contract import Site
from ...gauge.rules import AddRule, FixedGainRule, LargerRule, LinearRule, PassRule
from ...gauge.solution import Solution

MOST = 8  # maps of one sum that are told apart: a residual stream, which adds up more, has one sum of each pair

Term = tuple[str, int]  # a weight, and what it maps
Sum = dict[Term, Fraction]


def combined_limits(solution: Solution) -> Iterator[str]:
    """Reasons why laws of combinations of maps may be missing, one sentence each."""
    writer = solution.drawn.writer
    carries = {w for row in solution.gauges for (w, _), _ in row}
    ratios: dict[tuple[Term, Term], tuple[Fraction, str]] = {}
    chosen: dict[frozenset[int], str] = {}
    for site in solution.drawn.sites:
        if isinstance(site.rule, LargerRule):
            other = chosen.setdefault(frozenset(site.inputs), site.name)
            if other != site.name and len(set(site.inputs)) > 1:
                yield f"{site.name} and {other} choose between the same features: laws that mix these are not listed"
        if not isinstance(site.rule, AddRule) or site.outputs[0] not in carries:
            continue
        for (one, a), (two, b) in itertools.combinations(sorted((_terms(writer, site) or {}).items()), 2):
            ratio, other = ratios.setdefault((one, two), (a / b, site.name))
            if ratio != a / b:
                what = f"{site.name} and {other} add the same terms with different factors"
                yield f"{what}: laws that join the two sums are not listed"
                break


def _terms(writer: Mapping[int, Site], site: Site) -> Sum | None:
    """The maps whose sum a site is, with the factor of each; None if there are too many, or one has several factors."""
    found: Sum = {}
    waiting = [(w, Fraction(1)) for w in site.inputs]
    while waiting:
        w, factor = waiting.pop()
        rule = writer[w].rule
        if isinstance(rule, LinearRule):
            term = rule.weight, writer[w].inputs[0]
            found[term] = found.get(term, Fraction(0)) + factor
        elif isinstance(rule, AddRule):
            waiting += [(x, factor) for x in writer[w].inputs]
        elif isinstance(rule, PassRule):
            waiting.append((writer[w].inputs[0], factor * rule.factor))
        elif isinstance(rule, FixedGainRule) and len(rule.runs) == 1:
            waiting.append((writer[w].inputs[0], factor * rule.runs[0][1]))
        elif isinstance(rule, FixedGainRule):
            return None
        if len(found) + len(waiting) > MOST:
            return None
    return {term: f for term, f in found.items() if f}


__all__ = ["combined_limits"]
