"""Blocks whose outputs nothing sees: what they read does not matter, so that they ask nothing of it."""

from __future__ import annotations

from dataclasses import replace

from .contract import Site
from .diagram import Diagram
from .directions import Directions
from .rewrites import Rewrite
from .rules import DiscardRule, SourceRule


def feed_unseen(diagram: Diagram, directions: Directions) -> tuple[Diagram, list[Rewrite]]:
    """Draws what no loss feels as computed of inputs of its own; what it read is read by the others alone.

    Args:
        diagram: the network.
        directions: what the readers of its wires do not see.
    """
    unseen = {
        s.name
        for s in diagram.sites
        if s.inputs and s.outputs and all(directions.moving(y).covers(directions.layout(y)) for y in s.outputs)
    }
    writer = diagram.writer
    wires, sites, notes = list(diagram.wires), [], []
    for site in diagram.sites:
        # what is unseen as a whole, from its source on, is as free as it can be
        outside = [w for w in site.inputs if w in writer and not _closed(writer[w], unseen)]
        if site.name not in unseen or not outside:
            sites.append(site)
            continue
        own: dict[int, int] = {}
        for w in outside:
            if w not in own:
                own[w] = len(wires)
                wires.append(replace(wires[w], name=f"{wires[w].name} unseen by {site.name}"))
                sites.append(Site(f"{site.name} of its own {len(own)}", SourceRule(), (), (own[w],)))
                sites.append(Site(f"{site.name} unseen {len(own)}", DiscardRule(), (w,), ()))
        sites.append(replace(site, inputs=tuple(own.get(w, w) for w in site.inputs), function=None))
        notes.append(Rewrite(site.name, "nothing sees what it gives, so what it reads does not matter"))
    return replace(diagram, sites=tuple(sites), wires=tuple(wires)), notes


def as_computed(diagram: Diagram) -> Diagram:
    """Undoes `feed_unseen`: the function depends on scores that only choose, though no gradient does."""
    place = diagram.place
    sites: list[Site] = []
    gone: set[str] = set()
    for site in diagram.sites:
        before: dict[int, int] = {}
        while f"{site.name} of its own {len(before) + 1}" in place:
            pair = [f"{site.name} {what} {len(before) + 1}" for what in ("of its own", "unseen")]
            source, discard = (diagram.sites[place[n]] for n in pair)
            before[source.outputs[0]] = discard.inputs[0]
            gone |= set(pair)
        sites.append(replace(site, inputs=tuple(before.get(w, w) for w in site.inputs)) if before else site)
    return replace(diagram, sites=tuple(s for s in sites if s.name not in gone)) if gone else diagram


def _closed(site: Site, unseen: set[str]) -> bool:
    """Whether a block reads nothing that is trained and seen."""
    return site.name in unseen or isinstance(site.rule, SourceRule)
