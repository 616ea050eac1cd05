"""The rule of a transpose: positions become features, and features positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Diagonal, Scalar
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, ones
from ..unknowns import MatrixKey


@dataclass(frozen=True)
class TurnRule(Rule):
    """A transpose: the features of y are positions of x, and the positions of y are features of x.

    A multiple of the identity is the same on both sides.  Another matrix `D` on the features of x acts on the positions
    of y.  Where everything that reads y acts on every position alike, and is homogeneous of degree p, up to the
    transposes that turn it back, `D` comes out there as `p D`; these then have x as a second port.

    Attributes:
        open: which matrices on x come out again: `full` (all that reads y is linear), `diagonal`, or none.
        power: with a second port: the degree of what lies between that port and x.
        linear: with a second port: whether all of it is linear.
        narrow: whether more matrices may come out than the rule lets through.
    """

    open: str = ""
    power: Number = 1
    linear: bool = False
    narrow: bool = True

    @property
    def statement(self) -> str:
        through = f"; other {self.open} matrices of x pass what reads y" if self.open else ""
        return f"transpose: multiples of I are equal on features and positions{through}; t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.open != "full":
            layouts.meet(x, Diagonal(layouts.size(x)) if self.open else Scalar(layouts.size(x)))
        if len(site.inputs) == 1:
            layouts.meet(y, Scalar(layouts.size(y)))
            return
        if not self.linear:
            layouts.meet(y, Diagonal(layouts.size(y)))
        layouts.align(site.inputs[1], y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        ends = {w: _constants(balance, w) for w in (x, y)}
        balance.require({ends[x][0]: 1, ends[y][0]: -1})
        for w in (x, y):
            if (w == x and not self.open) or (w == y and len(site.inputs) == 1):
                for key in ends[w][1:]:
                    balance.require({key: 1, ends[w][0]: -1})
        if len(site.inputs) == 1:
            return
        source = site.inputs[1]  # what comes out of y but for a multiple of the identity
        first, last = _constants(balance, source), ends[y]
        for a, b in zip(first[1:], last[1:], strict=True):
            row: dict[MatrixKey | None, Number] = {}
            for key, c in ((b, 1), (a, -self.power), (last[0], -1), (first[0], self.power)):
                row[key] = row.get(key, 0) + c
            balance.require(row)
        for box, label in sorted({*balance.keys(source), *balance.keys(y)}):
            if label != balance.layout(y).boxes[box].constant:
                balance.require({balance.key(source, box, label): self.power, balance.key(y, box, label): -1})

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if _unseen(shifts.directions, y):
            shifts.require_uniform(x)
        else:
            shifts.forbid(x)
        shifts.emit(y, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        everything = Subspace.everything(directions.layout(x))
        any_ = directions.moving(y).covers(directions.layout(y))
        alike = everything if any_ or _unseen(directions, y) else Subspace()
        # what all positions of y share is a multiple of 1 on the features of x
        line = (
            Subspace((ones(directions.layout(x)),)) if directions.shared(y).covers(directions.layout(y)) else Subspace()
        )
        moving = everything if any_ else line
        out = [Blind(moving, alike.join(moving), alike.join(moving))]
        for w in site.inputs[1:]:  # not read
            whole = Subspace.everything(directions.layout(w))
            out.append(Blind(whole, whole, whole))
        return out

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and local else degrees[0]


def _constants(balance: BalancePass, w: int) -> list[MatrixKey | None]:
    """The multiples of the identity on every box of a wire."""
    return [balance.key(w, b, box.constant) for b, box in enumerate(balance.layout(w).boxes)]


def _unseen(directions: DirectionPass, y: int) -> bool:
    """Whether nothing sees all features move by one amount, another one at every position."""
    return directions.moving(y).contains(ones(directions.layout(y)))
