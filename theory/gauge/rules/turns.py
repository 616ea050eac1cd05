"""The rule of a transpose: positions become features, and features positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Algebra, Scalar
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, ones


@dataclass(frozen=True)
class TurnRule(Rule):
    """A transpose: the features of y are positions of x, and the positions of y are features of x.

    A multiple of the identity is the same on both sides.  Another matrix on the features of x acts on the positions of
    y; it passes where these are an axis of their own, because transposes alone tell them apart (`PositionsRule`).

    Attributes:
        axis: which axis of the positions of x is turned.
        joined: whether the positions of x, and those of y, are an axis of their own.
        narrow: whether more matrices may pass than the rule lets through.
    """

    axis: int = 0
    joined: tuple[bool, bool] = (False, False)
    narrow: bool = True

    @property
    def statement(self) -> str:
        through = "; other matrices of x are those of the positions of y" if self.joined[1] else ""
        return f"transpose: multiples of I are equal on features and positions{through}; shifts are turned too"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        for w, joined in ((y, self.joined[0]), (x, self.joined[1])):
            if not joined:
                layouts.meet(w, Scalar(layouts.size(w)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.same_on_ones(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if all(len(shifts.tokens(w)) == 2 and _single(shifts.layout(w)) for w in (x, y)):
            own = shifts.wire_terms(x, x)
            shifts.emit(y, {((0, k[1]), (0, t[1])): row for (t, k), row in own.items()})
            return
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
        # what all positions of y share is a multiple of 1 on the features of x, and one for all its other positions
        shared = directions.shared(y).covers(directions.layout(y))
        line = directions.ones(x) if shared else Subspace()
        alone = directions.positions(y) == directions.layout(x).size
        moving = everything if any_ else line if alone else Subspace()
        still = alike.join(line)
        return [Blind(moving, still, still)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and local else degrees[0]


def _single(layout: Algebra) -> bool:
    """Whether a wire is one run of features along one axis."""
    return len(layout.boxes) == 1 and len(layout.boxes[0].dims) == 1


def _unseen(directions: DirectionPass, y: int) -> bool:
    """Whether nothing sees all features move by one amount, another one at every position."""
    return directions.moving(y).contains(ones(directions.layout(y)))
