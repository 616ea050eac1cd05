"""What lies side by side on one wire: maps of one wire, parts of one map, copies, terms of sums."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ...gauge.boxes import OFF
from ...gauge.contract import Site
from ...gauge.layouts import Layouts
from ...gauge.rewrites_copies import copied
from ...gauge.roots import adds_constants, is_function
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BilinearRule,
    ConcatRule,
    DiscardRule,
    DotRule,
    FixedGainRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    OutputRule,
    PassRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    ScanRule,
    SumFeaturesRule,
    TableRule,
)
from ...gauge.rules.copies import beside
from ...gauge.solution import Solution

# blocks that see every change of what they read, or whose changes are followed
FOLLOWING = (AddRule, ConcatRule, DiscardRule, FixedGainRule, OutputRule, PassRule, RepeatRule, SumFeaturesRule)
SUMS = (AddRule, FixedGainRule, GainRule, PassRule)  # what makes one wire a sum of others, where gains are none


def beside_limits(solution: Solution) -> Iterator[str]:
    """Reasons why laws that mix what lies side by side may be missing, one sentence each."""
    yield from _side_by_side(solution)
    yield from _differences_of_copies(solution)
    yield from _copies_changed(solution)
    yield from _related_features(solution)


def _side_by_side(solution: Solution) -> Iterator[str]:
    """Maps of one wire side by side, or parts of one map, which are not drawn as parallel branches."""
    writer = solution.drawn.writer
    turning: dict[int, set[int]] = {}  # the solutions with matrices off the diagonal, by wire
    for i, row in enumerate(solution.gauges):
        for (w, _), label in row:
            if set(label) & OFF or solution.drawn.wires[w].size == 1:
                turning.setdefault(w, set()).add(i)
    for site in solution.drawn.sites:
        if not isinstance(site.rule, ConcatRule):
            continue
        cut = site.rule.cut
        if not cut and _turned(solution, site.outputs[0]) and _tied(writer, site.inputs):
            yield f"{site.name} joins outputs of several layers with one shared bias: laws that mix them are not listed"
        parts = [w for w in dict.fromkeys(site.outputs if cut else site.inputs) if w in turning]
        if cut:  # single features are cut apart where only the diagonal passes, if they never meet again
            met = {w: _meets(solution, w) for w in parts}
            alike = Counter(met.values())
            parts = [w for w in parts if solution.drawn.wires[w].size > 1 or (met[w] and alike[met[w]] > 1)]
        if cut and isinstance(writer[site.inputs[0]].rule, LinearRule):
            ends = {w: site.inputs[0] for w in parts if any(_keeps_sums(s) for s, _ in solution.drawn.readers[w])}
        elif not cut and any(_turns(s) for s, _ in solution.drawn.readers[site.outputs[0]]):
            made = {w: source(writer, w) for w in parts}
            maps = {w: s for w, s in made.items() if isinstance(s.rule, (LinearRule, TableRule))}
            ends = {w: next(iter(s.inputs), -1) for w, s in maps.items()}
            summed = [_weights(writer, w) for w in parts]
            if any(len(a & b) > 1 for a, b in itertools.combinations(summed, 2)):
                what = "joins sums that are computed with the same weights"
                yield f"{site.name} {what}: laws that mix the parts are not listed"
        else:
            continue
        pairs = itertools.combinations(ends, 2)
        if any(ends[a] == ends[b] and turning[a] - turning[b] and turning[b] - turning[a] for a, b in pairs):
            what = "splits the output of one layer" if cut else "joins layers that read the same features, or tables"
            yield f"{site.name} {what}: laws that mix the parts are not listed"


def _turned(solution: Solution, w: int) -> bool:
    """Whether a map reads a wire, also behind sums and moves of positions."""
    near = [s for s, _ in solution.drawn.readers[w]]
    for s in near:  # grows
        if isinstance(s.rule, (AddRule, PassRule)):
            near += [r for y in s.outputs for r, _ in solution.drawn.readers[y] if r not in near]
    return any(map(_turns, near))


def _tied(writer: Mapping[int, Site], wires: Sequence[int]) -> bool:
    """Whether different maps, or none, write two of the wires with the same numbers added."""
    pairs = itertools.combinations(wires, 2)
    return any(
        _shifts(writer, a) & _shifts(writer, b) and not _weights(writer, a) & _weights(writer, b) for a, b in pairs
    )


def _shifts(writer: Mapping[int, Site], w: int) -> set[str]:
    """The parameters that are added to what a map writes on a wire."""
    site = source(writer, w)
    if isinstance(site.rule, (AddRule, RepeatRule, ReorderRule)):
        return set().union(*(_shifts(writer, x) for x in site.inputs))
    if isinstance(site.rule, TableRule):
        return {site.rule.table}
    return {site.rule.bias} if isinstance(site.rule, LinearRule) and site.rule.bias else set()


def _differences_of_copies(solution: Solution) -> Iterator[str]:
    """Copies to which something is added, or terms that others read too: matrices may act on their differences."""
    for i, site in enumerate(solution.drawn.sites):
        if not isinstance(site.rule, (RepeatRule, SumFeaturesRule)) or site.rule.copies == 1:
            continue
        many = (site.outputs if isinstance(site.rule, RepeatRule) else site.inputs)[0]
        one = (site.inputs if isinstance(site.rule, RepeatRule) else site.outputs)[0]
        if solution.layouts.size(one) == 1 and not solution.layouts.is_cut(many):
            continue
        if beside(solution.layouts, site) and may_turn(solution, i, many):
            what = "others add something to them" if isinstance(site.rule, RepeatRule) else "others read them too"
            yield f"{site.name} has copies of the same features, and {what}: laws that mix them are not listed"


def may_turn(solution: Solution, place: int, wire: int) -> bool:
    """Whether a wire would carry matrices off the diagonal, were it not for a site."""
    sites = [s for i, s in enumerate(solution.drawn.sites) if i != place]
    free = Layouts(solution.drawn.with_sites(sites), solution.lax)
    return bool(free.off_diagonal(wire))


def source(writer: Mapping[int, Site], w: int) -> Site:
    """What writes a wire, behind moves of positions."""
    while isinstance(writer[w].rule, PassRule):
        w = writer[w].inputs[0]
    return writer[w]


def _weights(writer: Mapping[int, Site], w: int) -> set[str]:
    """The weights of the maps whose sum a wire is, up to fixed factors: real and imaginary parts share theirs."""
    site = source(writer, w)
    if isinstance(site.rule, (AddRule, FixedGainRule)):
        return set().union(*(_weights(writer, x) for x in site.inputs))
    return {site.rule.weight} if isinstance(site.rule, LinearRule) else set()


def _copies_changed(solution: Solution) -> Iterator[str]:
    """Copies that a block, feature by feature, reads as if they were features of their own."""
    writer = solution.drawn.writer
    for site in solution.drawn.sites:
        if isinstance(site.rule, (DotRule, HomogeneousRule, ProductRule)):
            pool = isinstance(site.rule, HomogeneousRule) and site.rule.mixes  # others are drawn before what joins them
            if any(copied(writer.get(w), writer) or (pool and _doubled(writer, w)) for w in site.inputs):
                yield f"{site.name} reads several copies of one feature: laws that compare these copies are not listed"


def _related_features(solution: Solution) -> Iterator[str]:
    """Features of which some are fixed functions of others, read by a block that does not follow relations."""
    roots, writer = solution.shifts.carried.roots, solution.drawn.writer
    for site in solution.drawn.sites:
        if isinstance(site.rule, FOLLOWING) or is_function(site) or adds_constants(site.rule):
            continue
        if isinstance(site.rule, LinearRule) and site.rule.groups == 1:
            continue
        if isinstance(site.rule, GainRule) and _scanned(solution, site.outputs[0]):
            continue
        heads = isinstance(site.rule, AttentionRule)  # keys and values that heads share are followed
        read = [w for w in site.inputs if not (heads and isinstance(source(writer, w).rule, RepeatRule))]
        if any(roots.related(w) for w in read):
            what = "reads features that follow from other features"
            yield f"{site.name} {what}: laws that hold because of that are not listed"


def _scanned(solution: Solution, w: int) -> bool:
    """Whether every feature of a wire is read with a decay of its own, so that no relation of them is left."""
    readers = solution.drawn.readers[w]
    return bool(readers) and all(isinstance(r.rule, ScanRule) for r, _ in readers)


def _doubled(writer: Mapping[int, Site], w: int) -> bool:
    """Whether a wire holds another one twice, side by side."""
    site = writer.get(w)
    if site is None or not isinstance(site.rule, ConcatRule) or site.rule.cut:
        return False
    return len({source(writer, x).outputs for x in site.inputs}) < len(site.inputs)


def _meets(solution: Solution, w: int) -> frozenset[str]:
    """The sites that put a wire, or linear maps of it, together with others; none if some reader of it is no such."""
    readers = solution.drawn.readers
    found: set[str] = set()
    for r, _ in readers[w]:
        if isinstance(r.rule, LinearRule):
            met = {s.name for s, _ in readers[r.outputs[0]] if isinstance(s.rule, AddRule)}
        elif isinstance(r.rule, ConcatRule) and not r.rule.cut and any(_turns(s) for s, _ in readers[r.outputs[0]]):
            met = {r.name}
        else:
            met = set()
        if not met:
            return frozenset()
        found |= met
    return frozenset(found)


def _keeps_sums(site: Site) -> bool:
    """Whether a block may let matrices of all features through."""
    return isinstance(site.rule, (AddRule, ConcatRule, LinearRule, PassRule))


def _turns(site: Site) -> bool:
    """Whether a block may let matrices of all features of one of its inputs through."""
    return _keeps_sums(site) or isinstance(site.rule, (AttentionRule, BilinearRule))


def sum_of(writer: Mapping[int, Site], w: int) -> set[int]:
    """The wires as wide as one that it is a sum of, with itself."""
    found, waiting = set(), [w]
    while waiting:
        w = waiting.pop()
        rule = writer[w].rule
        if w not in found:
            found.add(w)
            if isinstance(rule, SUMS) and not (isinstance(rule, GainRule) and rule.gain is not None):
                waiting += writer[w].inputs
    return found
