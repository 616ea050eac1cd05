"""Rewrites of fixed numbers that are added: behind a trained bias `b` they are part of it, `b + c`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite, is_factor
from .rules import GainRule, LinearRule, OffsetRule, PassRule


def join_offsets(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `(W x + b) + c` with one number c, read by nothing else on the way, as `W x + (b + c)`.

    The fixed number alone lets no matrix through; what is trained beside it can answer (the `1 + scale` of a
    modulation by features: Perez et al. 2018, Peebles and Xie 2023).
    """
    uses = Counter(use.parameter for site in diagram.sites for use in site.rule.uses(site))
    sites, notes = list(diagram.sites), []
    place = {w: i for i, s in enumerate(sites) for w in s.outputs}
    for i, site in enumerate(sites):
        rule = site.rule
        if not isinstance(rule, OffsetRule) or not rule.number:
            continue
        found = _biased(diagram, sites, place, site.inputs[0])
        if found is None:
            continue
        at, factor = found
        writer = sites[at].rule
        assert isinstance(writer, LinearRule | GainRule)
        if writer.bias is None or uses[writer.bias] > 1 or diagram.parameters[writer.bias].frozen:
            continue
        joined = writer.bias_offset + rule.number / (factor * rule.factor)
        sites[at] = replace(sites[at], rule=replace(writer, bias_offset=joined))
        sites[i] = replace(site, rule=PassRule(factor=Fraction(rule.factor)))
        notes.append(Rewrite(site.name, f"adds a fixed number to the bias of {sites[at].name}"))
    return diagram.with_sites(sites), notes


def _biased(diagram: Diagram, sites: list[Site], place: dict[int, int], wire: int) -> tuple[int, Fraction] | None:
    """The map with a bias that writes a wire, but for fixed factors, where nothing else reads it on the way."""
    factor = Fraction(1)
    while wire in place and len(diagram.readers[wire]) == 1:
        site = sites[place[wire]]
        if isinstance(site.rule, LinearRule | GainRule):
            return place[wire], factor
        if not isinstance(site.rule, PassRule) or not is_factor(site.rule) or not site.rule.factor:
            return None
        factor *= site.rule.factor
        wire = site.inputs[0]
    return None
