"""The rules of fixed factors that differ from feature to feature, and of fixed matrices."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from ..algebra import Algebra, Nothing, Scalar
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


@dataclass(frozen=True)
class FixedMapRule(Rule):
    """A fixed matrix on the features: `S_out = S_in = c I`; what follows its own singular directions is not listed."""

    @property
    def statement(self) -> str:
        return "fixed matrix: S_out = S_in = c I; t = 0 through it"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in site.wires:
            layouts.meet(w, Scalar(layouts.size(w)))
        if any(not layouts.layout(w).count for w in site.wires):
            for w in site.wires:
                layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.require(
            {
                balance.key(w, 0, balance.layout(w).boxes[0].constant): sign
                for w, sign in ((site.inputs[0], 1), (site.outputs[0], -1))
            }
        )

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]


def divided(space: Subspace, factors: Sequence[Fraction]) -> Subspace:
    """The vectors whose entries, times the factor of their box, lie in a subspace; none through a factor of 0."""
    kept = [v for v in space.vectors if all(factors[k[0]] for k in v)]
    return Subspace(tuple({k: a / factors[k[0]] for k, a in v.items()} for v in kept))
