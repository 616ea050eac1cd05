"""Rewrites of moves of positions that nothing sees: what a mean over all of them reads has no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeGuard

from .contract import Rule, Site
from .diagram import Diagram
from .rewrites import Rewrite, is_factor
from .rules import AddRule, FixedGainRule, GainRule, HomogeneousRule, LinearRule, PassRule, PointwiseRule


def drop_unseen_moves(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a move of positions as a copy, where maps of each position and sums carry it into means over all."""
    notes: list[Rewrite] = []
    for i, site in enumerate(diagram.sites):
        moved = _moved(diagram, site)
        if not moved:
            continue
        wires, tokens = list(diagram.wires), diagram.wires[site.inputs[0]].tokens
        for w in moved:
            wires[w] = replace(wires[w], tokens=tokens)
        sites = [*diagram.sites[:i], replace(site, rule=PassRule()), *diagram.sites[i + 1 :]]
        diagram = replace(diagram, sites=tuple(sites), wires=tuple(wires))
        notes.append(Rewrite(site.name, "moves positions that a mean over all of them alone reads"))
    return diagram, notes


def _moved(diagram: Diagram, site: Site) -> set[int]:
    """The wires that have the order of positions that a move gives, up to sums, if means over all alone read them."""
    rule = site.rule
    if not _moves(rule) or not rule.keeps_constants or rule.factor != 1:
        return set()
    before, after = (diagram.wires[w] for w in (site.inputs[0], site.outputs[0]))
    if (before.positions, before.size) != (after.positions, after.size):
        return set()
    waiting, known = [(site.outputs[0], False)], set()
    while waiting:
        known.add(found := waiting.pop())
        wire, summed = found
        for reader, _ in diagram.readers[wire]:
            if _is_mean(diagram, reader):
                continue
            joins = type(reader.rule) is AddRule and _positions(diagram, [wire]) == _positions(diagram, reader.outputs)
            joins = joins and (summed or diagram.wires[reader.outputs[0]].tokens == before.tokens)
            if not joins and not _by_position(diagram, reader, summed):
                return set()
            waiting += [(w, summed or joins) for w in reader.outputs if (w, summed or joins) not in known]
        if not diagram.readers[wire]:
            return set()
    return {w for w, summed in known if not summed}


def _moves(rule: Rule) -> TypeGuard[PassRule]:
    """Whether every position goes to one place."""
    if not isinstance(rule, PassRule) or type(rule) is not PassRule or rule.weights != "uniform":
        return False
    return not rule.mixes and not rule.noisy and not rule.repeats


def _is_mean(diagram: Diagram, site: Site) -> bool:
    return isinstance(site.rule, PassRule) and site.rule.weights == "mean" and _positions(diagram, site.outputs) == {1}


def _positions(diagram: Diagram, wires: Sequence[int]) -> set[int]:
    return {diagram.wires[w].positions for w in wires}


def _by_position(diagram: Diagram, site: Site, linear: bool) -> bool:
    """Whether a site does the same with every position alone, and does it linearly if it must."""
    rule = site.rule
    if len(_positions(diagram, site.wires)) > 1:
        return False
    if type(rule) is LinearRule:
        return not rule.mixes and not rule.rows and not rule.lookup and all(n == 1 for n in rule.shape_[2:])
    if is_factor(rule) or type(rule) in (FixedGainRule, GainRule) or _moves(rule):
        return True
    alone = type(rule) is PointwiseRule or (type(rule) is HomogeneousRule and not rule.mixes and not rule.noisy)
    return alone and not linear
