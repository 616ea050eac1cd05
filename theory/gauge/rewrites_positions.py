"""Token mixers in a row: the positions of a stream that only token mixers write and read are an axis of its own."""

from __future__ import annotations

from dataclasses import replace

from .contract import Rule, Site
from .diagram import Diagram, Wire
from .linalg import Number
from .rewrites import Rewrite
from .rules import AddRule, GainRule, HomogeneousRule, LinearRule, PassRule, PositionsRule, TokenMixRule


def join_positions(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws the positions of wires between token mixers as wires, if only token mixers tell one position from another.

    Between them may stand sums and maps of each position alone: linear ones, and point-wise homogeneous ones, which let
    a factor of each position through.
    """
    streams = _streams(diagram)
    if not streams:
        return diagram, []
    wires = list(diagram.wires)
    positions: dict[int, int] = {}
    for w in sorted(set().union(*streams)):
        positions[w] = len(wires)
        wires.append(Wire(f"positions of {wires[w].name}", wires[w].tokens))
    sites: list[Site] = []
    for site in diagram.sites:
        rule = site.rule
        ends = [w for w in (*site.inputs, *site.outputs) if w in positions]
        if not ends:
            sites.append(site)
        elif isinstance(rule, TokenMixRule):
            joined = (site.inputs[0] in positions, site.outputs[0] in positions)
            inner = (
                *site.inner[:2],
                *(positions.get(w, old) for w, old in zip(_ends(site), site.inner[2:], strict=True)),
            )
            sites.append(replace(site, rule=replace(rule, joined=joined), inner=inner))
        else:
            biased = isinstance(rule, (GainRule, LinearRule)) and rule.bias is not None
            passes = PositionsRule(wires[ends[0]].tokens, _power(rule), biased)
            inner = tuple(positions[w] for w in ends)
            sites += [site, Site(f"positions of {site.name}", passes, (), (), None, inner)]
    notes = [
        Rewrite(diagram.wires[min(s)].name, "only token mixers tell its positions apart, so they move together")
        for s in streams
    ]
    return replace(diagram, wires=tuple(wires), sites=tuple(sites)), notes


def _streams(diagram: Diagram) -> list[set[int]]:
    """Wires joined by maps of single positions, of which token mixers hold all ends."""
    seen: set[int] = set()
    streams = []
    for site in diagram.sites:
        if isinstance(site.rule, TokenMixRule) and site.outputs[0] not in seen:
            stream: set[int] = set()
            closed, todo = True, [site.outputs[0]]
            while todo:
                w = todo.pop()
                if w in stream:
                    continue
                stream.add(w)
                readers = [reader for reader, _ in diagram.readers[w]]
                closed &= bool(readers) and w in diagram.writer
                for near in [*readers, *([diagram.writer[w]] if w in diagram.writer else [])]:
                    if not isinstance(near.rule, TokenMixRule):
                        closed &= _by_position(near)
                        todo += _ends(near) if _by_position(near) else ()
            seen |= stream
            streams += [stream] if closed else []
    return streams


def _ends(site: Site) -> tuple[int, ...]:
    return (*site.inputs, *site.outputs)


def _by_position(site: Site) -> bool:
    """Whether a block reads every position by itself, and is the same at all of them but for a factor of noise."""
    match site.rule:
        case AddRule():
            return True
        case HomogeneousRule(mixes=False):
            return True
        case LinearRule(mixes=False, lookup=False, geometry=("linear",)):
            return True
        case GainRule():
            return True
        case PassRule(mixes=False, repeats=False, weights="same"):
            return True
    return False


def _power(rule: Rule) -> Number | None:
    """The degree of a map that lets only factors of positions through, None for one that any matrix passes."""
    if isinstance(rule, HomogeneousRule):
        return rule.power
    return 1 if rule.noisy else None
