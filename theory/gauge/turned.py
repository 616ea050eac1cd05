"""Rewrite before solving: what comes out of a transpose again, through what acts on all positions alike.

Between a transpose and those that turn it back, the features of the outer wire are positions.  Blocks that act on every
position by itself are functions of one such feature: if they are homogeneous, a factor on it comes out with their
degree; if they are linear, every matrix does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .contract import Rule, Site
from .diagram import Diagram
from .linalg import Number
from .rewrites import Rewrite, is_factor
from .rules import (
    AddRule,
    ConcatRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    ProductRule,
    SourceRule,
    TurnRule,
)


@dataclass
class _Segment:
    """What reads a transpose.

    Attributes:
        front: the transpose.
        degrees: of the wires that depend on it, in a factor of its own for every position.
        ends: the transposes that turn it back, with the degree there.
        linear: whether all of it is linear.
        shifted: the wires where a constant was added to it, which no factor passes but one for all positions.
        curved: whether something is no linear map, so that no matrix but a diagonal one may pass.
        stopped: whether something lets no factor pass at all.
        lost: whether something may do anything else.
    """

    front: Site
    degrees: dict[int, Number]
    ends: dict[str, Number] = field(default_factory=dict)
    linear: bool = True
    shifted: set[int] = field(default_factory=set)
    curved: bool = False
    stopped: bool = False
    lost: bool = False

    @property
    def whole(self) -> bool:
        """Whether every factor comes out."""
        return not self.shifted and not self.stopped and not self.lost

    @property
    def settled(self) -> bool:
        """Whether nothing but what is listed can come out."""
        return self.whole or self.stopped or (self.curved and not self.lost)


def link_turns(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Gives transposes what comes out of them again, and says where more may than is known."""
    turns = [s for s in diagram.sites if isinstance(s.rule, TurnRule)]
    if not turns:
        return diagram, []
    segments = {s.name: _segment(diagram, s) for s in turns}
    fronts: dict[str, list[_Segment]] = {}
    for each in segments.values():
        for end in each.ends:
            fronts.setdefault(end, []).append(each)
    shared = {s.front.name for found in fronts.values() if len(found) > 1 for s in found}
    passing = {n: s for n, s in segments.items() if s.whole and s.ends and n not in shared}
    moving = _dependent(diagram)
    sites, notes = [], []
    for site in diagram.sites:
        if not isinstance(site.rule, TurnRule):
            sites.append(site)
            continue
        own = segments[site.name]
        settled = own.settled and site.name not in shared
        rule = replace(site.rule, narrow=site.inputs[0] not in moving or not settled)
        if site.name in passing:
            rule = replace(rule, open="full" if own.linear else "diagonal")
        inputs = site.inputs[:1]
        for found in fronts.get(site.name, []):
            if found.front.name in passing:
                inputs = (*inputs, found.front.inputs[0])
                rule = replace(rule, power=found.ends[site.name], linear=found.linear)
                notes.append(Rewrite(site.name, f"turns back what {found.front.name} turned, position by position"))
        sites.append(replace(site, rule=rule, inputs=inputs))
    return diagram.with_sites(sites), notes


def _segment(diagram: Diagram, front: Site) -> _Segment:
    """What reads a transpose, up to those that turn it back."""
    y = front.outputs[0]
    out, positions = _Segment(front, {y: 1}), diagram.wires[y].positions
    for site in diagram.sites[diagram.place[front.name] + 1 :]:
        rule, known = site.rule, [out.degrees.get(w, 0) for w in site.inputs]
        late = not out.shifted.isdisjoint(site.inputs)
        if not any(known) and not late:
            continue
        if isinstance(rule, (OutputRule, PointwiseRule)):
            out.stopped = True
            continue
        if isinstance(rule, TurnRule):
            out.ends |= {site.name: known[0]} if known[0] else {}
            continue
        linear = isinstance(rule, (LinearRule, PassRule, AddRule, GainRule, ConcatRule))
        out.linear &= linear
        out.curved |= not linear
        biased = isinstance(rule, (LinearRule, GainRule)) and rule.bias is not None
        result = None if late else rule.degree(known, True)
        if not _alike(rule) or any(diagram.wires[w].positions != positions for w in site.outputs):
            out.lost = True
        elif result is not None:
            out.degrees |= dict.fromkeys(site.outputs, result) if result else {}
        elif biased or (late and isinstance(rule, (LinearRule, GainRule, HomogeneousRule, PassRule))):
            out.shifted |= set(site.outputs)
        else:
            out.lost = True
    return out


def _alike(rule: Rule) -> bool:
    """Whether a rule is one of those that act on every position by itself, and in the same way."""
    if isinstance(rule, PassRule):
        return is_factor(rule)
    return isinstance(rule, (LinearRule, GainRule, AddRule, ProductRule, HomogeneousRule, ConcatRule, NormRule))


def _dependent(diagram: Diagram) -> set[int]:
    """The wires that depend on an input of the network."""
    found: set[int] = set()
    for site in diagram.sites:
        if isinstance(site.rule, SourceRule) or found & set(site.inputs):
            found |= set(site.outputs)
    return found


__all__ = ["link_turns"]
