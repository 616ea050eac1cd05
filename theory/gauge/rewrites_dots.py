"""Rewrite of inner products: a product feature by feature whose features are all added up lets any matrix through.

Two towers, scores of edges, contrastive heads: `u^T v` does not change where `u` moves by `e^S` and `v` by `e^-S`.
"""

from __future__ import annotations

from dataclasses import replace

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite
from .rules import DotRule, PassRule, ProductRule, SumFeaturesRule


def inner_products(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws the sum of all features of a product as an inner product."""
    gone: set[str] = set()
    made: dict[str, Site] = {}
    notes = []
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, SumFeaturesRule) or rule.copies == 1:
            continue
        x = site.inputs[0]
        between: list[str] = []
        while (before := diagram.writer[x]).rule == PassRule() and len(diagram.readers[x]) == 1:
            between.append(before.name)
            x = before.inputs[0]
        if not isinstance(before.rule, ProductRule) or len(before.inputs) != 2 or len(diagram.readers[x]) != 1:
            continue
        wires = [diagram.wires[w] for w in (*before.inputs, site.outputs[0])]
        if (
            wires[0].size != wires[1].size
            or wires[0].size != rule.copies
            or len({w.positions for w in wires} - {1}) > 1
        ):
            continue
        gone |= {before.name, *between}
        made[site.name] = replace(site, rule=DotRule(), inputs=before.inputs, function=None)
        notes.append(Rewrite(site.name, f"with {before.name} it is an inner product"))
    return diagram.with_sites([made.get(s.name, s) for s in diagram.sites if s.name not in gone]), notes


__all__ = ["inner_products"]
