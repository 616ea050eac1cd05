"""What may be missing because the first wires of a network cannot carry everything."""

from __future__ import annotations

from collections.abc import Iterator

from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.rules import ComputedRule, HomogeneousRule, LinearRule
from ...gauge.solution import Solution
from .relations import related


def computed_limits(solution: Solution) -> Iterator[str]:
    """What is computed of the inputs alone and stands in relations that no rule follows."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, ComputedRule):
            yield from site.rule.notes
            if site.rule.steps and _switched(solution.drawn, site):
                what = "takes a few values only, so that not every activation pattern occurs"
                yield f"{site.name} {what}: laws that hold because of that are not listed"
            if not all(span.free for span in site.rule.spans):
                for reader in _answering(solution.drawn, site):
                    what = f"reads {site.name}, of which some combinations never change"
                    yield f"{reader.name} {what}: laws that hold because of that are not listed"
    yield from related(solution.drawn)
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, LinearRule) or rule.lookup:
            continue
        if (rule.mixes or rule.groups > 1) and any(solution.directions.fixed(w) for w in site.inputs):
            what = "reads, at several positions, sums of features that never change"
            yield f"{site.name} {what}: laws of single entries of its kernel are not listed"
        if rule.groups > 1 and any(solution.directions.absent(w) for w in site.inputs):
            what = "reads, group by group, features of which some sum is always zero"
            yield f"{site.name} {what}: laws that hold because of that are not listed"


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


def _switched(diagram: Diagram, start: Site) -> bool:
    """Whether the values of a site reach an activation with patterns."""
    reached, found = set(start.outputs), False
    for site in diagram.sites:
        if not reached.isdisjoint(site.inputs):
            reached |= set(site.outputs)
            found |= isinstance(site.rule, HomogeneousRule)
    return found
