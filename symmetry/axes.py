"""Axes of wires, and how single blocks pass on what moves along one: maps, recurrent layers, copies, products."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from lawful.theory.gauge.contract import Site
from lawful.theory.gauge.rules import (
    ChosenRule,
    CurveRule,
    FlattenRule,
    GroupProductRule,
    LinearRule,
    MixtureRule,
    MovedRule,
    PositionMixRule,
    RecurrentRule,
    RepeatRule,
    Rule,
    SumFeaturesRule,
    UnflattenRule,
    UnitRowsRule,
)


@dataclass(frozen=True)
class Axis:
    """Some features of a wire, from `start` on, as an array `(before, count, after)` whose middle axis moves.

    Attributes:
        along: which axis of its positions is so cut, from 0; -1 stands for its features.
        only: another axis, and the one place on it at which it moves; None where it moves everywhere.
    """

    start: int
    before: int
    count: int
    after: int
    along: int = -1
    only: tuple[int, int] | None = None

    @property
    def stop(self) -> int:
        """The feature behind the last one."""
        return self.start + self.before * self.count * self.after

    def overlaps(self, other: Axis) -> bool:
        """Whether two axes share a feature."""
        if self.along != other.along or (self.only and other.only and self.only != other.only):
            return False
        return self.start < other.stop and other.start < self.stop


Place = tuple[int, Axis]
Steps = list[Place] | None  # what is forced elsewhere; None where nothing may move


def everywhere(site: Site, axis: Axis, wires: set[int] | None = None) -> list[Place]:
    """All wires of a block, with one axis."""
    return [(w, axis) for w in (wires or {*site.inputs, *site.outputs})]


def factor(site: Site, w: int, axis: Axis, found: Collection[int]) -> Steps:
    """One factor of a product carries the sign of its value."""
    y = site.outputs[0]
    if w != y:
        return [(y, axis)] if site.inputs.count(w) % 2 else []
    return [] if any(x in found for x in site.inputs) else [(site.inputs[-1], axis)]


def moving(rule: Rule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
    """Positions that are picked, added up or weighed feature by feature: weights and choices see no feature apart."""
    y = site.outputs[0]
    if isinstance(rule, MovedRule | ChosenRule):
        passing = {site.inputs[0], y}
        alike = not (signs and isinstance(rule, ChosenRule))
    elif isinstance(rule, PositionMixRule | MixtureRule):
        passing, alike = {*site.inputs[1:], y}, True
    else:
        gate, *others = site.inputs
        passing, alike = {*others, y} | (set() if signs else {gate}), gate not in others
    choosing = set(site.inputs) - passing
    return everywhere(site, axis, passing) if w in passing and w not in choosing and alike else None


def linear(rule: LinearRule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
    """A linear map undoes what is read or written; groups go with the other side."""
    x, y = site.inputs[0], site.outputs[0]
    if (rule.padding is not None and w == x) or (rule.blank and w == y and rule.transposed):
        return None
    if rule.offset:
        return [(x, axis), (y, axis)]
    if rule.groups == 1 or signs:
        return []
    ins = rule.shape_[1] if not rule.transposed else rule.shape_[0] // rule.groups
    outs = rule.shape_[0] // rule.groups if not rule.transposed else rule.shape_[1]
    mine, other = (outs, ins) if w == y else (ins, outs)
    if axis.start:
        return None
    if axis.before % rule.groups == 0:
        return []
    if axis.before == 1 and axis.after % mine == 0:
        return [(x if w == y else y, replace(axis, after=axis.after // mine * other))]
    return None


def curved(rule: CurveRule, site: Site, w: int, axis: Axis, signs: bool, size: int) -> Steps:
    """A factor of a head goes with its head; inside of a head it sees nothing."""
    p, both, width = site.inner[0], {*site.inputs, *site.outputs}, size // rule.heads
    if w == p:
        wide = replace(axis, start=axis.start * width, after=axis.after * width)
        return None if signs else everywhere(site, wide, both)
    inside = axis.start == 0 and axis.before % rule.heads == 0
    if signs or inside or rule.heads == 1:
        return everywhere(site, axis, both)
    if axis.start % width or axis.after % width:
        return None
    return [*everywhere(site, axis, both), (p, replace(axis, start=axis.start // width, after=axis.after // width))]


def recurrent(rule: RecurrentRule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
    """Units of the state move with their rows in every gate; their sign with the rows of the candidate alone."""
    z, n = site.inner[0], rule.hidden
    states = {*site.outputs, *site.inputs[1:]}
    if w in states:
        unit = axis
    elif w != z:
        return []  # the weights answer for what is read
    elif signs:
        first = (rule.candidate or 0) * n
        unit = replace(axis, start=axis.start - first)
    elif axis.before % rule.gates == 0:
        unit = replace(axis, before=axis.before // rule.gates)
    else:
        return None
    if signs:
        if rule.candidate is None or unit.start < 0 or unit.stop > n:
            return None
        return [(z, replace(unit, start=unit.start + rule.candidate * n)), *((v, unit) for v in states)]
    if rule.gates > 1 and (unit.start or unit.stop < n):
        return None
    return [(z, replace(unit, before=unit.before * rule.gates)), *((v, unit) for v in states)]


def normalised(rule: UnitRowsRule, site: Site, w: int, axis: Axis, signs: bool, sizes: tuple[int, int]) -> Steps:
    """Rows of a fixed length move as rows do; what is read moves in every row, where no mean of it is taken off.

    Args:
        rule: the map.
        site: where it stands.
        w: the wire.
        axis: what moves on it.
        signs: whether signs change.
        sizes: of what is read, and of the entries of a row.
    """
    x, y, (rows, entries) = site.inputs[0], site.outputs[0], site.inner
    if w in (y, rows):
        return [(y, axis), (rows, axis)]
    size, every = sizes
    if rule.shape_[1] != size or every % size or (signs and rule.centred):
        return None  # groups of channels
    places = every // size
    if w == x:
        return [(entries, Axis(axis.start * places, axis.before, axis.count, axis.after * places))]
    if axis.start % places or axis.after % places:
        return None
    return [(x, Axis(axis.start // places, axis.before, axis.count, axis.after // places))]


def weighed(rule: GroupProductRule, site: Site, w: int, axis: Axis, signs: bool, size: int) -> Steps:
    """Experts change places with their weights; inside of them their weights see nothing."""
    p, h, y = *site.inputs, site.outputs[0]
    width = size // rule.groups
    if w == p:
        wide = replace(axis, start=axis.start * width, after=axis.after * width)
        return None if signs else [(h, wide), (y, wide)]
    both = [(h, axis), (y, axis)]
    within, turn = axis.start % width, axis.count * axis.after
    inside = within + axis.before * turn <= width or (within == 0 and width % turn == 0)
    if signs or inside:
        return both
    if within or axis.after % width:
        return None
    return [*both, (p, replace(axis, start=axis.start // width, after=axis.after // width))]


def gathered(rule: UnflattenRule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
    """Several features become one: the largest of them, or one at each of several positions."""
    x, y, pieces = site.inputs[0], site.outputs[0], rule.pieces
    if rule.choose and signs:
        return None
    if w == x and rule.choose and not rule.outer and _inside(axis, pieces):
        return []  # the largest of them whatever their order
    if rule.outer:
        if axis.start or (w == x and axis.before % pieces):
            return None
        return [
            (x, replace(axis, before=axis.before * pieces))
            if w == y
            else (y, replace(axis, before=axis.before // pieces))
        ]
    if w == y:
        return [(x, replace(axis, start=axis.start * pieces, after=axis.after * pieces))]
    if axis.start % pieces or axis.after % pieces:
        return None
    return [(y, replace(axis, start=axis.start // pieces, after=axis.after // pieces))]


def _inside(axis: Axis, run: int) -> bool:
    """Whether what moves stays inside of runs of features that become one."""
    turn = axis.count * axis.after
    return run % turn == 0 and axis.start % turn == 0


def copied(rule: FlattenRule | RepeatRule | SumFeaturesRule, site: Site, w: int, axis: Axis, signs: bool) -> Steps:
    """Every feature stands for several on the other side."""
    few, many = site.inputs[0], site.outputs[0]
    if isinstance(rule, SumFeaturesRule):
        few, many = many, few
    before, after = (rule.before, rule.after) if isinstance(rule, FlattenRule) else (1, rule.copies)
    if isinstance(rule, SumFeaturesRule) and w == many and not signs and _inside(axis, after):
        return []  # a sum does not see the order of what it adds up
    if isinstance(rule, RepeatRule) and w == many and not signs and _inside(axis, after):
        return []  # copies are alike
    if w == few:
        if before > 1 and axis.start:
            return None
        return [(many, Axis(axis.start * after, before * axis.before, axis.count, axis.after * after))]
    if axis.start or axis.before % before or axis.after % after:
        return None
    return [(few, Axis(0, axis.before // before, axis.count, axis.after // after))]
