"""The rule of one learned number that scales a whole wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..algebra import Diagonal
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace
from ..unknowns import Sector


@dataclass(frozen=True)
class ScalarGainRule(Rule):
    """`y = a x` with one learned number: `S_out - S_in = c I`, `xi_a = c a`.

    What a reader does not see of a shift of `y` it does not see of one of `x`; any other constant would leave `a` times
    itself, which is no gradient.

    Attributes:
        gain: parameter name of `a`, shape `(1,)`.
        offset: what is added to it.
    """

    gain: str
    offset: Fraction = Fraction(0)

    @property
    def statement(self) -> str:
        return "one learned factor a: S_out - S_in = c I, xi_a = c a"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return (("gain", 1),)

    def uses(self, site: Site) -> list[Use]:
        return [Use(self.gain, (((site.inner[0], 1),),), (View.axis((1,), 0),), offset=self.offset)]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.align(site.inputs[0], site.outputs[0])
        layouts.meet(site.inner[0], Diagonal(1))

    def balance(self, balance: BalancePass, site: Site) -> None:
        (gain,) = site.inner
        factor = Sector(gain, 0, balance.layout(gain).boxes[0].constant)
        balance.total([(site.outputs[0], 1), (site.inputs[0], -1)], scalar=(factor, -1))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.forbid(x, shifts.directions.still(y).vectors)
        shifts.emit(y, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        (y,) = site.outputs
        return [Blind(directions.moving(y), directions.still(y))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        return [directions.absent(site.inputs[0])]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
