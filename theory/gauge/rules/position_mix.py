"""The rule of a product that mixes positions: `y = A x` with weights that are not parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Scalar
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, ones
from ..unknowns import MatrixKey, scale_terms
from .pointwise import HomogeneousRule, PassRule


@dataclass(frozen=True)
class PositionMixRule(Rule):
    """`y_i = sum_j A_ij x_j`, feature by feature: `S_y = S_x + c I` and `S_A = c I`; ports are A and x.

    The features of A are the positions of x.  A constant on x comes out where every row of A has one sum.

    Attributes:
        narrow: whether a matrix on the features of A may pass too, because the network computes A of parameters.
    """

    narrow: bool = False

    @property
    def statement(self) -> str:
        return (
            "weighted sums over positions: S_A = c I, S_out = S_in + c I; constants pass where the weights have a sum"
        )

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        a, x = site.inputs
        layouts.meet(a, Scalar(layouts.size(a)))
        layouts.equal(x, site.outputs[0])

    def balance(self, balance: BalancePass, site: Site) -> None:
        (a, x), y = site.inputs, site.outputs[0]
        factors = [balance.key(a, b, box.constant) for b, box in enumerate(balance.layout(a).boxes)]
        for other in factors[1:]:
            balance.require({other: 1, factors[0]: -1})
        constants = {(b, box.constant) for b, box in enumerate(balance.layout(x).boxes)}
        for box, label in sorted({*balance.keys(x), *balance.keys(y), *constants}):
            row: dict[MatrixKey | None, Number] = {balance.key(y, box, label): 1, balance.key(x, box, label): -1}
            if (box, label) in constants:
                row[factors[0]] = row.get(factors[0], 0) - 1  # one wire may be both A and x
            balance.require(row)

    def _sum(self, directions: DirectionPass, a: int) -> Number | None:
        """What every row of A adds up to; None where that is not one number."""
        line = ones(directions.layout(a))
        return next((c for u, c in directions.fixed(a) if u == line), None)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        (a, x), y = site.inputs, site.outputs[0]
        total = self._sum(shifts.directions, a)
        shifts.forbid(a)
        if total is None:
            shifts.forbid(x)
            shifts.emit(y, {})
            return
        shifts.require_uniform(x)
        shifts.emit(y, scale_terms(shifts.wire_terms(x, y, "uniform"), total))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        a, y = site.inputs[0], site.outputs[0]
        moving = directions.moving(y)
        alike = self._sum(directions, a) is not None
        return [
            Blind(),
            Blind(moving, directions.still(y) if alike else moving, directions.shared(y) if alike else moving),
        ]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        return [directions.absent(site.inputs[1])]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[1] and local else degrees[0] + degrees[1]


@dataclass(frozen=True)
class MovedRule(PassRule):
    """Positions that the data choose (`x[index]`), or add up (`index_add`): `S_out = S_in`; port 0 is what moves."""

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        return [*super().blind(directions, site), *(Blind() for _ in site.inputs[1:])]


@dataclass(frozen=True)
class ChosenRule(HomogeneousRule):
    """The largest of positions that the data choose, feature by feature, as `HomogeneousRule`; port 0 is what moves."""

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        return [*super().blind(directions, site), *(Blind() for _ in site.inputs[1:])]
