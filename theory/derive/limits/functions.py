"""Functions of one feature that are one up to a sign or a factor, and are not drawn as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from ...gauge.rules import HomogeneousRule
from ...gauge.solution import Solution


def function_limits(solution: Solution) -> Iterator[str]:
    """Roots of multiples of one feature, and sizes of odd functions of a feature and of its size."""
    roots = solution.shifts.carried.roots
    seen: dict[Hashable, Hashable] = {}
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, HomogeneousRule) or not rule.alike:
            continue
        size = rule.negative == -1
        if not size and rule.power == int(rule.power):
            continue
        pull = roots.of(site.outputs[0])
        for key in solution.directions.keys(site.outputs[0]):
            if size:
                x, start, _, chain = roots.signless(site.inputs[0], key)
                if not chain:
                    continue
            else:
                x, start, _, below = roots.straight(site.inputs[0], key)
                chain = () if below else (("", 0),)
            found = frozenset(pull[key].items())
            if seen.setdefault((rule.power, x, start, chain), found) != found:
                what = "is a multiple of another activation of the same feature"
                yield f"{site.name} {what}: laws that join the two activations are not listed"
                break
