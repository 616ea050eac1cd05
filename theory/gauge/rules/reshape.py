"""Rules of blocks that turn positions into features and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Algebra, Copies, Diagonal
from ..boxes import Box, LayoutError
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector, VectorKey, vector_keys
from ..unknowns import Sector
from .norms import NormRule


@dataclass(frozen=True)
class FlattenRule(Rule):
    """Spectator indices become features: every feature stands for `before x after` copies with one `S`."""

    before: int = 1
    after: int = 1

    @property
    def statement(self) -> str:
        return "flatten: S_out = I (x) S_in (x) I"

    def _label(self, label: str) -> str:
        return "c" * (self.before > 1) + label + "c" * (self.after > 1)

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.flatten(x, y, self.before, self.after)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0], rename=lambda b, s: (b, self._label(s)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.require_uniform(x)
        shifts.emit(y, shifts.wire_terms(x, y, rename=lambda k: (k[0], self._label(k[1])), weights="uniform"))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        keys = directions.keys(x)
        names = {k: (k[0], self._label(k[1])) for k in keys}
        unseen = directions.moving(y)
        moving = [k for k in keys if all(unseen.contains({m: 1}) for m in self._spread(k))]
        still, shared = directions.still(y).preimage(names), directions.shared(y).preimage(names)
        return [Blind(Subspace(tuple({k: 1} for k in moving)), still, shared)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        vectors = directions.absent(x).vectors
        absent: list[Vector] = [{m: 1} for v in vectors if len(v) == 1 for k in v for m in self._spread(k)]
        # A sum that is the same at every position: the differences between positions are 0.
        for u, _ in directions.fixed(x):
            if len(u) == 1:
                absent += [{m: 1} for k in u for m in self._spread(k) if m[1] != self._label(k[1])]
        writer = directions.writer(x)
        if writer and isinstance(writer.rule, NormRule) and writer.rule.centre and not writer.rule.local:
            lines = writer.rule.lines(directions.layout(x))  # what is centred over features and positions together
            absent += [{(b, self._label(s)): a for (b, s), a in u.items()} for u in lines]
        return [Subspace(tuple(absent))]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        copies = self.before * self.after
        known = directions.fixed(site.inputs[0])
        return [[({(b, self._label(s)): a for (b, s), a in u.items()}, c * copies) for u, c in known]]

    def _spread(self, key: tuple[int, str]) -> list[tuple[int, str]]:
        fronts = "cd" if self.before > 1 else [""]
        backs = "cd" if self.after > 1 else [""]
        return [(key[0], f + key[1] + b) for f in fronts for b in backs]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and local and self.before * self.after > 1 else degrees[0]


@dataclass(frozen=True)
class UnflattenRule(Rule):
    """Features that lie together become one: `S_in = S_out (x) I` over each `pieces` of them.

    Attributes:
        pieces: how many features become one.
        choose: True where one of them is taken (maxout), so that only a scale per feature passes; False where each
            goes to a position of its own (pixel shuffle).
        apart: True where nothing sees the scale of a single position, so that each piece has a scale of its own.
        outer: True where features that lie far apart become one (heads that are treated as positions).
    """

    pieces: int
    choose: bool = False
    apart: bool = False
    outer: bool = False

    @property
    def statement(self) -> str:
        what = "one of several features" if self.choose else "features to positions"
        return f"{what}: S_in = S_out (x) I" + (", diagonal" if self.choose else "") + ", t_in = t_out (x) 1"

    def _piece(self, key: VectorKey, kind: str = "c") -> VectorKey:
        piece = kind * (self.pieces > 1)
        return (key[0], piece + key[1] if self.outer else key[1] + piece)

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.choose:
            layouts.meet(y, Diagonal(layouts.size(y)))
        boxes = layouts.layout(y).boxes
        if not self.apart or len(boxes) > 1:
            layouts.flatten(y, x, *((self.pieces, 1) if self.outer else (1, self.pieces)))
            return
        whole = Copies(self.pieces, layouts.layout(y), inner=not self.outer).boxes[0]
        layouts.meet(x, Algebra((Box.of(whole.dims, {*whole.labels, self._scale(boxes[0])}),), (0,)))
        at, rest = (0, slice(1, None)) if self.outer else (-1, slice(None, -1))
        if len(layouts.layout(x).boxes) > 1 or layouts.layout(x).boxes[0].dims[at] != self.pieces:
            raise LayoutError("pixels are cut across the pieces of one feature")
        box = layouts.layout(x).boxes[0]
        layouts.meet(y, Algebra((Box.of(box.dims[rest], {s[rest] for s in box.labels if s[at] == "c"}),), (0,)))

    def _scale(self, box: Box) -> str:
        """The sector of a scale for each piece, of a box of the output."""
        alike = "c" * len(box.dims)
        return "d" + alike if self.outer else alike + "d"

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        free = {(0, self._scale(balance.layout(y).boxes[0]))} if self.apart else set()
        for box, label in balance.keys(y):
            balance.require({Sector(y, box, label): 1, balance.key(x, *self._piece((box, label))): -1})
        copies = {self._piece(k) for k in balance.keys(y)} | free
        for key in balance.keys(x):
            if key not in copies:
                balance.require({Sector(x, *key): 1})

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        alike = {self._piece(k): k for k in vector_keys(shifts.layout(y))}
        shifts.forbid(x, allow=[{k: 1} for k in alike])
        if self.choose:
            shifts.match_tokens(x, y)
        else:
            shifts.require_uniform(x)
        shifts.emit(y, shifts.wire_terms(x, y, rename=lambda k: alike.get(k, (-1, ""))))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving = directions.moving(y).relabel(self._piece)
        if not self.choose and self.pieces > 1:
            moving = moving.join(directions.moving(y).relabel(lambda k: self._piece(k, "d")))
        still, shared = (space.relabel(self._piece) for space in (directions.still(y), directions.shared(y)))
        return [Blind(moving, moving.join(still), shared)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        if self.choose:
            return [Subspace()]
        known, keys = directions.absent(site.inputs[0]), directions.keys(site.outputs[0])
        both = [known.preimage({k: self._piece(k, kind) for k in keys}) for kind in "cd"]
        return [both[0].meet(both[1])]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0]
