"""Linear maps that act through their sum alone: bundles of one wire, and parallel branches of two maps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .contract import Site
from .diagram import Diagram
from .rewrites import is_factor
from .rules import (
    AddRule,
    LinearRule,
    PassRule,
)


def bundles(diagram: Diagram) -> dict[str, str]:
    """Linear sites that read one wire, share a geometry and are only ever added up: site name -> bundle name."""
    groups: dict[tuple, list[str]] = {}
    for site in diagram.sites:
        if not isinstance(site.rule, AddRule):
            continue
        for leaf in leaves(diagram, site):
            rule = leaf.rule
            if isinstance(rule, LinearRule) and _sum_of(diagram, leaf)[0] == site.name:
                key = (site.name, leaf.inputs[0], rule.geometry, rule.groups, rule.lookup, rule.shape_[2:])
                groups.setdefault(key, []).append(leaf.name)
    return {name: members[0] for members in groups.values() if len(members) > 1 for name in members}


def _sum_of(diagram: Diagram, site: Site) -> tuple[str | None, Fraction]:
    """The last of the nested sums that alone read a site (None where something else reads it), and with what factor."""
    name, factor, total = None, Fraction(1), Fraction(1)
    while True:
        after = diagram.readers[site.outputs[0]]
        if len(after) != 1 or not (isinstance(after[0][0].rule, AddRule) or is_factor(after[0][0].rule)):
            return name, total
        site = after[0][0]
        if isinstance(site.rule, PassRule):
            factor *= site.rule.factor
        else:
            name, total = site.name, factor


def leaves(diagram: Diagram, site: Site) -> list[Site]:
    """The sites that a sum and the sums inside it add up, if nothing else reads them."""
    out = []
    for w in site.inputs:
        before = diagram.writer[w]
        if len(diagram.readers[w]) != 1:
            continue
        if isinstance(before.rule, AddRule):
            out += leaves(diagram, before)
        else:
            out.append(before)
    return out


@dataclass(frozen=True)
class Pair:
    """Two hidden wires of parallel linear branches: together they are one wire.

    `sign` is -1 where one branch is subtracted from the other.
    """

    first: int
    second: int
    producers: tuple[Site, Site]
    consumers: tuple[Site, Site]
    sign: int = 1


def parallel_pairs(diagram: Diagram) -> list[Pair]:
    """Hidden wires of two linear branches `B_i A_i x` that are read from one wire and added up."""
    readers = diagram.readers
    bundle = bundles(diagram)
    uses: dict[str, int] = {}
    for site in diagram.sites:
        for use in site.rule.uses(site):
            uses[use.parameter] = uses.get(use.parameter, 0) + 1
    inner: list[tuple[Site, LinearRule, Site, LinearRule]] = []
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, LinearRule) or rule.groups > 1:
            continue
        after = readers[site.outputs[0]]
        if len(after) == 1 and isinstance(after[0][0].rule, LinearRule) and after[0][0].rule.groups == 1:
            inner.append((site, rule, after[0][0], after[0][0].rule))
    pairs = []
    branches: dict[tuple[int, ...], list[tuple[Site, LinearRule, Site, LinearRule]]] = {}
    for each in inner:
        branches.setdefault(each[0].inputs, []).append(each)
    for a, a_rule, b, b_rule in inner:
        branches[a.inputs].pop(0)  # itself: what is left comes after it
        for c, c_rule, d, d_rule in branches[a.inputs]:
            same_reader = _alike(a_rule, c_rule) and bool(a_rule.bias) == bool(c_rule.bias)
            sign = _summed(diagram, b, d)
            same_writer = _alike(b_rule, d_rule) and abs(sign) == 1
            names = [u.parameter for s in (a, b, c, d) for u in s.rule.uses(s)]
            plain = all(uses[n] == 1 and not diagram.parameters[n].frozen for n in names)
            if same_reader and same_writer and plain and not {a.name, c.name} & set(bundle):
                pairs.append(Pair(a.outputs[0], c.outputs[0], (a, c), (b, d), int(sign)))
    return pairs


def _summed(diagram: Diagram, b: Site, d: Site) -> Fraction:
    """How many times the one map counts in the sum for each time of the other, 0 where they are not summed."""
    (one, first), (two, second) = _sum_of(diagram, b), _sum_of(diagram, d)
    return second / first if one is not None and one == two and first else Fraction(0)


def _alike(a: LinearRule, b: LinearRule) -> bool:
    return a.geometry == b.geometry and a.lookup == b.lookup and a.shape_[2:] == b.shape_[2:]
