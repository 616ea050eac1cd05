"""Laws that sums and cuts of wires have beyond those that are listed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...gauge.boxes import OFF
from ...gauge.carried import Carried, roots_of
from ...gauge.contract import Site
from ...gauge.diagram import Diagram
from ...gauge.layouts import Layouts
from ...gauge.linalg import Equations
from ...gauge.rewrites import is_factor
from ...gauge.rewrites_activations import never_negative
from ...gauge.rewrites_numbers import ONE
from ...gauge.roots import Root, is_function
from ...gauge.rules import (
    AddRule,
    AttentionRule,
    BilinearRule,
    ConcatRule,
    DotRule,
    FixedGainRule,
    FlattenRule,
    GainRule,
    HeadGainRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OffsetRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    RepeatRule,
    ScalarGainRule,
    SoftmaxRule,
    SourceRule,
    TableRule,
    TurnRule,
)
from ...gauge.solution import Solution
from ...gauge.subspace import VectorKey, ones
from .beside import beside_limits, may_turn
from .combined import combined_limits
from .forms import form_limits
from .shared import shared_limits

# blocks that see every change of what they read, or whose changes are followed
CLOSED = (AddRule, GainRule, HomogeneousRule, LinearRule, NormRule, PointwiseRule, ProductRule, SoftmaxRule, SourceRule)


def sum_limits(solution: Solution) -> Iterator[str]:
    """Reasons why laws of weighted sums, cuts and copies may be missing, one sentence each."""
    carried = solution.shifts.carried
    yield from _unlike_maps(solution, carried)
    yield from shared_limits(solution, carried)
    yield from _overlaps(solution, carried)
    yield from _joined_twice(solution, carried)
    yield from _vectors_beside_copies(solution)
    yield from _gains_added(solution, carried)
    yield from _repeated_positions(solution)
    yield from _factors_of_runs(solution)
    yield from _never_negative(solution)
    yield from _both_sides(solution, carried)
    yield from beside_limits(solution)
    yield from combined_limits(solution)
    yield from form_limits(solution)
    yield from _computed_weights(solution)
    loose = Carried(solution.directions, solution.drawn, loose=True)
    for site in solution.drawn.sites:
        known = {s.name for s in carried.members(site.name)}
        met = loose.meeting(site.name) - known
        others = [s for s in loose.members(site.name) if s.name in met]
        if any(s.name == site.name for s in others) and _dependent(loose, others):
            yield f"{site.name} reads several inputs that differ by constants only: laws that join these are not listed"
    for site in solution.drawn.sites:
        if isinstance(site.rule, LinearRule) and site.rule.blank:
            yield f"{site.name} has entries of its kernel that meet padding only: laws of these entries are not listed"


def _dependent(carried: Carried, sites: Sequence[Site]) -> bool:
    """Whether some combination of what maps read is always 0."""
    rows = [row for site in sites for row in carried.reads(site)]
    known: Equations[tuple[Root, VectorKey]] = Equations()
    for root in dict.fromkeys(root for row in rows for root, _ in row):
        for u in carried.absent(root):
            known.require({(root, key): a for key, a in u.items()})
    for row in rows:
        if not known.reduce(row):
            return True
        known.require(row)
    return False


def _kind(solution: Solution, site: Site) -> tuple | None:
    """What two maps must share to be one; None for blocks that are no map."""
    rule = site.rule
    if isinstance(rule, LinearRule):
        frozen = solution.diagram.parameters[rule.weight].frozen
        alone = site.name if frozen or (rule.groups > 1 and rule.transposed) else ""
        return (rule.geometry, rule.lookup, rule.groups, rule.shape_[2:], alone)
    if isinstance(rule, GainRule) and rule.gain:
        return ("gain", site.name)
    return None


def _unlike_maps(solution: Solution, carried: Carried) -> Iterator[str]:
    """Unlike maps of one wire, or a map and the wire itself, that meet in a sum: their differences have laws."""
    readers: dict[Root, list[Site]] = {}
    for site in solution.drawn.sites:
        if _kind(solution, site):
            for root in roots_of(carried.roots.of(site.inputs[0])):
                readers.setdefault(root, []).append(site)
    carriers: dict[Root, list[int]] = {}  # the wires that hand on what an activation makes
    for site in solution.drawn.sites:
        if is_function(site):
            for root in roots_of(carried.roots.of(site.outputs[0])):
                carriers.setdefault(root, []).append(site.outputs[0])
    done: set[tuple[frozenset[str], frozenset[int]]] = set()
    for root, sites in readers.items():
        skips = [w for w in (carriers.get(root, []) if root[0] else [root[1]]) if carried.goes_on(w)]
        seen = (frozenset(s.name for s in sites), frozenset(skips))
        if seen in done:
            continue
        done.add(seen)
        if not skips and len({_kind(solution, s) for s in sites}) < 2:
            continue
        if sum(carried.goes_on(s.outputs[0]) for s in sites) + bool(skips) < 2:
            continue
        kinds = dict(enumerate([*(_kind(solution, s) for s in sites), *[("skip",)] * len(skips)]))
        starts = [s.outputs[0] for s in sites] + skips
        for reader, port, found in carried.ends_of(starts):
            meeting = [{kinds[i] for i, _ in row} for row in found.values()]
            if any(len(row) > 1 for row in meeting):
                name = carried.last_sum(reader.inputs[port]) or reader.name
                what = "adds unlike layers that read the same features, or a layer and a skip"
                yield f"{name} {what}: laws that compare the two are not listed"


def _overlaps(solution: Solution, carried: Carried) -> Iterator[str]:
    """Sums that are a wire again, or in which one part of a wire is a term of several features."""
    writer = solution.drawn.writer
    shared = {name for name, uses in solution.uses.items() if len(uses) > 1}
    for site in solution.drawn.sites:
        if not isinstance(site.rule, AddRule) or carried.roots.apart(site):
            continue
        pull = carried.roots.of(site.outputs[0])
        before = {root for x in site.inputs for root in roots_of(carried.roots.of(x))}
        if any(sign and (sign, w) not in roots_of(pull) for sign, w in before):
            what = "adds activations that cancel but for a linear part"
            yield f"{site.name} {what}: laws of that part are not listed"
        for row in pull.values():
            twice = {r for r, _ in row if not r[0] and sum(r == other for other, _ in row) > 1}
            if any(not isinstance(writer[w].rule, CLOSED) or _uses(writer[w]) & shared for _, w in twice):
                what = "adds several parts of the same features"
                yield f"{site.name} {what}: laws that compare the weights behind them are not listed"
        hit = [k for row in pull.values() for k in row]
        if len(hit) != len(set(hit)):
            yield f"{site.name} adds overlapping parts of the same features: laws that mix these are not listed"


def _uses(site: Site) -> set[str]:
    return {use.parameter for use in site.rule.uses(site)}


def _joined_twice(solution: Solution, carried: Carried) -> Iterator[str]:
    """Shared maps of what holds one feature twice, or of sums that are never there: a matrix may mix these columns."""
    shared = {name for name, uses in solution.uses.items() if len(uses) > 1}
    for i, site in enumerate(solution.drawn.sites):
        if isinstance(site.rule, LinearRule) and site.rule.weight in shared:
            hit = [k for row in carried.roots.of(site.inputs[0]).values() for k in row]
            if len(hit) != len(set(hit)):
                yield f"{site.name} reads one feature twice with a shared weight: laws that mix the two are not listed"
            elif _lacks_sums(solution, site.inputs[0]) and not solution.layouts.algebras[site.inputs[0]].count:
                others = _beside_wire(solution, site.rule.weight, site.inputs[0])
                if all(may_turn(solution, i, w) or _lacks_sums(solution, w) for w in others):
                    what = "reads, with a shared weight, features of which some sum is always zero"
                    yield f"{site.name} {what}: laws that mix its columns are not listed"


def _vectors_beside_copies(solution: Solution) -> Iterator[str]:
    """Vectors that are matrices elsewhere, in a network that copies features: differences of columns may be fixed."""
    sites = solution.drawn.sites
    if any(isinstance(s.rule, RepeatRule) or len(set(s.inputs)) < len(s.inputs) for s in sites):
        for site in sites:
            before = solution.drawn.writer.get(site.inputs[0]) if isinstance(site.rule, LinearRule) else None
            if before is not None and before.rule == ONE and isinstance(site.rule, LinearRule):
                what = f"{site.rule.weight} is used as a vector and as a matrix, beside copies of features"
                yield f"{what}: laws that compare these copies are not listed"


def _lacks_sums(solution: Solution, wire: int) -> bool:
    """Whether some sum of several features of a wire is never there."""
    return any(len(u) > 1 or any("d" in label for _, label in u) for u in solution.directions.absent(wire).vectors)


def _beside_wire(solution: Solution, weight: str, wire: int) -> set[int]:
    """The other wires that act on the axis of a weight that a wire acts on."""
    uses = solution.uses[weight]
    at = {i for use in uses for i, axis in enumerate(use.axes) if wire in {w for w, _ in axis}}
    return {w for use in uses for i, axis in enumerate(use.axes) if i in at for w, _ in axis} - {wire}


def _both_sides(solution: Solution, carried: Carried) -> Iterator[str]:
    """Bilinear forms of one wire: the skew part of their tensors acts on nothing."""
    for site in solution.drawn.sites:
        if isinstance(site.rule, BilinearRule):
            first, second = (roots_of(carried.roots.of(x)) for x in site.inputs)
            if first & second:
                what = "reads the same features on both sides"
                yield f"{site.name} {what}: laws of the antisymmetric part of its weight are not listed"


def one_sided(diagram: Diagram, positive: set[int]) -> set[int]:
    """Wires on which every feature has one sign for all inputs, which parameters choose: gains of what is positive."""
    sided = set(positive)
    for site in diagram.sites:
        rule = site.rule
        turns = isinstance(rule, GainRule) and bool(rule.gain) and not rule.bias
        turns = turns or isinstance(rule, (FixedGainRule, HeadGainRule, ScalarGainRule))
        keeps = isinstance(rule, (ConcatRule, FlattenRule, HomogeneousRule, ProductRule, RepeatRule))
        keeps = keeps or is_factor(rule) or (isinstance(rule, NormRule) and not rule.centre)
        if site.inputs and sided.issuperset(site.inputs) and (turns or keeps):
            sided.update(site.outputs)
    return sided


def _never_negative(solution: Solution) -> Iterator[str]:
    """Activations of which one piece alone is met, since what they read has one sign."""
    positive = never_negative(solution.drawn)
    sided = one_sided(solution.drawn, positive) - positive
    for site in solution.drawn.sites:
        rule = site.rule
        if not isinstance(rule, HomogeneousRule):
            continue
        if rule.negative is not None and site.inputs[0] in sided:
            what = "reads features of which each has one sign for every input"
            yield f"{site.name} {what}: laws of units that are on, or off, for all of them are not listed"
        if not positive.issuperset(site.inputs):
            continue
        if rule.negative is not None and len(solution.drawn.readers[site.inputs[0]]) > 1:
            what = "may change nothing, as its input seems never to be negative, and others read that input too"
            yield f"{site.name} {what}: laws that join these readers are not listed"
        if rule.slope:
            what = "reads numbers that are never negative"
            yield f"{site.name} {what}: its slope for negative ones never changes, and is not listed"


def _gains_added(solution: Solution, carried: Carried) -> Iterator[str]:
    """Gains of maps of one wire in a sum: feature by feature they are two layers, whose pairs have laws."""
    diagram, roots = solution.drawn, carried.roots
    behind: dict[int, set[Root]] = {}  # for every gain the maps that it scales, and what these read
    bits: dict[Root, int] = {}
    masks: dict[int, int] = {}  # for every sum of whole wires what lies behind the gains that it adds
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, GainRule) and rule.gain and carried.goes_on(site.outputs[0]):
            found = roots_of(roots.of(site.inputs[0]))
            maps = [diagram.writer[x] for _, x in found if x in diagram.writer]
            own = {r for m in maps if m.inputs for r in roots_of(roots.of(m.inputs[0]))}
            own |= {("", m.outputs[0]) for m in maps}
            behind[site.outputs[0]] = own
            masks[site.outputs[0]] = sum(bits.setdefault(r, 1 << len(bits)) for r in own)
        elif isinstance(rule, (AddRule, PassRule)) and roots.apart(site):
            parts = [masks.get(w, 0) for w in site.inputs]
            masks[site.outputs[0]] = functools.reduce(operator.or_, parts, 0)
            meet = sum(parts) != masks[site.outputs[0]]
        elif isinstance(rule, AddRule):
            meet = any(_meet(row, behind) for row in roots.of(site.outputs[0]).values())
        if isinstance(rule, AddRule) and meet:
            what = "adds layers that read the same features, each with a gain"
            yield f"{site.name} {what}: laws of pairs of these are not listed"


def _meet(row: Iterable[tuple[Root, VectorKey]], behind: Mapping[int, set[Root]]) -> bool:
    """Whether two gains among the terms of a feature have something behind them in common."""
    own = [behind.get(w, set()) for (label, w), _ in row if not label]
    return sum(map(len, own)) > len(set().union(*own))


def _repeated_positions(solution: Solution) -> Iterator[str]:
    """Positions that others determine, copies or padding, before a block that tells positions apart."""
    repeats: set[int] = set()
    for site in solution.drawn.sites:
        rule = site.rule
        if not site.inputs:
            continue
        known = repeats.issuperset(site.inputs)
        apart = isinstance(rule, FlattenRule) and rule.before * rule.after > 1
        if known and (apart or isinstance(rule, TurnRule)):
            what = "treats copies of one position differently"
            yield f"{site.name} {what}: laws that compare these copies are not listed"
        if isinstance(rule, PassRule) and rule.repeats:
            repeats.update(site.outputs)
        elif known and not rule.mixes and solution.drawn.wires[site.inputs[0]].positions > 1:
            repeats.update(site.outputs)


def _factors_of_runs(solution: Solution) -> Iterator[str]:
    """Equal factors, or opposite ones, of features that lie apart: a matrix may mix these."""
    for i, site in enumerate(solution.drawn.sites):
        rule = site.rule
        if isinstance(rule, FixedGainRule):
            sizes = [abs(a) for _, a in rule.runs]
            if len(sizes) > len(set(sizes)) and _may_mix(solution, i):
                what = "multiplies features that lie apart by the same fixed number, up to its sign"
                yield f"{site.name} {what}: laws that mix these features are not listed"


def _computed_weights(solution: Solution) -> Iterator[str]:
    """Products with matrices that are computed of parameters: rows of these have laws that no rule of tables says."""
    writer = solution.drawn.writer
    for site in solution.drawn.sites:
        products = isinstance(site.rule, AttentionRule) or (isinstance(site.rule, DotRule) and site.rule.mixes)
        for w in site.inputs if products else ():
            made, changed = writer[w], False
            while isinstance(made.rule, (FixedGainRule, HomogeneousRule, OffsetRule, PassRule, PointwiseRule)):
                made, changed = writer[made.inputs[0]], changed or not isinstance(made.rule, PassRule)
            if changed and isinstance(made.rule, TableRule):
                what = f"multiplies by a function of {made.rule.table}"
                yield f"{site.name} {what}: laws of rows of {made.rule.table} are not listed"


def _may_mix(solution: Solution, place: int) -> bool:
    """Whether a wire would carry matrices off the diagonal, were it not for the fixed factors that a site applies."""
    sites = list(solution.drawn.sites)
    sites[place] = replace(sites[place], rule=PassRule())
    free = Layouts(solution.drawn.with_sites(sites), solution.lax)
    labels = {label for box in free.algebras[sites[place].inputs[0]].boxes for label in box.labels}
    x, y = sites[place].inputs[0], sites[place].outputs[0]
    unread = solution.directions.moving(y).contains(ones(solution.layouts.algebras[y]))
    if labels <= {"c", "j"} and (unread or solution.directions.absent(x).contains(ones(solution.layouts.algebras[x]))):
        return False  # what no reader sees of 1, or what never has it, gives linear laws, which say all of 11^T
    return any(OFF & set(label) for label in labels)
