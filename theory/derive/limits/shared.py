"""One shared map of several wires whose results are added up: it acts on the sum of what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...gauge.carried import Carried
from ...gauge.contract import Site
from ...gauge.rules import AddRule, ComputedRule, LinearRule, PassRule
from ...gauge.solution import Solution
from .beside import source

WHAT = "adds what one shared layer makes of several inputs: laws that compare these inputs are not listed"


def shared_limits(solution: Solution, carried: Carried) -> Iterator[str]:
    """One shared map of several wires in a sum: it acts on their sum."""
    shared: dict[str, list[Site]] = {}
    for site in solution.drawn.sites:
        if isinstance(site.rule, LinearRule):
            shared.setdefault(site.rule.weight, []).append(site)
    for sites in shared.values():
        yield from _beside_constants(solution, sites)
        if not any(solution.shifts.live(s.inputs[0]) for s in sites):  # what is always one number moves with no other
            sites = [s for s in sites if not _is_constant(solution, s.inputs[0])]
        if sum(carried.goes_on(s.outputs[0]) for s in sites) < 2:
            continue
        for reader, port, found in carried.ends_of([s.outputs[0] for s in sites]):
            if any(len({i for i, _ in row}) > 1 for row in found.values()):
                name = carried.last_sum(reader.inputs[port]) or reader.name
                yield f"{name} {WHAT}"


def _beside_constants(solution: Solution, sites: Sequence[Site]) -> Iterator[str]:
    """One shared map of fixed numbers and of what has a bias, which joins the two: their sum is a bias as well."""
    fixed = [s for s in sites if _is_constant(solution, s.inputs[0])]
    for site in sites if fixed else ():
        if site not in fixed and _is_shifted(solution, site.inputs[0]):
            sums = _sums_of(solution, site.outputs[0])
            for name in dict.fromkeys(n for s in fixed for n in _sums_of(solution, s.outputs[0]) if n in sums):
                yield f"{name} {WHAT}"


def _sums_of(solution: Solution, wire: int) -> list[str]:
    """The sums that a wire is a term of, also behind moves of positions."""
    near = [s for s, _ in solution.drawn.readers[wire]]
    for s in near:  # grows
        if isinstance(s.rule, (AddRule, PassRule)):
            near += [r for y in s.outputs for r, _ in solution.drawn.readers[y] if r not in near]
    return [s.name for s in near if isinstance(s.rule, AddRule)]


def _is_shifted(solution: Solution, wire: int) -> bool:
    """Whether a trained shift is added to what a wire carries."""
    before = source(solution.drawn.writer, wire)
    return any(
        use.constant and not solution.diagram.parameters[use.parameter].frozen for use in before.rule.uses(before)
    )


def _is_constant(solution: Solution, wire: int) -> bool:
    """Whether a wire carries the same numbers whatever the input is."""
    before = solution.drawn.writer[wire]
    if not isinstance(before.rule, ComputedRule):
        return False
    known = len(solution.directions.absent(wire).vectors) + len(solution.directions.fixed(wire))
    return known == len(solution.directions.keys(wire))
