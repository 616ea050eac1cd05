"""Rewrites of maps next to cuts and joins of features.

*Parts of maps*: `V` of features that are put side by side is a sum of maps of its columns, and features of `U` that are
taken apart are those of maps of its rows.  Side by side or not, maps of one wire into one sum are one wire together.
*Shared maps*: `W u + W v` is the one map `W (u + v)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..parts import viewed
from .contract import Site
from .diagram import Diagram, Parameter, Wire
from .rewrites import Rewrite, is_factor
from .rules import (
    AddRule,
    ComputedRule,
    ConcatRule,
    LinearRule,
    PassRule,
    RepeatRule,
    SumFeaturesRule,
)

MOST = 64  # features that are drawn one by one


def map_parts(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a map that alone reads maps side by side, or that is alone read by a cut, as a map for each part."""
    notes: list[Rewrite] = []
    for reads in (True, False):
        while found := next(_between(diagram, reads), None):
            diagram = _columns(diagram, *found) if reads else _rows(diagram, *found)
            what = "the columns that read each part" if reads else "the rows that write each part"
            notes.append(Rewrite(found[1].name, f"a map for {what}"))
    return diagram, notes


def _between(diagram: Diagram, reads: bool) -> Iterator[tuple[Site, Site]]:
    """Joins whose parts are maps of one wire, with the one map that reads them; cuts likewise, with what they cut."""
    uses: dict[str, int] = {}
    for site in diagram.sites:
        for use in site.rule.uses(site):
            uses[use.parameter] = uses.get(use.parameter, 0) + 1
    writer = diagram.writer

    def plain(site: Site | None) -> bool:
        rule = site.rule if site else None
        if not isinstance(rule, LinearRule) or rule.groups > 1 or rule.offset or rule.lookup or rule.rows or rule.still:
            return False
        names = [rule.weight, *([rule.bias] if rule.bias else [])]
        return all(uses[n] == 1 and not diagram.parameters[n].frozen for n in names)

    for site in diagram.sites:
        if not isinstance(site.rule, ConcatRule) or site.rule.cut == reads:
            continue
        whole = (site.outputs if reads else site.inputs)[0]
        parts = site.inputs if reads else site.outputs
        after = [[s for s, _ in diagram.readers[w]] for w in (whole, *parts)]
        middle = (after[0][0] if len(after[0]) == 1 else None) if reads else writer.get(whole)
        if len(after[0]) != 1 or not plain(middle) or middle is None:
            continue
        outer = [writer.get(w) for w in parts] if reads else [s[0] if len(s) == 1 else None for s in after[1:]]
        if reads and any(len(s) != 1 for s in after[1:]):
            continue
        ends = [(s.inputs if reads else s.outputs)[0] for s in outer if s is not None and plain(s)]
        if len(ends) > (len(set(ends)) if reads else 1):
            yield site, middle


