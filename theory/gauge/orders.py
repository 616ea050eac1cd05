"""Moves of features between blocks that keep their order (`cat`, `split`): what goes to one place is cut out of a wire.

`straighten` names the features of a wire anew where every block next to it can be told.  A cut or a join cannot: there
each part takes its own features out of the wire (a channel shuffle before a split becomes a shuffle within each half,
which the maps behind it can be told), and what is left is drawn as runs of features side by side in another order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from .contract import Site
from .diagram import Diagram, Wire
from .rewrites import Rewrite
from .rules import ConcatRule, ReorderRule

MOST = 32  # runs of features that one move is drawn as
ALL = 128  # and all moves of a network together: every run has laws of its own

Run = tuple[int, int]  # the first feature and the one after the last


def through_cuts(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws a move of features before a cut as one within each of the parts."""
    drawn: dict[str, list[Site]] = {}
    wires, notes = list(diagram.wires), []
    for site in diagram.sites:
        after = diagram.readers[site.outputs[0]] if isinstance(site.rule, ReorderRule) else ()
        cut = after[0][0] if len(after) == 1 else None
        if cut is None or not isinstance(cut.rule, ConcatRule) or not cut.rule.cut:
            continue
        assert isinstance(site.rule, ReorderRule)
        order, owner = site.rule.order, [0] * len(site.rule.order)
        parts, at = [], 0
        for k, w in enumerate(cut.outputs):
            parts.append(order[at : at + wires[w].size])
            at += wires[w].size
            for i in parts[-1]:
                owner[i] = k
        groups = [list(g) for _, g in itertools.groupby(range(at), owner.__getitem__)]
        runs = [(g[0], g[-1] + 1) for g in groups]
        if len(runs) > MOST:
            continue
        pieces = _pieces(wires, site.inputs[0], runs)
        made = [Site(f"{site.name} cut", ConcatRule(cut=True), (site.inputs[0],), pieces)]
        for k, (w, own) in enumerate(zip(cut.outputs, parts, strict=True)):
            mine = [(r, p) for r, p in zip(runs, pieces, strict=True) if owner[r[0]] == k]
            place = {i: n for n, i in enumerate(i for (a, b), _ in mine for i in range(a, b))}
            wires.append(replace(wires[w], name=f"{wires[w].name} as it was"))
            made.append(Site(f"{site.name} part {k}", ConcatRule(), tuple(p for _, p in mine), (len(wires) - 1,)))
            made.append(Site(f"{site.name} in {k}", ReorderRule(tuple(place[i] for i in own)), (len(wires) - 1,), (w,)))
        drawn[site.name], drawn[cut.name] = [], made
        notes.append(Rewrite(site.name, f"the features are moved within each part of {cut.name}"))
    return _redrawn(diagram, wires, drawn), notes


def side_by_side(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws moves of features as runs of them that are put side by side in another order."""
    drawn: dict[str, list[Site]] = {}
    wires, notes, left = list(diagram.wires), [], ALL
    found = [(_moved(s.rule.order), s) for s in diagram.sites if isinstance(s.rule, ReorderRule)]
    for moved, site in sorted(found, key=lambda each: len(each[0])):
        left -= len(moved)
        if len(moved) > MOST or left < 0:
            break
        runs = sorted(moved)
        pieces = dict(zip(runs, _pieces(wires, site.inputs[0], runs), strict=True))
        cut = Site(f"{site.name} cut", ConcatRule(cut=True), site.inputs, tuple(pieces.values()))
        drawn[site.name] = [cut, Site(site.name, ConcatRule(), tuple(pieces[r] for r in moved), site.outputs)]
        notes.append(Rewrite(site.name, "the features are put side by side in another order"))
    return _redrawn(diagram, wires, drawn), notes


def _moved(order: Sequence[int]) -> list[Run]:
    """The runs of neighbours that an order of features puts side by side."""
    out: list[Run] = []
    for k in order:
        if out and out[-1][1] == k:
            out[-1] = (out[-1][0], k + 1)
        else:
            out.append((k, k + 1))
    return out


def _pieces(wires: list[Wire], x: int, runs: Sequence[Run]) -> tuple[int, ...]:
    """New wires for runs of the features of a wire."""
    first = len(wires)
    wires += [replace(wires[x], name=f"{wires[x].name}[{a}:{b}]", size=b - a) for a, b in runs]
    return tuple(range(first, len(wires)))


def _redrawn(diagram: Diagram, wires: Sequence[Wire], drawn: dict[str, list[Site]]) -> Diagram:
    sites = [s for site in diagram.sites for s in drawn.get(site.name, [site])]
    return replace(diagram, sites=tuple(sites), wires=tuple(wires)) if drawn else diagram


__all__ = ["side_by_side", "through_cuts"]
