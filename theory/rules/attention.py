"""The rule of the core of attention: scores, softmax over keys, mixing of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from ..algebra import Algebra, Blocks, Box, Copies, Full
from ..subspace import Subspace
from .base import Blind, Rule

if TYPE_CHECKING:
    from ..balance import Balance, MatrixKey
    from ..diagram import Site
    from ..directions import Directions
    from ..layouts import Layouts
    from ..linalg import Number
    from ..shifts import Shifts


@dataclass(frozen=True)
class AttentionRule(Rule):
    """Heads of `q k^T` and `A v`; the ports are q, k, v.

    Scores: `S_q + S_k = c I` per head, softmax forces `c = 0`; mixing: `S_out = S_v + c I`.  A key head that serves
    several query heads carries the same `S` for all of them; without softmax these heads may also be mixed linearly.
    """

    heads: int
    kv_heads: int
    softmax: bool = True

    @property
    def statement(self) -> str:
        if self.softmax:
            return "softmax attention: S_q = -S_k per head, S_out = S_v per head; keys blind to shifts"
        return "linear attention: S_q + S_k = c I and S_out = S_v + c I per head"

    def _many(self, width: int) -> Algebra:
        """What a wire of query heads may carry, `width` features per head."""
        repeated = Copies(self.heads // self.kv_heads, Full(width)) if self.heads > self.kv_heads else Full(width)
        if not self.softmax and self.heads > self.kv_heads:
            box = repeated.boxes[0]
            mixes = {a + "c" * (len(box.dims) - 1) for a in "djo"}  # heads of one key may be mixed
            repeated = Algebra((Box.of(box.dims, box.labels | mixes),), (0,))
        return Blocks(self.kv_heads, repeated) if self.kv_heads > 1 else repeated

    def _few(self, width: int) -> Algebra:
        return Blocks(self.kv_heads, Full(width)) if self.kv_heads > 1 else Full(width)

    def shape(self, layouts: Layouts, site: Site) -> None:
        q, k, v = site.inputs
        y = site.outputs[0]
        for many, few in ((q, k), (y, v)):
            layouts.meet(many, self._many(layouts.size(many) // self.heads))
            layouts.meet(few, self._few(layouts.size(few) // self.kv_heads))
            layouts.grouped(many, few, self.kv_heads, self.heads // self.kv_heads)

    def _place(self, layout: Algebra) -> int:
        """Position of the axis of repeated heads on a key or value wire's label."""
        dims, size, at = layout.boxes[0].dims, 1, 0
        while size < self.kv_heads:
            size *= dims[at]
            at += 1
        return at

    def _spread(self, layout: Algebra, label: str, repeat: str = "c") -> str:
        """The label on a wire of query heads that belongs to one on a wire of key heads."""
        at = self._place(layout)
        return label[:at] + (repeat if self.heads > self.kv_heads else "") + label[at:]

    def balance(self, balance: Balance, site: Site) -> None:
        q, k, v = site.inputs
        y = site.outputs[0]
        for many, few, sign in ((q, k, -1), (y, v, 1)):
            layout = balance.layout(few)
            at = self._place(layout)
            for label in sorted(layout.boxes[0].labels | self._heads_only(layout) | self._gathered(balance, many, at)):
                terms: dict[MatrixKey | None, Number] = {
                    balance.key(many, 0, self._spread(layout, label)): 1,
                    balance.key(few, 0, label): -sign,
                }
                if not self.softmax and set(label[at:]) <= {"c"}:
                    terms[(site.name, label[:at])] = -1
                balance.require(terms)
        if not self.softmax and self.heads > self.kv_heads:
            narrow, wide = balance.layout(k), balance.layout(v)
            for p, a in product(self._patterns(narrow), "djo"):
                one = self._spread(narrow, self._head_label(p, narrow), a)
                two = self._spread(wide, self._head_label(p, wide), a)
                balance.require({balance.key(q, 0, one): 1, balance.key(y, 0, two): -1})

    def _heads_only(self, layout: Algebra) -> set[str]:
        return {self._head_label(p, layout) for p in self._patterns(layout)}

    def _gathered(self, balance: Balance, many: int, at: int) -> set[str]:
        """The labels of a wire of query heads that do not depend on the copy, as labels of its key heads."""
        labels = balance.layout(many).boxes[0].labels
        return {s[:at] + s[at + 1 :] for s in labels if s[at] == "c"} if self.heads > self.kv_heads else set(labels)

    def _patterns(self, layout: Algebra) -> list[str]:
        return ["".join(p) for p in product("cd", repeat=self._place(layout))]

    def _head_label(self, pattern: str, layout: Algebra) -> str:
        return pattern + "c" * (len(layout.boxes[0].dims) - self._place(layout))

    def shift(self, shifts: Shifts, site: Site) -> None:
        q, k, v = site.inputs
        y = site.outputs[0]
        shifts.forbid(q)
        if not self.softmax:
            super().shift(shifts, site)
            return
        shifts.require_uniform(k)
        shifts.require_uniform(v)
        layout = shifts.layout(v)
        shifts.emit(
            site,
            y,
            shifts.wire_terms(v, y, rename=lambda key: (key[0], self._spread(layout, key[1])), weights="uniform"),
        )

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        _, k, v = site.inputs
        y = site.outputs[0]
        layout = directions.layout(v)
        names = {key: (0, self._spread(layout, key[1])) for key in directions.keys(v)}
        still = directions.still(y).preimage(names) if self.softmax else Subspace()
        moving = self._free(directions, v, lambda m: directions.moving(y).contains({m: 1}))
        keys = Subspace.everything(directions.layout(k)) if self.softmax else Subspace()
        return [Blind(), Blind(still=keys), Blind(moving, still.join(moving))]

    def silent(self, directions: Directions, site: Site) -> Sequence[Subspace]:
        v = site.inputs[2]
        layout = directions.layout(v)
        known = directions.absent(v)
        whole = [
            k
            for k in directions.keys(v)
            if all(known.contains({(0, p + k[1][self._place(layout) :]): 1}) for p in self._patterns(layout))
        ]
        return [Subspace(tuple({m: 1} for k in whole for m in self._images(layout, k)))]

    def _images(self, layout: Algebra, key: tuple[int, str]) -> list[tuple[int, str]]:
        repeats = "cd" if self.heads > self.kv_heads else "c"
        return [(0, self._spread(layout, key[1], r)) for r in repeats]

    def _free(self, directions: Directions, v: int, seen: Callable[[tuple[int, str]], bool]) -> Subspace:
        """The value directions that stay unseen whatever each head's weights are."""
        layout = directions.layout(v)
        at = self._place(layout)
        good = [
            k
            for k in directions.keys(v)
            if all(seen(m) for p in self._patterns(layout) for m in self._images(layout, (0, p + k[1][at:])))
        ]
        return Subspace(tuple({k: 1} for k in good))

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return None if any(degrees) else 0
