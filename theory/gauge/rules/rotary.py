"""The rule of rotary position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..algebra import Algebra, Full
from ..boxes import Box
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, VectorKey, vector_keys


@dataclass(frozen=True)
class RotaryRule(Rule):
    """Rotations of planes by position, per head: `S` commutes with them.

    Planes of distinct frequencies carry a scalar each; `c` planes of one frequency carry a Hermitian `c x c` matrix
    (symmetric on both coordinates alike, and skew-symmetric between them).  Features that are not rotated carry any
    matrix of their own.

    Attributes:
        heads: number of heads.
        width: features of a head.
        interleaved: whether the planes are neighbouring features and not the two halves.
        rotated: features of a head that are rotated; they come first.
        shared: number of neighbouring planes that share a frequency.
    """

    heads: int
    width: int
    rotated: int
    interleaved: bool = False
    shared: int = 1

    @property
    def statement(self) -> str:
        if self.shared > 1:
            return "rotary position: S Hermitian on the planes of one frequency, S_out = S_in"
        return "rotary position: S a scalar on every plane of one frequency, S_out = S_in"

    def _planes(self) -> tuple[tuple[int, ...], set[str]]:
        """Axes and sectors of the rotated features of one head."""
        alike = ["cc", "cd", "cj", "co"] if self.shared > 1 else ["cc"]
        own = {(f, "c", s[1]) for f in "cd" for s in alike}
        own |= {(f, "k", "k") for f in "cd"} if self.shared > 1 else set()
        sizes = (self.rotated // 2 // self.shared, 2, self.shared)  # frequencies, coordinates, planes
        order = (0, 2, 1) if self.interleaved else (1, 0, 2)
        return tuple(sizes[i] for i in order), {"".join(s[i] for i in order) for s in own}

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        dims, labels = self._planes()
        if self.rotated == self.width:
            heads = {a + s for a in "cdjo" for s in labels if a in "cd" or set(s) <= {"c", "d"}}
            whole = Algebra((Box.of((self.heads, *dims), heads),), (0,))  # the same plane of all heads turns alike
        else:
            head = (Box.of(dims, labels), Full(self.width - self.rotated).boxes[0])
            whole = Algebra(head * self.heads, tuple(range(2 * self.heads)))
        layouts.meet(x, whole)
        layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])

    def _constant(self, layout: Algebra) -> list[VectorKey]:
        """The sectors of features that are not rotated."""
        starts = accumulate((b.size for b in layout.boxes), initial=0)
        kept = {i for i, at in enumerate(starts) if at % self.width >= self.rotated}
        return [k for k in vector_keys(layout) if k[0] in kept]

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        kept = self._constant(shifts.layout(x))
        shifts.forbid(x, allow=[{k: 1} for k in kept])
        if kept:
            shifts.match_tokens(x, y)
        shifts.emit(y, shifts.wire_terms(x, y, keys={k: k for k in kept}) if kept else {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        names = {k: k for k in self._constant(directions.layout(x))}
        return [Blind(directions.moving(y).preimage(names), directions.still(y).preimage(names))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        names = {k: k for k in self._constant(directions.layout(site.inputs[0]))}
        return [directions.absent(site.inputs[0]).preimage(names)]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
