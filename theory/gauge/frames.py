"""Features in another order: every wire is drawn in an order of its features in which nothing is left to be moved.

A block that moves features (`h.flip(-1)`, `W[[2, 0, 1]]`) is a change of names: the features of a wire may be numbered
as one likes, if every block next to it is told.  What treats all features alike does not care, a linear map reads its
weight in the other order, and a wire that something cuts, or whose features have a meaning of their own, keeps its
order.  Where that asks one wire for two orders (`h + h.flip(-1)`) the move stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..parts import ordered, viewed
from .contract import Rule, Site
from .diagram import Diagram, Parameter
from .orders import side_by_side, through_cuts
from .rewrites import Rewrite, representatives
from .rules import (
    AddRule,
    BatchNormRule,
    ConcatRule,
    DiscardRule,
    FixedGainRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    ReorderRule,
    RepeatRule,
    SourceRule,
    TableRule,
)

Order = tuple[int, ...]  # at every new place the number of a feature

# blocks that treat all features of all their wires alike
ALIKE = (AddRule, BatchNormRule, HomogeneousRule, PassRule, PointwiseRule, ProductRule)
ENDS = (DiscardRule, OutputRule, SourceRule)  # blocks that do not tell one feature from another


def one_way_round(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a vector that is a column here and a row there as a column, or its transpose, everywhere."""
    first: dict[str, tuple[int, ...]] = {}
    sites, notes = [], []
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, LinearRule) and rule.groups == 1 and len(rule.shape_) == 2:
            known = first.setdefault(rule.weight, rule.shape_)
            if known != rule.shape_ and known == rule.shape_[::-1] and 1 in known:
                rule = replace(rule, shape_=known, transposed=not rule.transposed)
                notes.append(Rewrite(site.name, f"reads {rule.weight} as the transpose of what others read"))
                site = replace(site, rule=rule)
        sites.append(site)
    return diagram.with_sites(sites), notes


