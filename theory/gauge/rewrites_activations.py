"""Rewrites of activations that follow one another.

`relu(elu(x))` is `relu(x)`, `relu(selu(x))` a multiple of it, and `leaky(x)` of what is never negative is `x`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite
from .rewrites_parts import replaced
from .rules import (
    AddRule,
    ConcatRule,
    FixedGainRule,
    FlattenRule,
    HomogeneousRule,
    NormRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    RepeatRule,
    SumFeaturesRule,
)


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


def never_negative(diagram: Diagram, sure: bool = False) -> set[int]:
    """Wires that are never negative, as far as the blocks that write them tell.

    Args:
        diagram: the network.
        sure: leave out what a rule does not show: fixed combinations of positions may have signs, as functions of a
            degree may.
    """
    positive: set[int] = set()
    for site in diagram.sites:
        rule = site.rule
        known = bool(site.inputs) and positive.issuperset(site.inputs)
        keeps = isinstance(rule, (AddRule, ConcatRule, FlattenRule, ProductRule, RepeatRule, SumFeaturesRule))
        if isinstance(rule, PassRule):
            keeps = rule.factor > 0 and not (sure and rule.mixes and rule.weights != "mean")
        elif isinstance(rule, HomogeneousRule):
            keeps = rule.negative is not None or not sure
        elif isinstance(rule, PointwiseRule):
            keeps = rule.straight > 0 or (rule.keeps_zero and not sure)  # as tanh does, and sin does not
        elif isinstance(rule, NormRule):
            keeps = not rule.centre  # what it divides by is positive
        elif isinstance(rule, FixedGainRule):
            keeps = all(a >= 0 for _, a in rule.runs)
        if (known and keeps) or rule.positive:
            positive.update(site.outputs)
    return positive


def drop_idle_activations(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws no activation of what is never negative, if negative numbers are all that it changes."""
    positive, sites, notes = never_negative(diagram, sure=True), [], []
    for site in diagram.sites:
        factor = _above_zero(site) if positive.issuperset(site.inputs) else Fraction(0)
        if factor:
            site = replace(site, rule=PassRule(factor=factor))
            notes.append(Rewrite(site.name, "it changes negative numbers alone, and reads none"))
        sites.append(site)
    return (replace(diagram, sites=tuple(sites)), notes) if notes else (diagram, [])


def _above_zero(site: Site) -> Fraction:
    """By what an activation multiplies positive numbers, 0 for anything else."""
    rule = site.rule
    if isinstance(rule, PointwiseRule):
        return rule.straight
    plain = isinstance(rule, HomogeneousRule) and rule.negative is not None and rule.power == 1 and rule.slope is None
    return Fraction(int(plain))


def _joined(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Each ReLU behind such an activation, with it."""
    for site in diagram.sites:
        rule = site.rule
        relu = isinstance(rule, HomogeneousRule) and rule.negative == 0 and rule.power == 1
        before = diagram.writer.get(site.inputs[0]) if relu and len(site.inputs) == 1 else None
        if before is not None and isinstance(before.rule, PointwiseRule) and before.rule.straight:
            yield site, before
