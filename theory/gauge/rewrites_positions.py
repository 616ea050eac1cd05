"""Positions between transposes: a stream that only transposes write and read has its positions as an axis of its own.

A mixer of tokens is drawn as what it is, two maps between two transposes.  Between a transpose and those that turn it
back, blocks act on every position alike: a linear one lets every matrix on the positions through, a homogeneous one a
factor of each position.  What a transpose reads of such a stream are its positions, as features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .contract import Rule, Site
from .diagram import Diagram, Wire
from .linalg import Number
from .rewrites import Rewrite
from .rules import (
    AddRule,
    AttentionRule,
    BatchNormRule,
    ComputedRule,
    ConcatRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    NormRule,
    OutputRule,
    PassRule,
    PointwiseRule,
    PositionsRule,
    ProductRule,
    SourceRule,
    TokenMixRule,
    TurnRule,
)


def draw_token_mixers(diagram: Diagram) -> tuple[Diagram, list[Rewrite]]:
    """Draws mixers of tokens as two linear maps and a point-wise one between two transposes."""
    wires, sites = list(diagram.wires), []
    for site in diagram.sites:
        rule = site.rule
        if not isinstance(rule, TokenMixRule):
            sites.append(site)
            continue
        (x,), (y,), (before, after, read, written) = site.inputs, site.outputs, site.inner
        channels = wires[x].size
        for w in site.inner:
            wires[w] = replace(wires[w], tokens=channels, positions=channels, space=(channels,))
        w1, b1, w2, b2 = rule.names
        steps: tuple[tuple[str, Rule, int, int], ...] = (
            (" to positions", TurnRule(), x, read),
            (" (W_1)", LinearRule(w1, (rule.hidden, rule.tokens), b1, geometry=("linear",)), read, before),
            (" (f)", rule.between, before, after),
            (" (W_2)", LinearRule(w2, (rule.tokens, rule.hidden), b2, geometry=("linear",)), after, written),
            ("", TurnRule(), written, y),
        )
        for name, step, a, b in steps:
            sites.append(Site(site.name + name, step, (a,), (b,)))
    return replace(diagram, wires=tuple(wires), sites=tuple(sites)), []


@dataclass
class _Stream:
    """Wires joined by what acts on every position alike.

    Attributes:
        wires: the wires.
        ends: the wires that something else writes or reads, which tells positions apart.
        rigid: whether one of these ends lets no position move, whatever parameters answer.
        lengths: numbers of positions along the axes that transposes turn, and these axes.
        product: whether something is multiplied.
    """

    wires: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)
    rigid: bool = False
    lengths: set[tuple[int, int]] = field(default_factory=set)
    product: bool = False

    @property
    def moves(self) -> bool:
        """Whether positions may move at all: an end stops all but what is multiplied by something else."""
        return len(self.lengths) == 1 and (self.product or not self.ends)

    @property
    def known(self) -> bool:
        """Whether all is said of how its positions move."""
        return self.moves or (self.rigid and not self.product)


def join_positions(diagram: Diagram, exact: bool = False) -> tuple[Diagram, list[Rewrite]]:
    """Draws the positions of streams between transposes as wires; if `exact`, a norm with an epsilon sees all."""
    found = _streams(diagram, exact)
    streams = [s for s in found if s.moves]
    settled = set().union(*(s.wires for s in found if s.known))
    if not settled:
        return diagram, []
    wires, positions = list(diagram.wires), dict[int, int]()
    added: dict[str, list[Site]] = {}

    def add(site: Site, rule: PositionsRule, inner: Iterable[int]) -> None:
        beside = added.setdefault(site.name, [])
        name = f"positions of {site.name}" + (f", {len(beside) + 1}" if beside else "")
        beside.append(Site(name, rule, (), (), None, tuple(inner)))

    for stream in streams:
        ((length, _),) = stream.lengths
        for w in sorted(stream.wires):
            turned = [s.outputs[0] for s in _turns_at(diagram, w) if s.inputs[0] == w]
            turned += [s.inputs[0] for s in _turns_at(diagram, w) if s.outputs[0] == w]
            if not turned:
                wires.append(Wire(f"positions of {wires[w].name}", length))
            positions[w], *others = turned or [len(wires) - 1]
            for other in others:
                if other != positions[w]:
                    add(_turns_at(diagram, w)[0], PositionsRule(length), (positions[w], other))
        for w in sorted(stream.ends):
            add(_next_to(diagram, w)[0], PositionsRule(length, end="closed"), (positions[w],))
    sites: list[Site] = []
    for site in diagram.sites:
        ends = [w for w in (*site.inputs, *site.outputs) if w in positions]
        if isinstance(site.rule, TurnRule):
            joined = (site.inputs[0] in positions, site.outputs[0] in positions)
            site = replace(site, rule=replace(site.rule, joined=joined, narrow=site.outputs[0] not in settled))
        elif ends and _by_position(site):
            biased = isinstance(site.rule, (GainRule, LinearRule)) and site.rule.bias is not None
            product = isinstance(site.rule, ProductRule)
            rule = PositionsRule(wires[positions[ends[0]]].size, _power(site.rule), biased, product)
            if len(ends) == len(site.inputs) + len(site.outputs):
                add(site, rule, (positions[w] for w in ends))
        elif ends and _unseen(site, exact):
            for w in dict.fromkeys(w for w in site.inputs if w in positions):
                add(site, PositionsRule(wires[positions[w]].size, end="unseen"), (positions[w],))
        sites += [site, *added.get(site.name, [])]
    notes = [
        Rewrite(diagram.wires[min(s.wires)].name, "only transposes tell its positions apart, so they move together")
        for s in streams
    ]
    return replace(diagram, wires=tuple(wires), sites=tuple(sites)), notes


def _streams(diagram: Diagram, exact: bool) -> list[_Stream]:
    """The streams that transposes write."""
    seen: set[int] = set()
    streams = []
    for turn in diagram.sites:
        if not isinstance(turn.rule, TurnRule) or turn.outputs[0] in seen:
            continue
        stream, todo = _Stream(), [turn.outputs[0]]
        positions = diagram.wires[turn.outputs[0]].positions
        while todo:
            w = todo.pop()
            if w in stream.wires:
                continue
            stream.wires.add(w)
            if w not in diagram.writer or not diagram.readers[w]:
                stream.ends.add(w)
            for near in _next_to(diagram, w):
                around = (*near.inputs, *near.outputs)
                if isinstance(near.rule, TurnRule):
                    other = near.outputs[0] if near.inputs[0] == w else near.inputs[0]
                    stream.lengths.add((diagram.wires[other].size, near.rule.axis))
                elif _by_position(near) and all(diagram.wires[v].positions == positions for v in around):
                    stream.product |= isinstance(near.rule, ProductRule)
                    todo += around
                elif w in near.outputs or not _unseen(near, exact):
                    stream.ends.add(w)
                    stream.rigid |= _rigid(near, w)
        seen |= stream.wires
        streams.append(stream)
    return streams


def _next_to(diagram: Diagram, w: int) -> list[Site]:
    """What writes a wire, and what reads it."""
    before = [diagram.writer[w]] if w in diagram.writer else []
    return [*before, *(reader for reader, _ in diagram.readers[w])]


def _turns_at(diagram: Diagram, w: int) -> list[Site]:
    return [s for s in _next_to(diagram, w) if isinstance(s.rule, TurnRule)]


def _by_position(site: Site) -> bool:
    """Whether a block reads every position by itself, and is the same at all of them but for a factor of noise."""
    match site.rule:
        case AddRule() | ConcatRule() | ProductRule() | GainRule():
            return True
        case HomogeneousRule(mixes=False):
            return True
        case LinearRule(mixes=False, lookup=False):
            return True
        case PassRule(mixes=False, repeats=False, weights="same"):
            return True
    return False


def _unseen(site: Site, exact: bool) -> bool:
    """Whether a block is a norm of each position, which sees no factor of one."""
    rule = site.rule
    return isinstance(rule, NormRule) and rule.local and rule.scale and not rule.sees_scale(lax=not exact)


def _rigid(site: Site, w: int) -> bool:
    """Whether a block at the end of a stream lets no factor of a position through, whatever parameters answer."""
    match site.rule:
        case SourceRule() | ComputedRule() | PointwiseRule():
            return True
        case OutputRule(loss=loss):
            return loss.span != "scale"
        case AttentionRule(power=0):
            return w in site.inputs[:3]
        case BatchNormRule():
            return w in site.inputs
        case NormRule(local=True, scale=True):
            return w in site.outputs
    return False


def _power(rule: Rule) -> Number | None:
    """The degree of a map that lets only factors of positions through, None for one that any matrix passes."""
    if isinstance(rule, HomogeneousRule):
        return rule.power
    return 1 if rule.noisy else None
