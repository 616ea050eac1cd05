"""Rules of features that are repeated and of neighbouring features that are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, VectorKey, vector_keys


def _with(kind: str, copies: int) -> str:
    return kind if copies > 1 else ""


@dataclass(frozen=True)
class RepeatRule(Rule):
    """Every feature `copies` times in a row: `S_out = S_in (x) I`; differences of copies are absent."""

    copies: int

    @property
    def statement(self) -> str:
        return "repeated features: S_out = S_in (x) I, t_out = t_in (x) 1"

    def _copy(self, key: VectorKey, kind: str = "c") -> VectorKey:
        return (key[0], key[1] + _with(kind, self.copies))

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.flatten(site.inputs[0], site.outputs[0], 1, self.copies)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0], rename=lambda b, s: self._copy((b, s)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.match_tokens(x, y)
        shifts.emit(y, shifts.wire_terms(x, y, rename=self._copy))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        names = {k: self._copy(k) for k in directions.keys(site.inputs[0])}
        return [Blind(directions.moving(y).preimage(names), directions.still(y).preimage(names))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        absent = directions.absent(x).relabel(self._copy)
        if self.copies == 1:
            return [absent]
        return [absent.join(Subspace(tuple({self._copy(k, "d"): 1} for k in directions.keys(x))))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]


@dataclass(frozen=True)
class SumFeaturesRule(Rule):
    """The sum of every `copies` neighbouring features: `S_in = S_out (x) I`; their differences are unseen."""

    copies: int

    @property
    def statement(self) -> str:
        return "sums of neighbouring features: S_in = S_out (x) I, t_out = sum of t_in"

    def _copy(self, key: VectorKey, kind: str = "c") -> VectorKey:
        return (key[0], key[1] + _with(kind, self.copies))

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.flatten(site.outputs[0], site.inputs[0], 1, self.copies)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.outputs[0], site.inputs[0], rename=lambda b, s: self._copy((b, s)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        alike = {self._copy(k): k for k in vector_keys(shifts.layout(y))}
        shifts.match_tokens(x, y)
        terms = shifts.wire_terms(x, y, keys=alike)
        shifts.emit(y, {at: {k: a * self.copies for k, a in row.items()} for at, row in terms.items()})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving = directions.moving(y).relabel(self._copy)
        still = directions.still(y).relabel(self._copy)
        if self.copies > 1:
            moving = moving.join(Subspace(tuple({self._copy(k, "d"): 1} for k in directions.keys(y))))
        return [Blind(moving, moving.join(still))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        names = {k: self._copy(k) for k in directions.keys(site.outputs[0])}
        return [directions.absent(site.inputs[0]).preimage(names)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
