"""Rewrites of maps next to cuts and joins of features, and of activations of copies.

*Parts of maps*: `V` of features that are put side by side is a sum of maps of its columns, and features of `U` that are
taken apart are those of maps of its rows.  Side by side or not, maps of one wire into one sum are one wire together.
*Activations first*: what is done to copies of a feature alike is done to the feature before it is copied.
*Norms first*: the mean and the size of features are those of as many copies of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ..parts import viewed
from .contract import Site
from .diagram import Diagram, Parameter, Wire
from .rewrites import Rewrite, is_factor
from .rules import (
    AddRule,
    ConcatRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    PassRule,
    PointwiseRule,
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
    return _replaced(diagram, wires, parameters, {join.name: [], site.name: [*made, total]})


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
    return _replaced(diagram, list(diagram.wires), parameters, {cut.name: [], site.name: made})


def _replaced(
    diagram: Diagram, wires: list[Wire], parameters: dict[str, Parameter], drawn: dict[str, list[Site]]
) -> Diagram:
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
    return _replaced(diagram, wires, diagram.parameters, {site.name: made})


def shared_maps(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws `W u + a W v` as the one map `W (u + a v)`."""
    notes = []
    while found := next(_twice_in_a_sum(diagram), None):
        total, first, second, factor, between = found
        notes.append(Rewrite(second.name, f"with {first.name} it is one map of a sum"))
        wires, x = list(diagram.wires), first.inputs[0]
        made, v = [], second.inputs[0]
        if factor != 1:
            wires.append(replace(wires[v], name=f"{wires[v].name} scaled"))
            made.append(Site(f"{second.name} scaled", PassRule(factor=factor), (v,), (len(wires) - 1,)))
            v = len(wires) - 1
        wires.append(replace(wires[x], name=f"{wires[x].name} sum"))
        made.append(Site(f"{first.name} sum", AddRule(), (x, v), (len(wires) - 1,)))
        one = replace(first, inputs=(len(wires) - 1,), function=None)
        rest = [w for w in total.inputs if w not in (first.outputs[0], between)]
        last = replace(total, inputs=(one.outputs[0], *rest), rule=total.rule if rest else PassRule())
        gone = {first.name, second.name, *_factors_after(diagram, second, total)}
        sites = [s for s in diagram.sites if s.name not in gone]
        at = next(i for i, s in enumerate(sites) if s.name == total.name)
        sites[at : at + 1] = [*made, one, last]
        diagram = replace(diagram, wires=tuple(wires), sites=tuple(sites))
    return diagram, notes


def _factors_after(diagram: Diagram, site: Site, total: Site) -> list[str]:
    """The fixed factors between a map and a sum."""
    found = []
    while (after := diagram.readers[site.outputs[0]][0][0]).name != total.name:
        found.append(after.name)
        site = after
    return found


def _twice_in_a_sum(diagram: Diagram) -> Iterator[tuple[Site, Site, Site, Fraction, int]]:
    """Sums with two terms by one map, the second of them times a factor: the sum, the maps, the factor, the term."""
    writer = diagram.writer
    for total in diagram.sites:
        if not isinstance(total.rule, AddRule):
            continue
        known: list[tuple[Site, int]] = []
        for w in total.inputs:
            factor, site = Fraction(1), writer[w]
            while is_factor(site.rule) and isinstance(site.rule, PassRule) and len(diagram.readers[w]) == 1:
                factor *= site.rule.factor
                site = writer[site.inputs[0]]
                if len(diagram.readers[site.outputs[0]]) != 1:
                    break
            rule = site.rule
            if not isinstance(rule, LinearRule) or rule.bias or rule.lookup or rule.rows or rule.groups > 1:
                continue
            if len(diagram.readers[site.outputs[0]]) != 1 or len(diagram.readers[w]) != 1:
                continue
            for first, _ in known:
                x, v = (diagram.wires[s.inputs[0]] for s in (first, site))
                if first.rule == rule and (x.tokens, x.positions) == (v.tokens, v.positions):
                    yield total, first, site, factor, w
                    return
            if factor == 1:
                known.append((site, w))


