"""Rewrites of activations that follow one another: `relu(elu(x))` is `relu(x)`, `relu(selu(x))` a multiple of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite
from .rewrites_parts import replaced
from .rules import HomogeneousRule, PassRule, PointwiseRule


def join_activations(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a ReLU without the activation before it that changes negative numbers alone, and keeps them negative."""
    notes = []
    while found := next(_joined(diagram), None):
        site, before = found
        notes.append(Rewrite(site.name, f"{before.name} changes negative numbers alone, of which nothing is left"))
        alone = len(diagram.readers[before.outputs[0]]) == 1
        after, wires = [replace(site, inputs=before.inputs)], list(diagram.wires)
        assert isinstance(before.rule, PointwiseRule)
        if before.rule.straight != 1:
            wires.append(replace(wires[site.outputs[0]], name=f"{wires[site.outputs[0]].name} alone"))
            after = [replace(after[0], outputs=(len(wires) - 1,))]
            factor = PassRule(factor=before.rule.straight)
            after.append(Site(f"{site.name} times", factor, after[0].outputs, site.outputs))
        drawn = {site.name: after} | ({before.name: []} if alone else {})
        diagram = replaced(diagram, wires, diagram.parameters, drawn)
    return diagram, notes


def _joined(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Each ReLU behind such an activation, with it."""
    for site in diagram.sites:
        rule = site.rule
        relu = isinstance(rule, HomogeneousRule) and rule.negative == 0 and rule.power == 1
        before = diagram.writer.get(site.inputs[0]) if relu and len(site.inputs) == 1 else None
        if before is not None and isinstance(before.rule, PointwiseRule) and before.rule.straight:
            yield site, before
