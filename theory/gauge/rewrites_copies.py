"""Rewrites of what is done to copies of features.

*Activations first*: what is done to copies of a feature alike is done to the feature before it is copied; a sum of
copies is copies of a sum.
*Norms first*: the mean and the size of features are those of as many copies of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .contract import Site
from .diagram import Diagram, Wire
from .rewrites import Rewrite
from .rewrites_parts import replaced
from .rules import AddRule, ConcatRule, HomogeneousRule, NormRule, PassRule, PointwiseRule, RepeatRule


def activate_first(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws an activation of copies as copies of an activation, and a sum of copies as copies of a sum."""
    notes = []
    while True:
        if total := next(_copies_added(diagram), None):
            notes.append(Rewrite(total[0].name, "copies of features are added up alike"))
            diagram = _added_once(diagram, *total)
            continue
        if (found := next(_copies_activated(diagram), None)) is None:
            break
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


def _copies_added(diagram: Diagram) -> Iterator[tuple[Site, list[Site]]]:
    """Sums of nothing but copies, as many of each, with what copies them."""
    for site in diagram.sites:
        if isinstance(site.rule, AddRule):
            before = [_behind_moves(diagram, w) for w in site.inputs]
            if all(isinstance(s.rule, RepeatRule) and s.rule == before[0].rule for s in before):
                yield site, before


def _behind_moves(diagram: Diagram, w: int) -> Site:
    """What writes a wire, behind moves of positions that change nothing."""
    site = diagram.writer[w]
    while site.rule == PassRule():
        site = diagram.writer[site.inputs[0]]
    return site


def _added_once(diagram: Diagram, total: Site, before: Sequence[Site]) -> Diagram:
    wires, y = list(diagram.wires), total.outputs[0]
    wires.append(replace(wires[y], name=f"{wires[y].name} once", size=wires[before[0].inputs[0]].size))
    once = replace(total, inputs=tuple(s.inputs[0] for s in before), outputs=(len(wires) - 1,))
    copies = Site(f"{total.name} copies", before[0].rule, once.outputs, (y,))
    diagram = replaced(diagram, wires, diagram.parameters, {total.name: [once, copies]})
    while unread := [
        s.name
        for s in diagram.sites
        if isinstance(s.rule, (PassRule, RepeatRule)) and not any(diagram.readers[w] for w in s.outputs)
    ]:
        diagram = replaced(diagram, list(diagram.wires), diagram.parameters, {n: [] for n in unread})
    return diagram


def _copies_activated(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Activations of copies, or of features that copies are among, with what copies or joins them."""
    writer = diagram.writer

    for site in diagram.sites:
        rule = site.rule
        one = isinstance(rule, PointwiseRule) and rule.alike
        if isinstance(rule, HomogeneousRule):
            one = (rule.alike or rule.mixes or rule.negative is not None) and not (rule.noisy or rule.slope)
        before = writer.get(site.inputs[0]) if one and len(site.inputs) == 1 else None
        if before is None or (not rule.mixes and _positions(diagram, site.inputs[0], site.outputs[0]) > 1):
            continue
        if _positions(diagram, *before.inputs, site.inputs[0]) > 1:
            continue
        if copied(before, writer):
            yield site, before


def _positions(diagram: Diagram, *wires: int) -> int:
    """How many numbers of positions some wires have."""
    return len({diagram.wires[w].positions for w in wires})


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
        diagram = replaced(diagram, wires, diagram.parameters, {site.name: made})
        if not diagram.readers[before.outputs[0]]:
            diagram = replaced(diagram, list(diagram.wires), diagram.parameters, {before.name: []})
    return diagram, notes


def _copies_normalised(diagram: Diagram) -> Iterator[tuple[Site, Site]]:
    """Norms of as many copies of each feature, with what copies or joins them."""
    writer = diagram.writer
    for site in diagram.sites:
        if not isinstance(site.rule, NormRule) or site.rule.groups > 1:
            continue
        before = writer.get(site.inputs[0])
        if before is None or _positions(diagram, *before.inputs, *site.inputs) > 1:
            continue
        joins = isinstance(before.rule, ConcatRule) and not before.rule.cut
        times = set(Counter(before.inputs).values())
        if isinstance(before.rule, RepeatRule) or (joins and len(times) == 1 and times != {1}):
            yield site, before
