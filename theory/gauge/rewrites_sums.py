"""Rewrite of sums that a loss reads up to a common shift: each term may be shifted by itself.

Under softmax cross-entropy `y + c 1` is `y`.  A term of `y = x + f(x)` may then move by `11^T x` where `f` follows.
"""

from __future__ import annotations

from dataclasses import replace

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite
from .rules import AddRule, GainRule, OutputRule, ShiftedTermsRule


def shift_terms_alone(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws sums that only such losses read, behind other sums and biases, as sums of terms that move by themselves."""
    blind: set[int] = set()
    found: set[str] = set()
    for site in reversed(diagram.sites):
        for y in site.outputs:
            if diagram.readers[y] and all(_shifts(s, blind) for s, _ in diagram.readers[y]):
                blind.add(y)
                found |= {site.name} if isinstance(site.rule, AddRule) else set()
    alone = {s.name: replace(s, rule=ShiftedTermsRule()) for s in diagram.sites if s.name in found}
    notes = [Rewrite(name, "its loss does not see a common shift of what it adds up") for name in alone]
    return diagram.with_sites([alone.get(s.name, s) for s in diagram.sites]), notes


def _shifts(site: Site, blind: set[int]) -> bool:
    """Whether a common shift of all features of what a block reads changes nothing that a loss sees."""
    rule = site.rule
    if isinstance(rule, OutputRule):
        return rule.loss.span == "shift"
    bias = isinstance(rule, GainRule) and rule.gain is None
    return (bias or isinstance(rule, AddRule)) and blind.issuperset(site.outputs)


__all__ = ["shift_terms_alone"]