def _slices(diagram: Diagram, parts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    start = 0
    for w in parts:
        stop = start + diagram.wires[w].size
        yield w, start, stop
        start = stop


def _part(rule: LinearRule, axis: int, start: int, stop: int) -> tuple[str, tuple[int, ...]]:
    index = ",".join([*[":"] * axis, f"{start}:{stop}"])
    shape = tuple(stop - start if i == axis else n for i, n in enumerate(rule.shape_))
    return f"{viewed(rule.weight, rule.shape_)}[{index}]", shape


def _columns(diagram: Diagram, join: Site, site: Site) -> Diagram:
    rule = site.rule
    assert isinstance(rule, LinearRule)
    wires, parameters, made = list(diagram.wires), dict(diagram.parameters), []
    for i, (w, start, stop) in enumerate(_slices(diagram, join.inputs)):
        name, shape = _part(rule, 0 if rule.transposed else 1, start, stop)
        parameters[name] = Parameter(name, shape)
        wires.append(replace(wires[site.outputs[0]], name=f"{wires[site.outputs[0]].name}[{i}]"))
        own = replace(rule, weight=name, shape_=shape, bias=None if i else rule.bias)
        names = (name, *([rule.bias] if rule.bias and not i else []))
        made.append(Site(f"{site.name}[{i}]", own, (w,), (len(wires) - 1,), None, site.inner, names))
    total = Site(f"{site.name} sum", AddRule(), tuple(s.outputs[0] for s in made), site.outputs)
    return replaced(diagram, wires, parameters, {join.name: [], site.name: [*made, total]})


def _rows(diagram: Diagram, cut: Site, site: Site) -> Diagram:
    rule = site.rule
    assert isinstance(rule, LinearRule)
    parameters, made = dict(diagram.parameters), []
    cut_size = diagram.wires[cut.inputs[0]].size
    for i, (w, start, stop) in enumerate(_slices(diagram, cut.outputs)):
        name, shape = _part(rule, 1 if rule.transposed else 0, start, stop)
        parameters[name] = Parameter(name, shape)
        bias = f"{viewed(rule.bias, (cut_size,))}[{start}:{stop}]" if rule.bias else None
        if bias:
            parameters[bias] = Parameter(bias, (stop - start,))
        own = replace(rule, weight=name, shape_=shape, bias=bias)
        names = (name, *([bias] if bias else []))
        made.append(Site(f"{site.name}[{i}]", own, site.inputs, (w,), None, site.inner, names))
    return replaced(diagram, list(diagram.wires), parameters, {cut.name: [], site.name: made})


def replaced(
    diagram: Diagram, wires: list[Wire], parameters: dict[str, Parameter], drawn: dict[str, list[Site]]
) -> Diagram:
    """A diagram with other wires and parameters, in which other sites stand for some, by their names."""
    sites = [s for site in diagram.sites for s in drawn.get(site.name, [site])]
    return replace(diagram, wires=tuple(wires), sites=tuple(sites), parameters=parameters)


def one_by_one(diagram: Diagram, site: Site) -> Diagram | None:
    """Copies, or sums of neighbours, of features that are cut across them, as copies or sums of single features.

    None for any other site, and where there are many features.
    """
    rule = site.rule
    x, y = site.inputs[0], site.outputs[0]
    many = max(diagram.wires[x].size, diagram.wires[y].size)
    if not isinstance(rule, (RepeatRule, SumFeaturesRule)) or many > MOST:
        return None
    wires = list(diagram.wires)

    def singles(w: int) -> tuple[int, ...]:
        start, n = len(wires), wires[w].size
        wires.extend(replace(wires[w], name=f"{wires[w].name}[{i}]", size=1) for i in range(n))
        return tuple(range(start, start + n))

    n = diagram.wires[x].size
    before = singles(x) if n > 1 else (x,)
    made = [Site(f"{site.name} cut", ConcatRule(cut=True), (x,), before)] if n > 1 else []
    if isinstance(rule, RepeatRule):
        made.append(Site(site.name, ConcatRule(), tuple(w for w in before for _ in range(rule.copies)), (y,)))
    else:
        after = singles(y) if diagram.wires[y].size > 1 else (y,)
        for i, w in enumerate(after):
            terms = before[i * rule.copies : (i + 1) * rule.copies]
            made.append(Site(f"{site.name}[{i}]", AddRule(), terms, (w,)))
        if len(after) > 1:
            made.append(Site(f"{site.name} join", ConcatRule(), after, (y,)))
    return replaced(diagram, wires, diagram.parameters, {site.name: made})


def shared_maps(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `W u + a W v` as the one map `W (u + a v)`."""
    notes = []
    while found := next(_twice_in_a_sum(diagram), None):
        notes.append(Rewrite(found.second.name, f"with {found.first.name} it is one map of a sum"))
        wires, x = list(diagram.wires), found.first.inputs[0]
        made, v = [], found.second.inputs[0]
        if found.factor != 1:
            wires.append(replace(wires[v], name=f"{wires[v].name} scaled"))
            made.append(Site(f"{found.second.name} scaled", PassRule(factor=found.factor), (v,), (len(wires) - 1,)))
            v = len(wires) - 1
        wires.append(replace(wires[x], name=f"{wires[x].name} sum"))
        made.append(Site(f"{found.first.name} sum", AddRule(), (x, v), (len(wires) - 1,)))
        one = replace(found.first, inputs=(len(wires) - 1,), function=None)
        inputs = (one.outputs[0], *found.rest)
        last = replace(found.total, inputs=inputs, rule=found.total.rule if found.rest else PassRule())
        sites = [s for s in diagram.sites if s.name not in found.gone]
        at = next(i for i, s in enumerate(sites) if s.name == found.total.name)
        sites[at : at + 1] = [*made, one, last]
        diagram = replace(diagram, wires=tuple(wires), sites=tuple(sites))
    return diagram, notes


@dataclass(frozen=True)
class _Twice:
    """A sum with two terms by one map.

    Attributes:
        total: the sum.
        first: the map of the first of them.
        second: that of the other.
        factor: what the other is multiplied by.
        rest: what else is added.
        gone: the maps, and what stands between them and the sum, by name.
    """

    total: Site
    first: Site
    second: Site
    factor: Fraction
    rest: tuple[int, ...]
    gone: frozenset[str]


def _twice_in_a_sum(diagram: Diagram) -> Iterator[_Twice]:
    """Sums, also of sums that nothing else reads, with two terms by one map, the second of them times a factor."""
    for total in diagram.sites:
        if not isinstance(total.rule, AddRule):
            continue
        terms, sums = _terms(diagram, total)
        known: list[tuple[Site, int, frozenset[str]]] = []
        for w in terms:
            site, factor, between = _behind_factors(diagram, w)
            rule = site.rule
            if not isinstance(rule, LinearRule) or rule.bias or rule.lookup or rule.rows or rule.groups > 1:
                continue
            if len(diagram.readers[site.outputs[0]]) != 1 or len(diagram.readers[w]) != 1:
                continue
            for first, term, names in known:
                x, v = (diagram.wires[s.inputs[0]] for s in (first, site))
                same = first.rule == rule and (x.tokens, x.positions) == (v.tokens, v.positions)
                if same and not _hides(diagram, first.inputs[0], site.inputs[0]):
                    rest = list(terms)
                    rest.remove(term)
                    rest.remove(w)
                    gone = names | between | {site.name, first.name} | sums
                    yield _Twice(total, first, site, factor, tuple(rest), gone)
                    return
            if factor == 1:
                known.append((site, w, between))


def _hides(diagram: Diagram, x: int, v: int) -> bool:
    """Whether the sum of two wires would hide one that other maps read too, behind what never changes."""
    for one, other in ((x, v), (v, x)):
        if isinstance(diagram.writer[one].rule, ComputedRule) and len(diagram.readers[other]) > 1:
            return True
    return False


def _terms(diagram: Diagram, total: Site) -> tuple[list[int], frozenset[str]]:
    """What a sum adds up, through the sums in it that nothing else reads, and the names of these."""
    terms: list[int] = []
    names: set[str] = set()
    waiting = list(total.inputs)[::-1]
    while waiting:
        w = waiting.pop()
        site = diagram.writer[w]
        places = {diagram.wires[v].positions for v in (*site.inputs, w)}
        if isinstance(site.rule, AddRule) and len(diagram.readers[w]) == len(places) == 1:
            names.add(site.name)
            waiting += site.inputs[::-1]
        else:
            terms.append(w)
    return terms, frozenset(names)


def _behind_factors(diagram: Diagram, w: int) -> tuple[Site, Fraction, frozenset[str]]:
    """What is multiplied by fixed factors that nothing else reads, their product, and their names."""
    factor, site = Fraction(1), diagram.writer[w]
    names: set[str] = set()
    while is_factor(site.rule) and isinstance(site.rule, PassRule) and len(diagram.readers[site.outputs[0]]) == 1:
        factor *= site.rule.factor
        names.add(site.name)
        site = diagram.writer[site.inputs[0]]
    return site, factor, frozenset(names)
