"""Transposes of which it is not known what comes out of them again.

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
    AttentionRule,
    ComputedRule,
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

CURVED = (HomogeneousRule, PointwiseRule, ProductRule)  # through which diagonal matrices pass at most


@dataclass
class _Segment:
    """What reads a transpose.

    Attributes:
        front: the transpose.
        degrees: of the wires that depend on it, in a factor of its own for every position.
        ends: the transposes that turn it back, with the degree there.
        shifted: the wires where a constant was added to it, which no factor passes but one for all positions.
        curved: whether something is no linear map, so that no matrix but a diagonal one may pass.
        stopped: whether something lets no factor pass at all.
        lost: whether something may do anything else.
    """

    front: Site
    degrees: dict[int, Number]
    ends: dict[str, Number] = field(default_factory=dict)
    shifted: set[int] = field(default_factory=set)
    curved: bool = False
    stopped: bool = False
    lost: bool = False

    @property
    def settled(self) -> bool:
        """Whether no matrix but multiples of the identity can come out."""
        return self.stopped or (self.curved and not self.lost)


def name_narrow_turns(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Says at which transposes more may come out again than is known."""
    turns = [s for s in diagram.sites if isinstance(s.rule, TurnRule)]
    if not turns:
        return diagram, []
    still, moving = _still(diagram), _dependent(diagram)
    sites = []
    for site in diagram.sites:
        if isinstance(site.rule, TurnRule):
            own = _segment(diagram, site, still)
            near = [site.inputs[0], *(s.outputs[0] for s in turns if s.name in own.ends)]
            own.curved |= any(_diagonal(diagram, w) for w in near)
            open_ = site.rule.narrow and not own.settled
            site = replace(site, rule=replace(site.rule, narrow=site.inputs[0] not in moving or open_))
        sites.append(site)
    return diagram.with_sites(sites), []


def _diagonal(diagram: Diagram, w: int) -> bool:
    """Whether what writes or reads a wire lets diagonal matrices through at most."""
    around = [r for r, _ in diagram.readers[w]]
    around += [diagram.writer[w]] if w in diagram.writer else []
    rules = [s.rule for s in around]
    gains = any(isinstance(r, GainRule) and r.gain is not None for r in rules)
    return gains or any(isinstance(r, CURVED) or (isinstance(r, NormRule) and not r.centre) for r in rules)


def _segment(diagram: Diagram, front: Site, still: set[int]) -> _Segment:
    """What reads a transpose, up to those that turn it back."""
    y = front.outputs[0]
    out, positions = _Segment(front, {y: 1}), diagram.wires[y].positions
    for site in diagram.sites[diagram.place[front.name] + 1 :]:
        rule, known = site.rule, [out.degrees.get(w, 0) for w in site.inputs]
        late = not out.shifted.isdisjoint(site.inputs)
        if not any(known) and not late:
            continue
        if isinstance(rule, (OutputRule, PointwiseRule)):
            blind = isinstance(rule, OutputRule) and rule.loss.span == "scale"
            out.stopped, out.lost = out.stopped or not blind, out.lost or blind
            continue
        if isinstance(rule, AttentionRule) and not rule.power and not any(known[3:]):
            out.stopped = True  # keys and values of positions that softmax weighs, which no factor reaches
            continue
        if isinstance(rule, TurnRule):
            out.ends |= {site.name: known[0]} if known[0] else {}
            continue
        linear = isinstance(rule, (LinearRule, PassRule, AddRule, GainRule, ConcatRule))
        out.curved |= not linear
        biased = isinstance(rule, (LinearRule, GainRule)) and rule.bias is not None
        result = None if late else rule.degree(known, True)
        if not _alike(rule) or any(diagram.wires[w].positions != positions for w in site.outputs):
            out.lost = True
        elif result is not None:
            out.degrees |= dict.fromkeys(site.outputs, result) if result else {}
        elif biased or (late and isinstance(rule, (LinearRule, GainRule, HomogeneousRule, PassRule))):
            out.shifted |= set(site.outputs)
        elif isinstance(rule, AddRule) and not still.isdisjoint(site.inputs):
            out.stopped = True  # a term that no such factor reaches
        else:
            out.lost = True
    return out


def _alike(rule: Rule) -> bool:
    """Whether a rule is one of those that act on every position by itself, and in the same way."""
    if isinstance(rule, PassRule):
        return is_factor(rule)
    return isinstance(rule, (LinearRule, GainRule, AddRule, ProductRule, HomogeneousRule, ConcatRule, NormRule))


def _still(diagram: Diagram) -> set[int]:
    """Wires on which no factor can differ from position to position, whatever parameters answer."""
    found: set[int] = set()
    for site in diagram.sites:
        rule, known = site.rule, [w in found for w in site.inputs]
        local = isinstance(rule, NormRule) and rule.local and rule.scale
        alone = isinstance(rule, (LinearRule, GainRule, HomogeneousRule)) or (
            isinstance(rule, PassRule) and _alike(rule)
        )
        same = all(diagram.wires[v].positions == diagram.wires[w].positions for v in site.inputs for w in site.outputs)
        reached = isinstance(rule, (AddRule, ConcatRule)) and any(known)
        whole = isinstance(rule, ProductRule) and all(known)
        given = isinstance(rule, (SourceRule, ComputedRule, PointwiseRule)) or local
        if given or (same and (reached or whole or (alone and known[0]))):
            found |= set(site.outputs)
    return found


def _dependent(diagram: Diagram) -> set[int]:
    """The wires that depend on an input of the network."""
    found: set[int] = set()
    for site in diagram.sites:
        if isinstance(site.rule, SourceRule) or found & set(site.inputs):
            found |= set(site.outputs)
    return found


__all__ = ["name_narrow_turns"]
