"""Rewrites of moves and cuts of features: each wire is cut once, and what nothing reads is a part of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from .contract import Site
from .diagram import Diagram
from .rewrites import Rewrite
from .rules import (
    ConcatRule,
    DiscardRule,
    FlattenRule,
    HomogeneousRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    RepeatRule,
    SumFeaturesRule,
)


def draw_identities(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a move of features that moves nothing (a flattening of one position) as a copy."""
    sites, notes = [], []
    for site in diagram.sites:
        rule = site.rule
        flat = isinstance(rule, FlattenRule) and rule.before == rule.after == 1
        once = isinstance(rule, (RepeatRule, SumFeaturesRule)) and rule.copies == 1
        if (flat or once) and diagram.wires[site.inputs[0]].positions == diagram.wires[site.outputs[0]].positions:
            notes.append(Rewrite(site.name, "moves nothing"))
            site = replace(site, rule=PassRule())
        sites.append(site)
    return diagram.with_sites(sites), notes


def cut_first(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws an activation, or a product, of which some features are not read as one of the others only."""
    notes: list[Rewrite] = []
    while found := next(_cut_afterwards(diagram), None):
        site, cut, copies = found
        unread = {w for w in cut.outputs if all(isinstance(r.rule, DiscardRule) for r, _ in diagram.readers[w])}
        wires = list(diagram.wires)
        cuts: list[Site] = []
        after: list[Site] = []
        parts: list[list[int]] = [[] for _ in cut.outputs]  # for every part of the output those of all inputs
        for x in dict.fromkeys(site.inputs):
            moved = tuple(range(len(wires), len(wires) + len(cut.outputs)))
            wires += [
                replace(wires[x], name=f"{wires[x].name}[{i}]", size=wires[w].size) for i, w in enumerate(cut.outputs)
            ]
            name = cut.name if not cuts else f"{cut.name} of {wires[x].name}"
            cuts.append(replace(cut, name=name, inputs=(x,), outputs=moved))
            for i, w in enumerate(moved):
                parts[i] += [w]
        place = {x: k for k, x in enumerate(dict.fromkeys(site.inputs))}
        for i, w in enumerate(cut.outputs):
            own = tuple(parts[i][place[x]] for x in site.inputs)
            if w not in unread:
                after.append(replace(site, name=f"{site.name}[{i}]", inputs=own, outputs=(w,)))
            else:
                after += [Site(f"{site.name}[{i}] unread {k}", DiscardRule(), (v,), ()) for k, v in enumerate(parts[i])]
        sites = [s for s in diagram.sites if s is not cut and s.name not in copies and not set(s.inputs) & unread]
        at = sites.index(site)
        notes.append(Rewrite(site.name, "only some of its features are read"))
        diagram = replace(diagram, sites=(*sites[:at], *cuts, *after, *sites[at + 1 :]), wires=tuple(wires))
    return diagram, notes


def _cut_afterwards(diagram: Diagram) -> Iterator[tuple[Site, Site, set[str]]]:
    """Activations and products that only a cut reads of whose parts some are dropped: the cut, and copies before it."""
    for site in diagram.sites:
        rule = site.rule
        plain = isinstance(rule, HomogeneousRule) and not (rule.noisy or rule.mixes or rule.slope)
        if plain or isinstance(rule, (PointwiseRule, ProductRule)):
            copies, after = set(), diagram.readers[site.outputs[0]]
            while len(after) == 1 and after[0][0].rule == PassRule():
                copies.add(after[0][0].name)
                after = diagram.readers[after[0][0].outputs[0]]
            if len(after) == 1 and isinstance(after[0][0].rule, ConcatRule) and after[0][0].rule.cut:
                parts = [[r.rule for r, _ in diagram.readers[w]] for w in after[0][0].outputs]
                if any(all(isinstance(r, DiscardRule) for r in readers) for readers in parts):
                    yield site, after[0][0], copies


def merge_cuts(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws all cuts of a wire, also cuts of its parts, as the one finest cut: what nothing reads is then a part."""
    whole: dict[int, tuple[int, int]] = {}  # for every part the wire that it is cut from, and where it starts
    cuts: dict[int, list[Site]] = {}
    for site in diagram.sites:
        if isinstance(site.rule, ConcatRule) and site.rule.cut:
            root, at = whole.get(site.inputs[0], (site.inputs[0], 0))
            cuts.setdefault(root, []).append(site)
            for w in site.outputs:
                whole[w] = (root, at)
                at += diagram.wires[w].size
    many = {root: found for root, found in cuts.items() if len(found) > 1}
    if not many:
        return diagram, []
    wires = list(diagram.wires)
    drawn: dict[str, list[Site]] = {}  # what stands in the place of a cut
    same: dict[int, int] = {}
    gone: set[int] = set()
    for root, found in many.items():
        parts = [w for site in found for w in site.outputs]
        edges = sorted({e for w in parts for e in (whole[w][1], whole[w][1] + wires[w].size)})
        own: dict[tuple[int, int], int] = {}
        joins = []
        for w in parts:
            start, stop = whole[w][1], whole[w][1] + wires[w].size
            if (start, stop) in itertools.pairwise(edges):
                same[w] = own.setdefault((start, stop), w)
        for start, stop in itertools.pairwise(edges):
            if (start, stop) not in own:
                own[start, stop] = len(wires)
                wires.append(replace(wires[root], name=f"{wires[root].name}[{start}:{stop}]", size=stop - start))
        for i, w in enumerate(parts):
            start, stop = whole[w][1], whole[w][1] + wires[w].size
            if w not in same:
                readers = [r.rule for r, _ in diagram.readers[w]]
                pieces = tuple(own[e] for e in itertools.pairwise(edges) if start <= e[0] and e[1] <= stop)
                if all(isinstance(r, DiscardRule) or (isinstance(r, ConcatRule) and r.cut) for r in readers):
                    gone.add(w)
                else:
                    joins.append(Site(f"{found[0].name} part {i}", ConcatRule(), pieces, (w,)))
        cut = replace(found[0], inputs=(root,), outputs=tuple(own[e] for e in itertools.pairwise(edges)))
        drawn |= {site.name: [] for site in found} | {found[0].name: [cut, *joins]}
    sites: list[Site] = []
    for site in diagram.sites:
        if site.name in drawn:
            sites += drawn[site.name]
        elif not (
            isinstance(site.rule, DiscardRule) and (site.inputs[0] in gone or same.get(site.inputs[0]) is not None)
        ):
            sites.append(replace(site, inputs=tuple(same.get(w, w) for w in site.inputs)))
    read = {w for s in sites for w in s.inputs}
    for found in drawn.values():
        ends = [w for site in found[:1] for w in site.outputs if w not in read]
        sites += [Site(f"{found[0].name} unread {i}", DiscardRule(), (w,), ()) for i, w in enumerate(ends)]
    notes = [Rewrite(found[0].name, "all cuts of the wire are one") for found in many.values()]
    return replace(diagram, sites=tuple(sites), wires=tuple(wires)), notes
