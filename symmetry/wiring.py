"""Which features of which wires move together when some of one wire are permuted, or change their signs.

A permutation (or a sign for every feature) passes a block if the block does the same to every feature, and stops where
a parameter undoes it.  `follow` starts on one wire and collects what is forced elsewhere, until everything agrees, or a
block does not let it through.  A block without a line here lets nothing through, and is named.

This file is long because what blocks do to an axis is decided in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch

from lawful.blocks import Positions, Rearrange
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.sources import fixed_nodes, fixed_numbers
from lawful.theory.gauge.contract import Site, Use
from lawful.theory.gauge.diagram import Diagram
from lawful.theory.gauge.rules import (
    AddRule,
    AttentionRule,
    BatchNormRule,
    BilinearRule,
    BlendRule,
    ChoiceRule,
    ChosenRule,
    ComputedRule,
    ConcatRule,
    CurveRule,
    DiscardRule,
    FlattenRule,
    FrozenNormRule,
    GainRule,
    GroupProductRule,
    HeadGainRule,
    HomogeneousRule,
    LargerRule,
    LinearRule,
    MixtureRule,
    MovedRule,
    NormRule,
    OffsetRule,
    OpaqueRule,
    OutputRule,
    PassRule,
    PlacesRule,
    PointwiseRule,
    PositionMixRule,
    ProductRule,
    RecurrentRule,
    ReorderRule,
    RepeatRule,
    RotaryRule,
    Rule,
    ScalarGainRule,
    SoftmaxRule,
    SourceRule,
    SumFeaturesRule,
    TableRule,
    TokensRule,
    TurnRule,
    UnflattenRule,
    UnitRowsRule,
    WholeRule,
)
from lawful.theory.parts import base, read

from . import positions
from .axes import (
    Axis,
    Place,
    Steps,
    copied,
    curved,
    everywhere,
    factor,
    gathered,
    linear,
    moving,
    normalised,
    recurrent,
    weighed,
)

PLAIN = AddRule | PassRule | ScalarGainRule | TokensRule | PlacesRule | GainRule | BatchNormRule | ProductRule
READ = (
    HomogeneousRule | PointwiseRule | NormRule | FrozenNormRule | RotaryRule | HeadGainRule | SoftmaxRule | ChoiceRule
)
FIXED = SourceRule | OutputRule | ComputedRule | OpaqueRule | WholeRule  # nothing moves, or a note speaks of it already
SAID = PLAIN | READ | FIXED | OffsetRule | LargerRule
LARGEST = 10_000_000  # numbers of a parameter whose parts are compared one by one


class Wiring:
    """The diagram, asked for what moves together.

    Args:
        diagram: the network, as drawn.
        held: whether the statistics of a norm in evaluation can be moved with its features.
        draws: whether dropout draws, which treats features apart.
        arch: the network as an architecture.

    Attributes:
        unread: blocks without a line here that something stopped at, each with what it does.
    """

    def __init__(self, diagram: Diagram, held: Callable[[Site], bool], draws: bool, arch: Architecture) -> None:
        self.diagram = diagram
        self.held = held
        self.draws = draws
        self.arch = arch
        fixed = fixed_nodes(arch)
        self.ports = {w: port for w, port in enumerate(arch.signals) if port[0] in fixed}
        self._fixed: dict[int, torch.Tensor | None] = {}
        self.uses: dict[str, list[tuple[Site, Use]]] = {}
        self.near: dict[int, list[Site]] = {}
        self.unread: dict[str, str] = {}
        self._on: dict[int, list[tuple[str, Use, int]]] = {}
        self.stopped: dict[Place, str] = {}  # the block that does not let an axis through
        for site in diagram.sites:
            for w in dict.fromkeys(site.wires):
                self.near.setdefault(w, []).append(site)
            for use in site.rule.uses(site):
                self.uses.setdefault(use.parameter, []).append((site, use))
                for i, ends in enumerate(use.axes):
                    for w, _ in ends:
                        self._on.setdefault(w, []).append((use.parameter, use, i))
        self.holders: dict[str, set[str]] = {}
        for site in diagram.sites:
            for name in (*site.parameters, *(u.parameter for u in site.rule.uses(site))):
                self.holders.setdefault(name, set()).add(site.name)
        self.parts: dict[str, list[str]] = {}
        for name in self.holders:
            self.parts.setdefault(base(name), []).append(name)

    def on(self, w: int) -> list[tuple[str, Use, int]]:
        """The parameters on a wire: name, use and axis."""
        return self._on.get(w, [])

    def separate(self, names: Sequence[str]) -> bool:
        """Whether parts of one parameter have no number in common."""
        whole = self.diagram.parameters.get(base(names[0]))
        if whole is None or whole.size > LARGEST:
            return False
        numbers = {base(names[0]): torch.arange(whole.size).reshape(whole.shape)}
        found = torch.cat([read(n, numbers).flatten() for n in names])
        return len(found.unique()) == len(found)

    def follow(
        self, starts: Sequence[Place], signs: bool, tried: set[Place], through: frozenset[str] = frozenset()
    ) -> set[Place] | None:
        """Everything that moves with an axis of a wire, None if something does not let it.

        Args:
            starts: wires, each with an axis of it; all move alike.
            signs: whether features change their signs, instead of their places.
            tried: what was tried before is added here.
            through: blocks that are known to let it pass (what they join or cut changes places as well).
        """
        found: set[Place] = set()
        on: dict[int, list[Axis]] = {}  # the axes that were found on every wire
        waiting = list(starts)
        while waiting:
            w, axis = waiting.pop()
            if (w, axis) in found:
                continue
            if (numbers := self._numbers(w)) is not None:
                if signs or axis.only or not positions.alike_along(numbers, self.diagram.wires[w].space, axis):
                    return None
                continue
            if any(other.overlaps(axis) for other in on.get(w, ())):
                return None
            found.add((w, axis))
            on.setdefault(w, []).append(axis)
            tried.add((w, axis))
            for site in self.near.get(w, []):
                if site.name in through:
                    continue
                steps = self._through(site, w, axis, signs, on.keys())
                if steps is None:
                    if not signs:
                        self.stopped |= dict.fromkeys(found, site.name)
                    return None
                waiting += steps
            waiting += self._shared(w, axis)
        return found

    def _shared(self, w: int, axis: Axis) -> Iterator[Place]:
        """The same axis of the other uses of every parameter on a wire."""
        if axis.along >= 0 or axis.only:
            return
        for name, use, i in self.on(w):
            for _, other in self.uses[name]:
                if other is not use and i < len(other.axes):
                    yield from ((v, axis) for v, _ in other.axes[i])

    def _through(self, site: Site, w: int, axis: Axis, signs: bool, found: Collection[int]) -> Steps:
        rule = site.rule
        block = self._moved_by(site)
        steps: Steps = None
        if isinstance(block, Rearrange):
            steps = positions.rearranged(block, site, w, axis)
        elif isinstance(rule, TurnRule):
            steps = positions.turned(rule, site, w, axis)
        if isinstance(block, Rearrange) or isinstance(rule, TurnRule):
            return None if signs and steps and any(a.along >= 0 for _, a in steps) else steps
        if isinstance(block, Positions):
            return positions.reduced(block, site, w, axis)
        if axis.along >= 0 or axis.only:
            return None if rule.noisy and self.draws else positions.through(self.diagram, site, w, axis)
        if isinstance(rule, PositionMixRule) and w == site.inputs[0]:
            return None if signs else positions.weighs(site, w, axis)
        if isinstance(rule, RecurrentRule):
            return recurrent(rule, site, w, axis, signs)
        if isinstance(rule, UnitRowsRule):
            return normalised(rule, site, w, axis, signs, (self._size(site.inputs[0]), self._size(site.inner[1])))
        if isinstance(rule, CurveRule):
            return curved(rule, site, w, axis, signs, self.diagram.wires[site.inputs[0]].size)
        if w in site.inner:
            return None  # rows of a table, a gain of all heads: nothing else answers
        if isinstance(rule, TableRule | DiscardRule | BilinearRule):
            return []
        if isinstance(rule, LinearRule):
            return linear(rule, site, w, axis, signs)
        if isinstance(rule, ConcatRule):
            return self._concat(rule, site, w, axis)
        if isinstance(rule, AttentionRule):
            return self._attention(rule, site, w, axis, signs)
        if isinstance(rule, ReorderRule):
            size = self._size(w)
            to = positions.picked if w == site.inputs[0] else positions.picked_from
            found_axis = to(rule.order, axis, size)
            return (
                None
                if found_axis is None
                else [(site.outputs[0] if w == site.inputs[0] else site.inputs[0], found_axis)]
            )
        if isinstance(rule, FlattenRule | RepeatRule | SumFeaturesRule):
            return copied(rule, site, w, axis, signs)
        if isinstance(rule, GroupProductRule):
            return weighed(rule, site, w, axis, signs, self.diagram.wires[site.outputs[0]].size)
        if isinstance(rule, ProductRule) and signs:
            return factor(site, w, axis, found)
        if isinstance(rule, UnflattenRule):
            return gathered(rule, site, w, axis, signs)
        if isinstance(rule, MovedRule | ChosenRule | PositionMixRule | BlendRule | MixtureRule):
            return moving(rule, site, w, axis, signs)
        if isinstance(rule, GainRule) and signs and rule.gain:
            return []  # the gain changes its sign instead
        if isinstance(rule, HomogeneousRule | PointwiseRule) and signs and rule.parity == 1:
            return [] if w in site.inputs else None
        if not isinstance(rule, SAID):
            self.unread[site.name] = rule.statement
        alike = len({self.diagram.wires[v].size for v in (*site.inputs, *site.outputs)}) == 1
        return everywhere(site, axis) if alike and self._passes(rule, site, axis, signs) else None

    def _moved_by(self, site: Site) -> Positions | Rearrange | None:
        """The block that moves or adds up positions, where the drawn network still has it as it was read."""
        block = self.arch.block(site.name) if site.name in self.arch.nodes else None
        if not isinstance(block, Positions | Rearrange):
            return None
        reads, writes = self.arch.signals[self.arch.sources(site.name)[0]], self.arch.signals[site.name, 0]
        ends = [(self.diagram.wires[v].size, self.diagram.wires[v].space) for v in (*site.inputs, *site.outputs)]
        return block if ends == [(s.features, s.space) for s in (reads, writes)] else None

    def sliced(self, w: int) -> tuple[int, int, int] | None:
        """What a wire is one place of: a wire, an axis of its positions, and the place; None for something else."""
        site = self.diagram.writer.get(w)
        block = self._moved_by(site) if site is not None else None
        if not isinstance(block, Positions) or block.operation != "slice" or site is None:
            return None
        start, stop, step = block.numbers
        return (site.inputs[0], block.axis, start) if stop - start == step == 1 else None

    def _numbers(self, w: int) -> torch.Tensor | None:
        """What a wire always carries, None if it is no fixed numbers."""
        if w not in self._fixed:
            port = self.ports.get(w)
            self._fixed[w] = fixed_numbers(self.arch, port) if port else None
        return self._fixed[w]

    def _passes(self, rule: Rule, site: Site, axis: Axis, signs: bool) -> bool:
        """Whether a block does the same to every feature, so that all its wires move alike."""
        if rule.noisy and self.draws and not signs:
            return False
        if isinstance(rule, HomogeneousRule | PointwiseRule):
            slope = rule.slope if isinstance(rule, HomogeneousRule) else None
            pooled = isinstance(rule, HomogeneousRule) and (rule.shifts or rule.noisy)  # largest, or dropout at rest
            alike = (rule.alike or pooled) and (slope is None or self.diagram.parameters[slope].size == 1)
            return rule.parity == -1 if signs else alike
        if isinstance(rule, NormRule):
            return self._norm(rule, site, axis, signs)
        if isinstance(rule, FrozenNormRule):
            return self.held(site)
        if isinstance(rule, RotaryRule | HeadGainRule):
            return not signs and axis.after % rule.width == 0 and axis.start % rule.width == 0
        if isinstance(rule, SoftmaxRule | ChoiceRule):
            return not signs
        if isinstance(rule, OffsetRule):
            return rule.number is not None and not signs  # one number for every feature
        if isinstance(rule, LargerRule):
            return not signs
        return isinstance(rule, PLAIN)

    def _norm(self, rule: NormRule, site: Site, axis: Axis, signs: bool) -> bool:
        if signs:
            return not rule.centre
        size = self.diagram.wires[site.inputs[0]].size
        width = size // rule.groups
        whole = axis.after % width == 0 and axis.start % width == 0
        inside = (axis.count * axis.after <= width and width % (axis.count * axis.after) == 0) and not axis.start
        return rule.groups == 1 or whole or inside

    def _concat(self, rule: ConcatRule, site: Site, w: int, axis: Axis) -> Steps:
        whole, parts = (site.inputs[0], site.outputs) if rule.cut else (site.outputs[0], site.inputs)
        at, steps = 0, []
        for part in parts:
            size = self.diagram.wires[part].size
            if w == part and w != whole:
                steps.append((whole, replace(axis, start=axis.start + at)))
            elif w == whole and at <= axis.start and axis.stop <= at + size:
                return [(part, replace(axis, start=axis.start - at))]
            at += size
        return steps or self._rejoined(rule, site, w, axis)

    def _rejoined(self, rule: ConcatRule, site: Site, w: int, axis: Axis) -> Steps:
        """Parts that one block cuts and another joins again in their order are a run of what is cut."""
        beside = {s.name: s for v in (site.outputs if rule.cut else site.inputs[:1]) for s in self.near[v]}
        for other in beside.values():
            if not isinstance(other.rule, ConcatRule) or other.rule.cut == rule.cut:
                continue
            cut, join = (site, other) if rule.cut else (other, site)
            run = list(join.inputs)
            first = cut.outputs.index(run[0]) if run[0] in cut.outputs else -1
            if first < 0 or list(cut.outputs[first : first + len(run)]) != run:
                continue
            if any({s.name for s in self.near[v]} != {cut.name, join.name} or self.on(v) for v in run):
                continue
            start = sum(self.diagram.wires[v].size for v in cut.outputs[:first])
            if w == join.outputs[0]:
                return [(cut.inputs[0], replace(axis, start=axis.start + start))]
            if w == cut.inputs[0] and start <= axis.start and axis.stop <= start + self._size(join.outputs[0]):
                return [(join.outputs[0], replace(axis, start=axis.start - start))]
        return self._copied(rule, site, w, axis)

    def _copied(self, rule: ConcatRule, site: Site, w: int, axis: Axis) -> Steps:
        """Parts of one cut alone, joined in any order and several times: features of what is cut, picked."""
        cut = site if rule.cut else self.diagram.writer.get(site.inputs[0])
        if cut is None or not isinstance(cut.rule, ConcatRule) or not cut.rule.cut:
            return None
        x, at, first = cut.inputs[0], 0, dict[int, int]()
        for v in cut.outputs:
            first[v] = at
            at += self._size(v)
        joins = {s.name: s for v in cut.outputs for s in self.near[v] if s.name != cut.name}
        if any(self.on(v) for v in cut.outputs) or not all(
            isinstance(s.rule, ConcatRule) and not s.rule.cut and first.keys() >= set(s.inputs) for s in joins.values()
        ):
            return None
        steps = []
        for join in joins.values():
            order = [first[v] + i for v in join.inputs for i in range(self._size(v))]
            y = join.outputs[0]
            if w not in (x, y):
                continue
            moved = (positions.picked if w == x else positions.picked_from)(order, axis, at)
            if moved is None:
                return None
            steps.append((y if w == x else x, moved))
        return steps or None

    def _size(self, w: int) -> int:
        return self.diagram.wires[w].size

    def _attention(self, rule: AttentionRule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
        q, k, v = site.inputs[:3]
        y = site.outputs[0]
        tables = [x for x in site.inputs[3:] if self.diagram.wires[x].size > 1]  # of scores, a feature for every head
        apart = any(self.diagram.wires[x].size != rule.heads for x in tables)
        unread = rule.sink is not None and not rule.buckets
        if len({q, k, v, y, *tables}) < 4 + len(tables) or apart or unread or axis.start:
            return None
        copies = rule.heads // rule.kv_heads
        if signs:
            if w in tables:
                return None
            pair = {q, k} if w in (q, k) else {v, y}
            return [(u, axis) for u in pair] if copies == 1 else None
        if (rule.noisy and self.draws) or not rule.heads_alike:
            return None
        many, few = (q, y, *tables), (k, v)
        widths = {x: self.diagram.wires[x].size // (rule.heads if x in many else rule.kv_heads) for x in (*many, *few)}
        if w not in widths:
            return []  # a number for all heads
        head = widths[w]
        if axis.before == 1 and axis.count == rule.kv_heads and w in few and axis.after == head:
            pass
        elif axis.before == 1 and axis.count == rule.kv_heads and w in many and axis.after == copies * head:
            pass
        elif w in many and (axis.before, axis.count, axis.after) == (rule.kv_heads, copies, head):
            return [(x, Axis(0, rule.kv_heads, copies, widths[x])) for x in many]
        else:
            return None
        wide = {x: widths[x] * (copies if x in many else 1) for x in widths}
        return [(x, Axis(0, 1, rule.kv_heads, n)) for x, n in wide.items()]

    def heads(self, site: Site, rule: AttentionRule) -> list[Place]:
        """The heads of an attention: those with keys of their own, and those that share a key."""
        y, copies = site.outputs[0], rule.heads // rule.kv_heads
        width = self.diagram.wires[y].size // rule.heads
        return [(y, Axis(0, 1, rule.kv_heads, copies * width)), (y, Axis(0, rule.kv_heads, copies, width))]

    def starts(self) -> Iterator[Place]:
        """Axes to begin with: every wire, then the heads and groups of what cuts it."""
        for w, wire in enumerate(self.diagram.wires):
            if self.on(w):
                yield w, Axis(0, 1, wire.size, 1)
        for site in self.diagram.sites:
            rule = site.rule
            if isinstance(rule, AttentionRule):
                yield from self.heads(site, rule)
            if isinstance(rule, ConcatRule):
                yield from ((v, Axis(0, 1, self._size(v), 1)) for v in (site.outputs if rule.cut else site.inputs))
            if isinstance(rule, GroupProductRule):
                y, width = site.outputs[0], self.diagram.wires[site.outputs[0]].size // rule.groups
                yield y, Axis(0, 1, rule.groups, width)
                yield from ((y, Axis(i * width, 1, width, 1)) for i in range(rule.groups))
            yield from self._pieces(site)
            if isinstance(rule, UnflattenRule) and rule.choose:
                x = site.inputs[0]
                yield x, Axis(0, self._size(x) // rule.pieces, rule.pieces, 1)
            if isinstance(rule, NormRule) and rule.groups > 1:
                y, width = site.outputs[0], self.diagram.wires[site.outputs[0]].size // rule.groups
                yield y, Axis(0, 1, rule.groups, width)
                yield y, Axis(0, rule.groups, width, 1)
            if isinstance(rule, LinearRule) and rule.groups > 1:
                y = site.outputs[0]
                width = self.diagram.wires[y].size // rule.groups
                yield y, Axis(0, 1, rule.groups, width)
                yield y, Axis(0, rule.groups, width, 1)
                x = site.inputs[0]
                yield x, Axis(0, rule.groups, self.diagram.wires[x].size // rule.groups, 1)

    def _pieces(self, site: Site) -> Iterator[Place]:
        """The pieces that the features of a wire are cut into by a view: all alike, and each by itself."""
        block = self._moved_by(site)
        if not isinstance(block, Rearrange):
            return
        x, behind = site.inputs[0], 1
        for n in reversed(block.pieces if not block.reads.channels_first else ()):
            if behind * n > self._size(x):
                break
            if 1 < n < self._size(x):
                yield x, Axis(0, self._size(x) // (behind * n), n, behind)
                yield from ((x, Axis(i, 1, n, behind)) for i in range(0, self._size(x), behind * n))
            behind *= n
