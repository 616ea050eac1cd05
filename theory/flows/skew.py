"""Rotations of wires: which skew matrices a network lets every wire carry.

Under momentum Noether's theorem asks for a Killing field: `xi` tangent to the level sets whose linear part is skew.
So every wire `e` gets a *skew* matrix `S_e`, the generator of a rotation `x -> x + t S_e x`.  A rotation group is its
own dual, which makes the calculus simpler than that of symmetric matrices: every rule is an equality (`S_q = S_k` for
scores, since `S_q^T + S_k = 0`), a cut into blocks, the condition `S 1 = 0`, or `S = 0`.  Every parameter turns with
each wire on its axes, and the law of a class of equal wires is its angular momentum.

Norms pass rotations: RMSNorm's core all of them, LayerNorm's those that leave 1 alone.  So the residual stream of a
network without gains has an angular momentum, although its symmetric part has a single scalar.

Sources: Marcotte, Gribonval, Peyré 2024 (linear networks); the rules for the other blocks are this module's own, each
with its reason below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatchmethod

from ..gauge.contract import Site
from ..gauge.diagram import Diagram
from ..gauge.rules import (
    AddRule,
    AttentionRule,
    BatchNormRule,
    BilinearRule,
    ComputedRule,
    DiscardRule,
    FlattenRule,
    FrozenNormRule,
    GainRule,
    HomogeneousRule,
    LinearRule,
    MixtureRule,
    NormRule,
    OffsetRule,
    OutputRule,
    PassRule,
    PlacesRule,
    PointwiseRule,
    ProductRule,
    RotaryRule,
    Rule,
    ScalarGainRule,
    SoftmaxRule,
    SourceRule,
    TableRule,
    TokensRule,
    Use,
)
from .rotations import NONE, Rotations


class Skew:
    """Solves the equalities between the skew matrices of all wires of a diagram.

    Args:
        diagram: the network.
        trained: whether rows whose gradient is stopped (that of a padding token) stay where they are, as they do under
            training; a transformation of the function turns them with the others.

    Attributes:
        notes: sites through which nothing was derived.
    """

    def __init__(self, diagram: Diagram, trained: bool = True) -> None:
        self.diagram = diagram
        self._trained = trained
        self.notes: list[str] = []
        self._allowed = [Rotations(1, 1, w.size) for w in diagram.wires]
        self._equal: list[tuple[int, int]] = []  # S_a = S_b
        self._linked: list[tuple[int, int]] = []  # the same blocks, in other numbers of copies
        self._uses: dict[str, list[tuple[Site, Use]]] = {}
        for site in diagram.sites:
            self._read(site.rule, site)
            for use in site.rule.uses(site):
                self._uses.setdefault(use.parameter, []).append((site, use))
        for name, uses in self._uses.items():
            self._share(name, uses)
        self._settle()

    @property
    def classes(self) -> list[tuple[int, ...]]:
        """Wires that turn together, without those that do not turn."""
        root = list(range(len(self._allowed)))

        def find(w: int) -> int:
            while root[w] != w:
                w = root[w]
            return w

        for a, b in (*self._equal, *self._linked):
            root[find(a)] = find(b)
        found: dict[int, list[int]] = {}
        for w, allowed in enumerate(self._allowed):
            if not allowed.zero:
                found.setdefault(find(w), []).append(w)
        return [tuple(ws) for ws in found.values()]

    def rotations(self, wire: int) -> Rotations:
        """What a wire may carry."""
        return self._allowed[wire]

    def alone(self, wire: int) -> bool:
        """Whether no other wire has to turn with it."""
        return not any(wire in ends for ends in (*self._equal, *self._linked))

    def uses(self) -> Iterable[Use]:
        """The first use of every parameter that training moves."""
        return [uses[0][1] for name, uses in self._uses.items() if not self.diagram.parameters[name].frozen]

    def _stop(self, *wires: int) -> None:
        for w in wires:
            self._allowed[w] = NONE

    def _restrict(self, wire: int, rotations: Rotations, site: Site) -> None:
        met = self._allowed[wire].meet(rotations)
        if met is None:
            self._unknown(site, (wire,), "cuts its features in a way that does not nest with another cut")
        self._allowed[wire] = met or NONE

    def _unknown(self, site: Site, wires: Iterable[int], why: str) -> None:
        self._stop(*wires)
        self.notes.append(f"{site.name} {why}: no rotation was derived through it, so laws may be missing there")

    def _share(self, name: str, uses: list[tuple[Site, Use]]) -> None:
        """What one parameter asks of the wires on its axes."""
        site, first = uses[0]
        wires = [w for _, use in uses for axis in use.axes for w, _ in axis]
        if any(len(axis) > 1 for _, use in uses for axis in use.axes):
            self._stop(*wires)  # a gain: its two wires stay anyway
        elif self.diagram.parameters[name].frozen:
            # A generic fixed matrix commutes with no pair of rotations but those of what it does not read.
            self._stop(*wires)
            sizes = [self.diagram.wires[axis[0][0]].size for axis in first.axes]
            if len(sizes) > 1 and max(sizes) - min(sizes) > 1:
                self.notes.append(f"{name} is frozen and has a kernel: rotations of its kernel were not derived")
        for other_site, other in uses[1:]:
            alike = len(other.axes) == len(first.axes) and other.groups == first.groups
            for mine, theirs in zip(first.axes, other.axes, strict=False) if alike else ():
                alike = alike and self.diagram.wires[mine[0][0]].size == self.diagram.wires[theirs[0][0]].size
            if not alike:
                self._unknown(other_site, wires, f"uses {name} in another arrangement than {site.name}")
                return
            self._equal += [(a[0][0], b[0][0]) for a, b in zip(first.axes, other.axes, strict=True)]

    def _settle(self) -> None:
        """Meets the rotations of equal and linked wires until nothing changes."""
        changed = True
        while changed:
            before = list(self._allowed)
            for a, b in self._equal:
                met = self._allowed[a].meet(self._allowed[b])
                if met is None:
                    names = " and ".join(self.diagram.wires[w].name for w in (a, b))
                    self.notes.append(f"{names} are cut in ways that do not nest: no rotation of them was derived")
                self._allowed[a] = self._allowed[b] = met or NONE
            for many, few in self._linked:
                self._link(many, few)
            changed = before != self._allowed

    def _link(self, many: int, few: int) -> None:
        a, b = self._allowed[many], self._allowed[few]
        if a.zero or b.zero or (a.groups, a.width, a.strided) != (b.groups, b.width, b.strided):
            if not (a.zero or b.zero):
                name = self.diagram.wires[many].name
                self.notes.append(f"heads at {name} are cut again: no rotation of them was derived")
            self._stop(many, few)
            return
        still = a.still or b.still
        self._allowed[many], self._allowed[few] = replace(a, still=still), replace(b, still=still)

    @singledispatchmethod
    def _read(self, rule: Rule, site: Site) -> None:
        """A block without a rule of rotations."""
        self._unknown(site, site.wires, f"({rule.statement})")

    @_read.register
    def _(self, rule: SourceRule | ComputedRule | OutputRule | OffsetRule, site: Site) -> None:
        # Fixed data, losses and tables do not turn; a loss sees at least all but one direction of an output.
        self._stop(*site.wires)

    @_read.register
    def _(self, rule: HomogeneousRule | PointwiseRule | ProductRule | SoftmaxRule, site: Site) -> None:
        # Maps of single features commute with permutations and scales only: no one-parameter group of rotations.
        self._stop(*site.wires)

    @_read.register
    def _(self, rule: BatchNormRule | FrozenNormRule, site: Site) -> None:
        # Every feature has a scale of its own.
        self._stop(*site.wires)

    @_read.register
    def _(self, rule: DiscardRule | BilinearRule, site: Site) -> None:
        """Every rotation is unseen, or answered by the axis of a tensor."""

    @_read.register
    def _(self, rule: LinearRule, site: Site) -> None:
        # y = W x: W turns with both; a row whose gradient is stopped but that is read would have to turn and cannot.
        if rule.still and self._trained:
            self._stop(*site.outputs)
        if rule.groups > 1:
            for w in (site.inputs[0], site.outputs[0]):
                self._restrict(w, Rotations(rule.groups, 1, self.diagram.wires[w].size // rule.groups), site)
        self._stop(*site.inner)

    @_read.register
    def _(self, rule: TableRule, site: Site) -> None:
        self._stop(*site.inner)

    @_read.register
    def _(self, rule: GainRule, site: Site) -> None:
        # diag(gain) between two rotations stays diagonal only where both are zero.
        if rule.gain:
            self._stop(*site.wires)
        else:
            self._equal.append((site.inputs[0], site.outputs[0]))

    @_read.register
    def _(self, rule: AddRule | TokensRule | PlacesRule, site: Site) -> None:
        self._equal += [(x, site.outputs[0]) for x in site.inputs]

    @_read.register
    def _(self, rule: MixtureRule, site: Site) -> None:
        self._stop(site.inputs[0])
        self._equal += [(x, site.outputs[0]) for x in site.inputs[1:]]

    @_read.register
    def _(self, rule: PassRule | ScalarGainRule, site: Site) -> None:
        self._stop(*site.inner)
        self._equal.append((site.inputs[0], site.outputs[0]))

    @_read.register
    def _(self, rule: FlattenRule, site: Site) -> None:
        if rule.before * rule.after == 1:
            self._equal.append((site.inputs[0], site.outputs[0]))
        else:
            self._unknown(site, site.wires, f"({rule.statement})")

    @_read.register
    def _(self, rule: NormRule, site: Site) -> None:
        # |x| is the same for all rotations, the mean for those that leave 1 alone; epsilon does not matter.
        x, y = site.inputs[0], site.outputs[0]
        if rule.groups > 1 or rule.centre:
            width = self.diagram.wires[x].size // rule.groups
            self._restrict(x, Rotations(rule.groups, 1, width, rule.centre), site)
        self._equal.append((x, y))

    @_read.register
    def _(self, rule: AttentionRule, site: Site) -> None:
        # (S_q q) . k + q . (S_k k) = 0 for S_q^T + S_k = 0, that is S_q = S_k; values pass as they are.
        q, k, v = site.inputs[:3]
        copies = rule.heads // rule.kv_heads
        for many, few in ((q, k), (site.outputs[0], v)):
            width = self.diagram.wires[few].size // rule.kv_heads
            self._restrict(many, Rotations(rule.kv_heads, copies, width), site)
            self._restrict(few, Rotations(rule.kv_heads, 1, width), site)
            self._linked.append((many, few))
        self._stop(*site.inputs[3:])
        if rule.linear and copies > 1:
            self.notes.append(f"{site.name}: rotations that mix query heads of one key were not derived")

    @_read.register
    def _(self, rule: RotaryRule, site: Site) -> None:
        # The rotation of a plane commutes with itself: one scalar for every plane.
        x, y = site.inputs[0], site.outputs[0]
        if rule.rotated != rule.width:
            self._unknown(site, (x, y), "rotates a part of every head")
            return
        if rule.shared > 1:
            self.notes.append(f"{site.name}: rotations that mix planes of one frequency were not derived")
        planes = rule.rotated // 2
        strided = 1 if rule.interleaved else planes
        self._restrict(x, Rotations(rule.heads * planes, 1, 2, strided=strided), site)
        self._equal.append((x, y))
