"""The rules of fixed factors that differ from feature to feature, and of fixed matrices."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from ..algebra import Algebra, Parts
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace
from ..unknowns import Sector, Terms


@dataclass(frozen=True)
class FixedGainRule(Rule):
    """Fixed factors of runs of features (a mask, signs): `S_out = S_in` run by run, `t_out = a t_in`.

    What a factor of 0 stands before is never read, and what stands behind it is never there.

    Attributes:
        runs: length and factor of every run of features.
    """

    runs: tuple[tuple[int, Fraction], ...]

    @property
    def statement(self) -> str:
        return "fixed factors a of runs of features: S_out = S_in run by run, t_out = a t_in"

    def factors(self, layout: Algebra) -> list[Fraction]:
        """The factor of every box of a wire."""
        ends = list(accumulate(n for n, _ in self.runs))
        stops = accumulate(box.size for box in layout.boxes)
        return [self.runs[bisect_left(ends, stop)][1] for stop in stops]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        for at in list(accumulate(n for n, _ in self.runs))[:-1]:
            layouts.cut_at(x, at)
        layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        for (box, label), factor in ((k, self.factors(balance.layout(x))[k[0]]) for k in balance.keys(x)):
            if factor:
                balance.require({Sector(x, box, label): 1, Sector(y, box, label): -1})

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        factors = self.factors(shifts.layout(x))
        shifts.match_tokens(x, y)
        terms = shifts.wire_terms(x, y)
        rows: Terms = {(t, k): {v: a * factors[k[0]] for v, a in row.items()} for (t, k), row in terms.items()}
        shifts.emit(y, {at: row for at, row in rows.items() if factors[at[1][0]]})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        factors = self.factors(directions.layout(x))
        unread = Subspace(tuple({k: 1} for k in directions.keys(x) if not factors[k[0]]))

        def before(space: Subspace) -> Subspace:
            return divided(space, factors).join(unread) if unread else divided(space, factors)

        return [Blind(*(before(s) for s in (directions.moving(y), directions.still(y), directions.shared(y))))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x, y = site.inputs[0], site.outputs[0]
        factors = self.factors(directions.layout(x))
        never = Subspace(tuple({k: 1} for k in directions.keys(y) if not factors[k[0]]))
        known = divided(directions.absent(x), factors)
        return [known.join(never) if never else known]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]


Runs = tuple[tuple[int, int], ...]  # length and part of every run of features


@dataclass(frozen=True)
class FixedMapRule(Rule):
    """A fixed matrix on the features: `S_out = S_in = c I` on every part of the features that its entries join.

    What follows its own singular directions is not listed.

    Attributes:
        parts: the features that it reads and those that it gives, as runs with the number of their part; empty where
            all are one part.
    """

    parts: tuple[Runs, Runs] | None = None

    @property
    def statement(self) -> str:
        joined = " on every part that its entries join" if self.parts else ""
        return f"fixed matrix: S_out = S_in = c I{joined}; t = 0 through it"

    def runs(self, layouts: LayoutPass | BalancePass, site: Site) -> list[Runs]:
        """The parts of what it reads and of what it gives."""
        if self.parts is not None:
            return list(self.parts)
        return [((layouts.layout(w).size, 0),) for w in site.wires]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        runs = self.runs(layouts, site)
        for w, parts in zip(site.wires, runs, strict=True):
            layouts.meet(w, Parts(parts))
        found = [_without_factor(layouts.layout(w), parts) for w, parts in zip(site.wires, runs, strict=True)]
        zero = frozenset().union(*found)
        if zero:
            for w, parts in zip(site.wires, runs, strict=True):
                layouts.meet(w, Parts(parts, zero))

    def balance(self, balance: BalancePass, site: Site) -> None:
        first: dict[int, Sector | None] = {}
        for w, parts in zip(site.wires, self.runs(balance, site), strict=True):
            layout, seen = balance.layout(w), set()
            for box, part in enumerate(_part_of_boxes(layout, parts)):
                if part in seen:
                    continue
                seen.add(part)
                key = balance.key(w, box, layout.boxes[box].constant)
                if part in first:
                    balance.require({first[part]: 1, key: -1})
                else:
                    first[part] = key

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]


def _part_of_boxes(layout: Algebra, runs: Runs) -> list[int]:
    """The part of every box of a wire, which is cut at least as finely."""
    ends = list(accumulate(n for n, _ in runs))
    stops = accumulate(box.size for box in layout.boxes)
    return [runs[bisect_left(ends, stop)][1] for stop in stops]


def _without_factor(layout: Algebra, runs: Runs) -> set[int]:
    """The parts that cannot be scaled on a wire."""
    boxes = zip(layout.boxes, _part_of_boxes(layout, runs), strict=True)
    return {part for box, part in boxes if box.constant not in box.labels}


def divided(space: Subspace, factors: Sequence[Fraction]) -> Subspace:
    """The vectors whose entries, times the factor of their box, lie in a subspace; none through a factor of 0."""
    kept = [v for v in space.vectors if all(factors[k[0]] for k in v)]
    return Subspace(tuple({k: a / factors[k[0]] for k, a in v.items()} for v in kept))
