"""What may be missing because the first wires of a network cannot carry everything."""

from __future__ import annotations

from collections.abc import Iterator

from .diagram import Diagram, Site
from .rules import (
    AddRule,
    ComputedRule,
    ConcatRule,
    DiscardRule,
    FlattenRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    OffsetRule,
    OutputRule,
    PassRule,
    RepeatRule,
    SumFeaturesRule,
    TokensRule,
    UnflattenRule,
)
from .rules.ends import FREEDOM
from .solution import Solution

# with their activation patterns fixed these are affine in what they read, beside parameters
AFFINE = (AddRule, ConcatRule, DiscardRule, FlattenRule, GainRule, LinearRule, OffsetRule, PassRule, RepeatRule)
MORE = (SumFeaturesRule, TokensRule, UnflattenRule)


def computed_limits(solution: Solution) -> Iterator[str]:
    """What is computed of the inputs alone and stands in relations that no rule follows."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, ComputedRule):
            yield from site.rule.notes
            needed, switched = _needed(solution.drawn, site)
            if site.rule.steps and switched and needed != "free":
                yield f"{site.name} takes a few values only: laws of the activation patterns on them are not listed"
            if FREEDOM.index(site.rule.freedom) < FREEDOM.index(needed):
                yield f"{site.name} is computed of fewer numbers than it has: laws of their relations are not listed"
            if not all(span.free for span in site.rule.spans):
                for reader in _answering(solution.drawn, site):
                    yield f"{reader.name} reads products of {site.name} that never change: laws of both are not listed"
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, LinearRule) or rule.lookup:
            continue
        if (rule.mixes or rule.groups > 1) and any(solution.directions.fixed(w) for w in site.inputs):
            yield f"{site.name} reads sums that never change at several places: laws of its taps are not listed"
        if rule.groups > 1 and any(solution.directions.absent(w) for w in site.inputs):
            yield f"{site.name} reads directions that are never there, group by group: such laws are not listed"


def _answering(diagram: Diagram, start: Site) -> Iterator[Site]:
    """The sites, no linear maps, whose trained parameters are the first to meet what a site gives."""
    reached = set(start.outputs)
    for site in diagram.sites:
        if reached.isdisjoint(site.inputs):
            continue
        used = [use for use in site.rule.uses(site) if not use.constant]
        if not used:
            reached |= set(site.outputs)
        elif not isinstance(site.rule, LinearRule) and any(not diagram.parameters[u.parameter].frozen for u in used):
            yield site


def _needed(diagram: Diagram, start: Site) -> tuple[str, bool]:
    """How free the values of a site must be for its spans to say everything about them, and whether gates read them.

    The gradients of a network that is affine in them are spanned by those at points that span their affine space; if
    it treats positions apart, position by position.
    """
    reached = set(start.outputs)
    needed, switched = "local", False
    for site in diagram.sites:
        if reached.isdisjoint(site.inputs):
            continue
        reached |= set(site.outputs)
        if not _is_affine(site, reached):
            return "free", switched
        switched |= isinstance(site.rule, HomogeneousRule)
        if not _is_local(site):
            needed = "affine"
    return needed, switched


def _is_affine(site: Site, reached: set[int]) -> bool:
    rule = site.rule
    if isinstance(rule, OutputRule):
        return rule.loss.span in ("all", "shift")
    if isinstance(rule, HomogeneousRule):
        return rule.power == 1
    return isinstance(rule, (*AFFINE, *MORE))


def _is_local(site: Site) -> bool:
    rule = site.rule
    if isinstance(rule, LinearRule | HomogeneousRule):
        return not rule.mixes
    if isinstance(rule, PassRule):
        return rule.weights == "same" and not rule.mixes
    return isinstance(rule, AddRule | ConcatRule | DiscardRule | GainRule | OutputRule | OffsetRule)
