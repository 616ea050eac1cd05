"""Rules of what lets nothing through: operations that nobody understands, and the end of a wire that nothing reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Nothing
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace


@dataclass(frozen=True)
class OpaqueRule(Rule):
    """An operation that nobody understands: nothing passes, and the parameters that it uses never answer.

    Attributes:
        parameters: names and shapes of its parameters.
    """

    parameters: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def statement(self) -> str:
        return "opaque: S = 0 and t = 0 on every port, and its parameters stay"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return tuple((f"axis {i} of {name}", n) for name, shape in self.parameters for i, n in enumerate(shape))

    def uses(self, site: Site) -> list[Use]:
        wires = iter(site.inner)
        return [
            Use(
                name,
                tuple(((next(wires), 1),) for _ in shape),
                tuple(View.axis(shape, i) for i in range(len(shape))),
            )
            for name, shape in self.parameters
        ]


@dataclass(frozen=True)
class HeldRule(OpaqueRule):
    """Parameters that a block computes with and its rule does not speak of: no gauge moves them."""

    @property
    def statement(self) -> str:
        return "its parameters stay"


@dataclass(frozen=True)
class DiscardRule(Rule):
    """The end of a wire that nothing reads: whatever moves there is unseen."""

    @property
    def statement(self) -> str:
        return "nothing reads it: every t is unseen, so that what writes it never moves"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        pass

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        pass

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        everything = Subspace.everything(directions.layout(site.inputs[0]))
        return [Blind(everything, everything, everything)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0


@dataclass(frozen=True)
class CutRule(OpaqueRule):
    """What sends no gradient back (`detach`, signs, the larger of two): whatever it reads moves unseen.

    What it gives is as good as an input of the network: `S = 0`, `t = 0`.  A law of a network that reads any numbers
    there holds for those that are there.
    """

    @property
    def statement(self) -> str:
        return "no gradient comes back: what it reads is unseen, what it gives is an input: S = 0, t = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in (*site.outputs, *site.inner):
            layouts.meet(w, Nothing(layouts.size(w)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        for w in site.outputs:
            shifts.emit(w, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        everything = [Subspace.everything(directions.layout(w)) for w in site.inputs]
        return [Blind(e, e, e) for e in everything]


OPAQUE = Rule()