def activate_first(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws an activation of copies as copies of an activation."""
    notes = []
    while found := next(_copies_activated(diagram), None):
        site, before = found
        notes.append(Rewrite(site.name, "copies of a feature are activated alike"))
        wires, sites = list(diagram.wires), []
        x, y = site.inputs[0], site.outputs[0]
        made: list[Site] = []
        inner = []
        for i, w in enumerate(before.inputs):
            inner.append(len(wires))
            wires.append(replace(wires[y], name=f"{wires[y].name}[{i}]", size=wires[w].size))
            name = site.name if len(before.inputs) == 1 else f"{site.name}[{i}]"
            made.append(replace(site, name=name, inputs=(w,), outputs=(inner[-1],)))
        made.append(replace(before, name=f"{before.name} after {site.name}", inputs=tuple(inner), outputs=(y,)))
        alone = len(diagram.readers[x]) == 1
        for each in diagram.sites:
            if each is site:
                sites += made
            elif each is not before or not alone:
                sites.append(each)
        diagram = replace(diagram, wires=tuple(wires), sites=tuple(sites))
    return diagram, notes


def _copies_activated(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Activations of copies, or of features that copies are among, with what copies or joins them."""
    writer = diagram.writer

    for site in diagram.sites:
        rule = site.rule
        one = isinstance(rule, PointwiseRule) and rule.alike
        if isinstance(rule, HomogeneousRule):
            one = (rule.alike or rule.negative is not None) and not (rule.noisy or rule.mixes or rule.slope)
        before = writer.get(site.inputs[0]) if one else None
        if before is None or diagram.wires[site.inputs[0]].positions != diagram.wires[site.outputs[0]].positions:
            continue
        if any(diagram.wires[w].positions != diagram.wires[site.inputs[0]].positions for w in before.inputs):
            continue
        if copied(before, writer):
            yield site, before


def copied(site: Site | None, writer: Mapping[int, Site]) -> bool:
    """Whether copies of features come out of a site, maybe among others."""
    while site is not None and site.rule == PassRule():
        site = writer.get(site.inputs[0])
    if site is None:
        return False
    if isinstance(site.rule, ConcatRule) and not site.rule.cut:
        return any(copied(writer.get(w), writer) for w in site.inputs)
    return isinstance(site.rule, RepeatRule)


def normalise_first(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a norm of as many copies of every feature as copies of a norm."""
    notes = []
    while found := next(_copies_normalised(diagram), None):
        site, before = found
        notes.append(Rewrite(site.name, "as many copies of each feature have one mean and one size"))
        wires, (y,) = list(diagram.wires), site.outputs
        parts = tuple(dict.fromkeys(before.inputs))

        def added(like: int, size: int, wires: list[Wire] = wires) -> int:
            wires.append(replace(wires[like], name=f"{wires[like].name} once", size=size))
            return len(wires) - 1

        made: list[Site] = []
        whole = parts[0]
        if len(parts) > 1:
            whole = added(site.inputs[0], sum(wires[w].size for w in parts))
            made.append(Site(f"{before.name} once", ConcatRule(), parts, (whole,)))
        normed = added(y, wires[whole].size)
        made.append(replace(site, inputs=(whole,), outputs=(normed,)))
        once = {parts[0]: normed}
        if len(parts) > 1:
            once = {w: added(y, wires[w].size) for w in parts}
            made.append(Site(f"{before.name} apart", ConcatRule(cut=True), (normed,), tuple(once.values())))
        copies = tuple(once[w] for w in before.inputs)
        made.append(replace(before, name=f"{before.name} after {site.name}", inputs=copies, outputs=(y,)))
        diagram = _replaced(diagram, wires, diagram.parameters, {site.name: made})
        if not diagram.readers[before.outputs[0]]:
            diagram = _replaced(diagram, list(diagram.wires), diagram.parameters, {before.name: []})
    return diagram, notes


def _copies_normalised(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Norms of as many copies of each feature, with what copies or joins them."""
    writer = diagram.writer
    for site in diagram.sites:
        if not isinstance(site.rule, NormRule) or site.rule.groups > 1:
            continue
        before = writer.get(site.inputs[0])
        if before is None or len({diagram.wires[w].positions for w in (*before.inputs, *site.inputs)}) > 1:
            continue
        joins = isinstance(before.rule, ConcatRule) and not before.rule.cut
        times = set(Counter(before.inputs).values())
        if isinstance(before.rule, RepeatRule) or (joins and len(times) == 1 and times != {1}):
            yield site, before
