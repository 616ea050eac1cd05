"""Rules of the cores of normalisations (without gain and shift)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from ..algebra import Algebra, Blocks, Diagonal, Nothing, Scalar, ScalarPlusOnes
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..repeats import axes_over
from ..subspace import Subspace, Vector, VectorKey, ones, vector_keys
from ..unknowns import Terms


@dataclass(frozen=True)
class NormRule(Rule):
    """LayerNorm, RMSNorm, GroupNorm cores.

    Attributes:
        centre: whether the mean is removed.
        scale: whether the result is divided by its norm (False after the norm was found to be invisible).
        groups: number of groups that are normalised apart.
        local: whether every position is normalised by itself; a GroupNorm over space is not.
        epsilon: the constant under the root; above 0 the scale part holds only approximately, above `EPSILON` not.
    """

    centre: bool
    scale: bool = True
    groups: int = 1
    local: bool = True
    epsilon: float = 0.0

    @property
    def tells_mean(self) -> bool:
        return not self.scale

    @property
    def statement(self) -> str:
        if not self.scale:
            return "centring: S_in and S_out agree on the complement of 1; blind to shifts along 1"
        if not self.centre:
            return "RMSNorm core: S_in in span{I}, S_out = 0"
        where = "" if self.groups == 1 else " per group"
        return f"LayerNorm core{where}: S_in in span{{I, 11^T}}, S_out in span{{11^T}}; blind to shifts along 1"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        size = layouts.size(x)
        if not self.scale:
            layouts.centred(x)
            layouts.centred(y)
            layouts.align(x, y)
            return
        exact = not self.sees_scale(layouts.lax)
        per_group = size // self.groups
        if self.centre and self.local:
            allowed = ScalarPlusOnes(per_group)
        else:
            allowed = Scalar(per_group) if exact else Nothing(per_group)
        layouts.meet(x, Blocks(self.groups, allowed) if self.groups > 1 else allowed)
        if self.centre and self.local and self.groups == 1 and not exact:
            layouts.ones(x)
        if self.centre and self.local and self.groups == 1:
            layouts.ones(y)
        else:
            none = Nothing(per_group)
            layouts.meet(y, Blocks(self.groups, none) if self.groups > 1 else none)
        if self.groups == 1 and not self.centre:
            layouts.align(x, y)  # directions that are never there pass

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not self.scale:
            boxes = [balance.layout(w).boxes for w in (x, y)]
            if any(len(own) > 1 or len(own[0].dims) > 1 for own in boxes):
                _one_factor(balance, x, y)  # parts of a wire have a mean in common
                return
            balance.centre(x, y)
            if not self.local:  # the mean runs over positions too, so S moves 1 alike on both sides
                balance.require({balance.key(x, 0, "c"): 1, balance.key(y, 0, "c"): -1})
            return
        if self.centre and self.local:
            if self.groups == 1:
                balance.only_ones(y)
            if self.sees_scale(balance.lax):
                balance.only_ones(x)

    def lines(self, layout: Algebra) -> list[Vector]:
        """The vectors along which a constant shift is unseen."""
        if not self.centre:
            return []
        return [ones(layout)] if self.groups == 1 else group_lines(layout, self.groups)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        lines = self.lines(shifts.layout(x))
        if self.scale:
            shifts.forbid(x, allow=lines, every_token=self.local)
            shifts.emit(y, {})
        else:
            shifts.match_tokens(x, y)
            terms = shifts.wire_terms(x, y)
            if self.groups > 1 or len(shifts.layout(x).boxes) == 1:
                shifts.emit(y, {k: v for k, v in terms.items() if "d" in k[1][1]})
            else:
                shifts.emit(y, _without_mean(terms, shifts.layout(x)))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        still = Subspace(tuple(self.lines(directions.layout(x))))
        moving, shared = still if self.local else Subspace(), still
        if not self.scale:
            waves = Subspace(tuple({k: 1} for k in directions.keys(y) if "d" in k[1]))
            alike = [b.dims for b in directions.layout(x).boxes] == [b.dims for b in directions.layout(y).boxes]
            if self.groups == 1 and alike:
                waves = waves.join(_level(directions.layout(y)))
            still = still.join(directions.still(y).meet(waves))
            moving = moving.join(directions.moving(y).meet(waves))
            shared = shared.join(directions.shared(y).meet(waves))
        return [Blind(moving, still, shared)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x, y = site.inputs[0], site.outputs[0]
        alike = [b.dims for b in directions.layout(x).boxes] == [b.dims for b in directions.layout(y).boxes]
        known = directions.absent(x) if self.groups == 1 and self.local and alike else Subspace()
        if self.centre:  # u^T (x - mean) is u^T x only where the entries of u add up to 0
            sizes = [box.size for box in directions.layout(x).boxes]
            flat = [v for v in known.vectors if not sum(a * sizes[b] for (b, s), a in v.items() if "d" not in s)]
            known = Subspace(tuple(flat))
        lines = self.lines(directions.layout(y)) if self.local else []
        return [known.join(Subspace(tuple(lines)))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        if not self.scale:
            return degrees[0]
        if degrees[0] and self.sees_scale(lax=True):
            return None
        return 0 if self.local or not local or not degrees[0] else None


def _one_factor(balance: BalancePass, *wires: int) -> None:
    """Every wire carries the same multiple of the identity."""
    first = balance.key(wires[0], 0, balance.layout(wires[0]).boxes[0].constant)
    for w in wires:
        for box, label in balance.keys(w):
            row = {balance.key(w, box, label): 1}
            if set(label) == {"c"} and balance.key(w, box, label) != first:
                row[first] = -1
            if row != {first: 1}:
                balance.require(row)


def _without_mean(terms: Terms, layout: Algebra) -> Terms:
    """A shift without its mean over all features, where these are cut into several boxes."""
    out = {at: dict(row) for at, row in terms.items()}
    for (token, (box, label)), row in terms.items():
        if "d" in label:
            continue
        for i, other in enumerate(layout.boxes):
            target = out.setdefault((token, (i, other.constant)), {})
            for k, a in row.items():
                target[k] = target.get(k, 0) - Fraction(layout.boxes[box].size, layout.size) * a
    return out


def _level(layout: Algebra) -> Subspace:
    """Vectors that are constant on every box and have no mean: centring keeps them."""
    first, *others = layout.boxes
    found: list[Vector] = [
        {(0, first.constant): box.size, (i, box.constant): -first.size} for i, box in enumerate(others, 1)
    ]
    return Subspace(tuple(found))


def group_lines(layout: Algebra, groups: int) -> list[Vector]:
    """The all-ones vectors of the groups, as sectors; none where a box is cut across groups."""
    width = layout.size // groups
    out: list[Vector] = []
    group: Vector = {}  # the boxes of one group so far
    filled = 0
    for i, box in enumerate(layout.boxes):
        if not filled and box.size % width == 0:
            lead = axes_over(box.dims, box.size // width)
            if math.prod(box.dims[:lead]) * width != box.size:
                return []
            tail = "c" * (len(box.dims) - lead)
            out += [{(i, "".join(p) + tail): 1} for p in product("cd", repeat=lead)]
            continue
        group[(i, box.constant)] = 1
        filled += box.size
        if filled > width:
            return []
        if filled == width:
            out.append(group)
            group, filled = {}, 0
    return out


@dataclass(frozen=True)
class BatchNormRule(Rule):
    """BatchNorm core in training: `S_in` diagonal, `S_out = 0`, blind to every constant shift."""

    epsilon: float = 0.0

    @property
    def statement(self) -> str:
        return "BatchNorm core, training: S_in diagonal, S_out = 0; blind to every constant"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        size = layouts.size(x)
        layouts.meet(x, Nothing(size) if self.sees_scale(layouts.lax) else Diagonal(size))
        layouts.meet(y, Nothing(size))
        layouts.align(x, y)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        shifts.require_uniform(site.inputs[0])
        shifts.emit(site.outputs[0], {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        unread = whole_boxes(directions.moving(y), directions.layout(y))
        return [Blind(unread, Subspace.everything(directions.layout(x)))]


@dataclass(frozen=True)
class FrozenNormRule(Rule):
    """BatchNorm core in evaluation: a fixed gain and shift per feature, `S = 0`.

    A trained bias before it can answer for its mean, and one behind it for its gain; these laws depend on the
    statistics and are not listed.
    """

    @property
    def statement(self) -> str:
        return "BatchNorm core, evaluation: a fixed gain and shift, S_in = S_out = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        super().shape(layouts, site)
        layouts.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if shifts.directions.still(y).covers(shifts.layout(y)):
            shifts.require_uniform(x)
        else:
            shifts.forbid(x)
        shifts.emit(y, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving = whole_boxes(directions.moving(y), directions.layout(y))
        if directions.still(y).covers(directions.layout(y)):
            return [Blind(moving, Subspace.everything(directions.layout(y)))]
        return [Blind(moving, moving)]


def whole_boxes(space: Subspace, layout: Algebra) -> Subspace:
    """The part of a subspace that any gain per feature maps to itself: boxes that lie in it as a whole."""
    boxes: dict[int, list[VectorKey]] = {}
    for key in vector_keys(layout):
        boxes.setdefault(key[0], []).append(key)
    whole = [k for keys in boxes.values() if all(space.contains({k: 1}) for k in keys) for k in keys]
    return Subspace(tuple({k: 1} for k in whole))
