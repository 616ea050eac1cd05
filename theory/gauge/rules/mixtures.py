"""Rules of blocks that weigh their inputs, blend them, or choose between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Diagonal, Nothing
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace
from .norms import whole_boxes


@dataclass(frozen=True)
class MixtureRule(Rule):
    """`y = sum_i p_i f_i` with weights that sum to 1: `S` and `t` of all `f_i` equal those of `y`, none on `p`.

    Port 0 is `p`.  `normalised` is False for weights that do not sum to 1: then no constant passes.  One such weight by
    itself is a factor, and carries a scale of its own.
    """

    normalised: bool = True

    @property
    def statement(self) -> str:
        if not self.normalised:
            return "weighed sum: S_i = S_out and S = 0 on several weights, S_i + s I = S_out with s on one; t = 0"
        return "mixture: S_i = S_out, t_i = t_out; S = 0 on the weights"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        several = self.normalised or layouts.size(site.inputs[0]) > 1
        layouts.meet(site.inputs[0], Nothing(layouts.size(site.inputs[0])) if several else Diagonal(1))
        for x in site.inputs[1:]:
            layouts.equal(x, site.outputs[0])

    def balance(self, balance: BalancePass, site: Site) -> None:
        weight, y = site.inputs[0], site.outputs[0]
        scale = balance.key(weight, 0, balance.layout(weight).boxes[0].constant)
        for x in site.inputs[1:]:
            balance.total([(x, 1), (y, -1)], (scale, 1) if scale else None)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        y = site.outputs[0]
        shifts.forbid(site.inputs[0])
        if not self.normalised:
            super().shift(shifts, site)
            return
        first = site.inputs[1]
        for x in site.inputs[2:]:
            shifts.require_equal(first, x)
        shifts.match_tokens(first, y)
        shifts.emit(y, shifts.wire_terms(first, y))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        moving = directions.moving(site.outputs[0])
        return [Blind(), *(Blind(moving, moving) for _ in site.inputs[1:])]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        common = directions.absent(site.inputs[1])
        for x in site.inputs[2:]:
            common = common.meet(directions.absent(x))
        return [common]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[1] if not degrees[0] and len(set(degrees[1:])) == 1 else None


@dataclass(frozen=True)
class BlendRule(Rule):
    """`y = g a + (1 - g) b` feature by feature: one diagonal `S` and one `t` on `a`, `b` and `y`, none on `g`.

    Port 0 is `g`, then `a` and `b`.
    """

    @property
    def statement(self) -> str:
        return "blend g a + (1 - g) b: S_a = S_b = S_out diagonal, t_a = t_b = t_out; S = 0 on the gate"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        gate, y = site.inputs[0], site.outputs[0]
        layouts.meet(gate, Nothing(layouts.size(gate)))
        layouts.meet(y, Diagonal(layouts.size(y)))
        for x in site.inputs[1:]:
            layouts.equal(x, y)
        layouts.align(gate, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        for x in site.inputs[1:]:
            balance.equal(x, site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        gate, a, b = site.inputs
        shifts.forbid(gate)
        shifts.require_equal(a, b)
        shifts.match_tokens(a, site.outputs[0])
        shifts.emit(site.outputs[0], shifts.wire_terms(a, site.outputs[0]))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        free = whole_boxes(directions.moving(y), directions.layout(y))
        return [Blind(free, free) for _ in site.inputs]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[1] if not degrees[0] and degrees[1] == degrees[2] else None


@dataclass(frozen=True)
class LargerRule(Rule):
    """`y = max(a, b)` feature by feature: one diagonal `S` and one `t` on `a`, `b` and `y`."""

    @property
    def statement(self) -> str:
        return "larger of two: S_a = S_b = S_out diagonal, t_a = t_b = t_out"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        y = site.outputs[0]
        layouts.meet(y, Diagonal(layouts.size(y)))
        for x in site.inputs:
            layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        for x in site.inputs:
            balance.equal(x, site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        (a, b), y = site.inputs, site.outputs[0]
        if shifts.tokens(a) != shifts.tokens(b):
            super().shift(shifts, site)
            return
        shifts.require_equal(a, b)
        shifts.match_tokens(a, y)
        shifts.emit(y, shifts.wire_terms(a, y))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        free = whole_boxes(directions.moving(y), directions.layout(y))
        return [Blind(free, free) for _ in site.inputs]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        a, b = (whole_boxes(directions.absent(x), directions.layout(x)) for x in site.inputs)
        return [a.meet(b)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0] if degrees[0] == degrees[1] else None