def straighten(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws moves of features as another order of the wires' features, where every block next to them allows it."""
    same = representatives(diagram.sites)
    apart = {s.name for s in diagram.sites if _lies_apart(s, diagram, same)}
    while apart:  # equal factors, or copies, of features that lie apart are those of a run, in another order
        sorted_, notes = _straightened(_gathered(diagram, apart))
        left = {s.name for s in sorted_.sites if isinstance(s.rule, ReorderRule)}
        kept = {n for n in apart if left.isdisjoint((f"{n} order", f"{n} back"))}
        if kept == apart:
            return _taken_apart(sorted_, notes)
        apart = kept
    return _taken_apart(*_straightened(diagram))


def _taken_apart(diagram: Diagram, notes: list[Rewrite]) -> tuple[Diagram, list[Rewrite]]:
    """Without the moves of features that are left between blocks that keep their order, where these are not many."""
    for redraw in (through_cuts, side_by_side):
        diagram, more = redraw(diagram)
        if more:
            diagram, again = _straightened(diagram)
            notes = [*notes, *more, *again]
    return diagram, notes


def _straightened(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    if not any(isinstance(s.rule, ReorderRule) for s in diagram.sites):
        return diagram, []
    stuck: set[int] = set()
    while True:
        orders = _orders(diagram, stuck)
        clash = _two_names(diagram, orders)
        if not clash:
            break
        stuck |= clash
    moved = {w: o for w, o in orders.items() if list(o) != list(range(len(o)))}
    parameters, sites, notes = dict(diagram.parameters), [], []
    for site in diagram.sites:
        rule = site.rule
        if isinstance(rule, ReorderRule) and _absorbed(rule, site, orders):
            notes.append(Rewrite(site.name, "the features are numbered in the order that it gives"))
            sites.append(replace(site, rule=PassRule(), function=None))
            continue
        names = _names(site, moved)
        for old, new in names.items():
            if old != new:
                parameters[new] = replace(parameters[old], name=new)
        sites.append(_renamed(site, names))
    read = {n for s in sites for n in _read(s)}
    gone = {n for s in diagram.sites for n in _read(s)} - read
    return replace(diagram, sites=tuple(sites), parameters=_without(parameters, gone)), notes


def _lies_apart(site: Site, diagram: Diagram, same: Mapping[str, str]) -> bool:
    """Whether some factor of a site stands in several runs, or an output is made of copies of one wire.

    Elsewhere copies side by side are the parts of what they are joined to, whose names are easier to read.
    """
    rule = site.rule
    if isinstance(rule, FixedGainRule):
        return len(rule.runs) > len({a for _, a in rule.runs})
    if not isinstance(rule, ConcatRule) or rule.cut or len(site.inputs) < 2:
        return False
    if not all(isinstance(reader.rule, OutputRule) for reader, _ in diagram.readers[site.outputs[0]]):
        return False
    made = {(same[diagram.writer[w].name], diagram.writer[w].outputs.index(w)) for w in site.inputs}
    return len(made) == 1


def _gathered(diagram: Diagram, names: set[str]) -> Diagram:
    """What some sites have apart in one run, between moves of features."""
    sites, wires = [], list(diagram.wires)
    for site in diagram.sites:
        rule = site.rule
        if site.name not in names:
            sites.append(site)
            continue
        x, y, at = site.inputs[0], site.outputs[0], len(wires)
        if isinstance(rule, FixedGainRule):
            factors = [a for n, a in rule.runs for _ in range(n)]
            first = {a: i for i, a in reversed(list(enumerate(factors)))}
            order = tuple(sorted(range(len(factors)), key=lambda i: (first[factors[i]], i)))
            runs = tuple((factors.count(a), a) for a in dict.fromkeys(factors))
            wires += [wires[x], wires[y]]
            sites.append(Site(f"{site.name} order", ReorderRule(order), (x,), (at,)))
            sites.append(replace(site, rule=replace(rule, runs=runs), inputs=(at,), outputs=(at + 1,), function=None))
            sites.append(Site(f"{site.name} back", ReorderRule(_inverse(order)), (at + 1,), (y,)))
        else:
            copies, size = len(site.inputs), wires[x].size
            order = tuple(i * copies + k for k in range(copies) for i in range(size))
            wires.append(wires[y])
            sites.append(replace(site, rule=RepeatRule(copies), inputs=(x,), outputs=(at,), function=None))
            sites.append(Site(f"{site.name} order", ReorderRule(order), (at,), (y,)))
    return replace(diagram, sites=tuple(sites), wires=tuple(wires))


def _absorbed(rule: ReorderRule, site: Site, orders: Mapping[int, Order]) -> bool:
    x, y = orders[site.inputs[0]], orders[site.outputs[0]]
    return all(x[i] == rule.order[k] for i, k in enumerate(y))


def _without(parameters: Mapping[str, Parameter], gone: set[str]) -> dict[str, Parameter]:
    return {n: p for n, p in parameters.items() if n not in gone}


def _read(site: Site) -> set[str]:
    return {*site.parameters, *(use.parameter for use in site.rule.uses(site))}


def _ties(site: Site) -> Iterator[tuple[int, int, Order | None]]:
    """Wires of a site whose orders follow from one another: feature `i` of the second is `order[i]` of the first."""
    rule = site.rule
    if isinstance(rule, ReorderRule):
        yield site.inputs[0], site.outputs[0], rule.order
    elif _alike(rule):
        for w in site.inputs:
            yield w, site.outputs[0], None


def _alike(rule: Rule) -> bool:
    if isinstance(rule, HomogeneousRule):
        return rule.slope is None
    if isinstance(rule, NormRule):
        return rule.groups == 1
    return isinstance(rule, (*ALIKE, GainRule))


def _kept(site: Site) -> tuple[int, ...]:
    """The wires of a site that keep their order."""
    rule = site.rule
    if isinstance(rule, (ReorderRule, TableRule, *ENDS)) or _alike(rule):
        return site.inner
    if isinstance(rule, LinearRule) and rule.groups == 1 and not rule.offset and not rule.rows:
        return site.inputs if rule.lookup else ()
    return site.wires


def _orders(diagram: Diagram, stuck: set[int]) -> dict[int, Order]:
    """An order for every wire; that of `stuck` wires, and of those that are asked for two, is their own."""
    near: dict[int, list[tuple[int, Order]]] = {}
    for site in diagram.sites:
        for x, y, order in _ties(site):
            if order is None and diagram.wires[x].size != diagram.wires[y].size:
                continue
            plain = order or tuple(range(diagram.wires[y].size))
            near.setdefault(y, []).append((x, plain))  # the order of x is `plain` after that of y
            near.setdefault(x, []).append((y, _inverse(plain)))
    kept = {w for site in diagram.sites for w in _kept(site)}
    out: dict[int, Order] = {}
    for start in [*sorted(kept), *range(len(diagram.wires))]:
        if start in out:
            continue
        found = {start: tuple(range(diagram.wires[start].size))}
        waiting, fits = [start], True
        while waiting:
            w = waiting.pop()
            for other, step in near.get(w, ()):
                order = tuple(step[i] for i in found[w])
                if other not in found:
                    found[other] = order
                    waiting.append(other)
                fits &= found[other] == order
        fits &= all(found[w] == tuple(range(len(found[w]))) for w in kept.intersection(found))
        if not fits or stuck.intersection(found):
            found = {w: tuple(range(len(order))) for w, order in found.items()}
        out |= found
    return out


def _inverse(order: Order) -> Order:
    out = [0] * len(order)
    for i, k in enumerate(order):
        out[k] = i
    return tuple(out)


@dataclass(frozen=True)
class _Axis:
    """An axis of a parameter along which a site reads the features of a wire, and the shape that the site sees."""

    parameter: str
    shape: tuple[int, ...]
    axis: int
    wire: int


def _axes(site: Site) -> Iterator[_Axis]:
    rule = site.rule
    if isinstance(rule, LinearRule):
        out, inn = (1, 0) if rule.transposed else (0, 1)
        yield _Axis(rule.weight, rule.shape_, out, site.outputs[0])
        yield _Axis(rule.weight, rule.shape_, inn, site.inputs[0])
        if rule.bias:
            width = rule.shape_[out] * (rule.groups if rule.transposed else 1)
            yield _Axis(rule.bias, (width,), 0, site.outputs[0])
    elif isinstance(rule, GainRule):
        for name in (rule.gain, rule.bias):
            if name:
                yield _Axis(name, (rule.size,), 0, site.outputs[0])
    elif isinstance(rule, TableRule):
        yield _Axis(rule.table, rule.shape_, 1, site.outputs[0])


def _names(site: Site, moved: Mapping[int, Order]) -> dict[str, str]:
    """What the parameters of a site are called where their entries are read in the order of the wires."""
    out = {name: name for name in _read(site)}
    for each in _axes(site):
        if each.wire in moved:
            name = out[each.parameter]
            seen = viewed(name, each.shape) if name == each.parameter else name
            out[each.parameter] = ordered(seen, each.axis, moved[each.wire])
    return out


def _two_names(diagram: Diagram, orders: Mapping[int, Order]) -> set[int]:
    """The wires next to parameters that would be read in two orders."""
    moved = {w: o for w, o in orders.items() if list(o) != list(range(len(o)))}
    called: dict[str, set[str]] = {}
    near: dict[str, set[int]] = {}
    for site in diagram.sites:
        for old, new in _names(site, moved).items():
            called.setdefault(old, set()).add(new)
            near.setdefault(old, set()).update(moved.keys() & set(site.wires))
    return {w for old, new in called.items() if len(new) > 1 for w in near[old]}


def _renamed(site: Site, names: Mapping[str, str]) -> Site:
    rule = site.rule
    if isinstance(rule, LinearRule):
        rule = replace(rule, weight=names[rule.weight], bias=names[rule.bias] if rule.bias else rule.bias)
    elif isinstance(rule, GainRule):
        gain, bias = (names[n] if n else n for n in (rule.gain, rule.bias))
        rule = replace(rule, gain=gain, bias=bias)
    elif isinstance(rule, TableRule):
        rule = replace(rule, table=names[rule.table])
    return replace(site, rule=rule, parameters=tuple(names.get(n, n) for n in site.parameters))
