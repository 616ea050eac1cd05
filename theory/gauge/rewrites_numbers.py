"""Vectors that are matrices elsewhere, drawn as maps of the number 1: all uses of a parameter are then of one kind.

A bias that is a column of weights elsewhere is what that column makes of 1, and a gain is a product with it.  What is
added and is always one number is an offset again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from .contract import Rule, Site
from .diagram import Diagram, Wire
from .rewrites import Rewrite, is_factor
from .rules import AddRule, ComputedRule, GainRule, LinearRule, OffsetRule, PassRule, ProductRule, TableRule
from .spans import Span

ONE = ComputedRule((Span(still=(0,), fixed=((1,), Fraction(1))),))  # of one feature, which is always 1
Stage = tuple[str, Rule]  # a vector that is a matrix elsewhere and what joins it, or no name and a rule that stays


def draw_numbers(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws biases, gains and single rows whose parameters are matrices elsewhere as maps of 1."""
    maps = {
        s.rule.weight: s.rule
        for s in diagram.sites
        if isinstance(s.rule, LinearRule) and s.rule.groups == 1 and not s.rule.lookup and _is_vector(s.rule)
    }
    wires, sites, notes = list(diagram.wires), [], []
    for site in diagram.sites:
        stages = _stages(site.rule, maps)
        if not any(name for name, _ in stages):
            sites.append(site)
            continue
        sites += _drawn(site, stages, maps, wires)
        notes.append(Rewrite(site.name, "a vector that is a matrix elsewhere is a map of the number 1"))
    return replace(diagram, wires=tuple(wires), sites=tuple(sites)), notes


def _is_vector(rule: LinearRule) -> bool:
    return max(rule.shape_) == math.prod(rule.shape_)


def _stages(rule: Rule, maps: Mapping[str, LinearRule]) -> list[Stage]:
    """What a site does one after the other."""
    if isinstance(rule, TableRule):
        return [(rule.table, AddRule())] if rule.table in maps and not rule.rows and rule.shape_[0] == 1 else []
    if not isinstance(rule, (GainRule, LinearRule)):
        return []
    stages: list[Stage] = []
    if isinstance(rule, LinearRule):
        stages.append(("", replace(rule, bias=None, bias_offset=Fraction(0))))
    elif rule.gain:
        moved = rule.gain in maps and not rule.offset
        own = replace(rule, bias=None, bias_offset=Fraction(0))
        stages.append((rule.gain, ProductRule()) if moved else ("", own))
    if rule.bias:
        moved = rule.bias in maps and not rule.bias_offset
        if isinstance(rule, LinearRule) and not moved:
            return []
        own_bias = rule if isinstance(rule, LinearRule) else replace(rule, gain=None, offset=Fraction(0))
        stages.append((rule.bias, AddRule()) if moved else ("", own_bias))
    return stages


def _drawn(site: Site, stages: list[Stage], maps: Mapping[str, LinearRule], wires: list[Wire]) -> Iterator[Site]:
    """The sites that stand for one, in their order."""
    y = site.outputs[0]
    shape, read = wires[y], site.inputs

    def fresh(name: str, size: int = shape.size) -> int:
        wires.append(replace(shape, name=f"{shape.name} {name}", size=size))
        return len(wires) - 1

    for i, (name, rule) in enumerate(stages):
        out = y if i == len(stages) - 1 else fresh(f"before {i + 1}")
        title = f"{site.name} {i}" if i else site.name
        if not name:
            names = tuple(use.parameter for use in rule.uses(replace(site, inputs=read, outputs=(out,))))
            yield Site(title, rule, read, (out,), None, site.inner, names)
        else:
            one = fresh(f"one {i}", 1)
            made = fresh(f"of one {i}") if read else out
            turned = maps[name].shape_[0] == 1
            own = LinearRule(name, maps[name].shape_, transposed=turned, geometry=("linear",))
            yield Site(f"{title} one", ONE, (), (one,), ("the number 1",))
            yield Site(f"{title} of one", own, (one,), (made,), ("a map of 1",), (), (name,))
            if read:
                yield Site(title, rule, (*read, made), (out,))
        read = (out,)


def join_numbers(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a sum with a wire that is always one number as an offset."""
    numbers = {s.outputs[0]: n for s in diagram.sites if (n := _number(diagram, s.rule, s.outputs)) is not None}
    sites, notes = list(diagram.sites), []
    for i, site in enumerate(sites):
        rule = site.rule
        if isinstance(rule, PassRule) and is_factor(rule) and site.inputs[0] in numbers:
            numbers[site.outputs[0]] = numbers[site.inputs[0]] * rule.factor
        if not isinstance(rule, AddRule) or len(site.inputs) != 2:
            continue
        fixed = [w for w in site.inputs if w in numbers]
        if len(fixed) == 1:
            (x,) = (w for w in site.inputs if w not in numbers)
            number = numbers[fixed[0]]
            offset = OffsetRule(every=True, number=number)
            sites[i] = replace(site, rule=offset, inputs=(x,), function=("offset", str(number)))
            notes.append(Rewrite(site.name, "what it adds is always one number"))
    return diagram.with_sites(sites), notes


def _number(diagram: Diagram, rule: Rule, outputs: tuple[int, ...]) -> Fraction | None:
    """The number that all features of a source always are; None where there is no such number."""
    if not isinstance(rule, ComputedRule) or len(outputs) != 1:
        return None
    (span,) = rule.spans
    if not span.constant or span.fixed is None:
        return None
    (factor,), total = span.fixed
    return Fraction(total) / (factor * diagram.wires[outputs[0]].size)
