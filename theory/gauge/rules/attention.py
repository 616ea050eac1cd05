"""The rule of the core of attention: scores, softmax over keys, mixing of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product

from ..algebra import Algebra, Blocks, Copies, Full, Nothing
from ..boxes import Box
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..repeats import Pairing, axes_over, repeated
from ..subspace import Subspace, VectorKey, vector_keys
from ..unknowns import Factor, MatrixKey, Terms, add_terms


@dataclass(frozen=True)
class AttentionRule(Rule):
    """Heads of `q k^T` and `A v`; the ports are q, k, v and, if `buckets` is given, a table of relative biases.

    Scores: `S_q + S_k = c I` per head.  Weights that are homogeneous of degree p in the scores pass `p c` on to the
    output, all others force `c = 0`; mixing: `S_out = S_v + p c I`.  A key head that serves several query heads carries
    the same `S` for all of them; where the weights are the scores these heads may also be mixed linearly.

    Attributes:
        heads: query heads.
        kv_heads: key and value heads.
        power: degree of homogeneity of the weights in the scores, 0 if they are not homogeneous.
        linear: whether the weights are the scores themselves.
        unseen: whether a common shift of a query's scores is unseen (softmax over all of them).
        normalised: whether the weights of a query sum to 1.
        buckets: for every row of the table of relative biases the set it belongs to: rows of two sets never meet in
            the scores of one query, so each set may be shifted by itself; -1 for rows that are never read.
        ordered: whether no query sees a later key.
        keys: number of keys.
        masked: whether the last port reads a mask that depends on data.
        noisy: whether weights are dropped at random.
        sink: name of the learned scores of a sink, which follow a common shift of all others, or None.
        heads_alike: whether fixed numbers in the scores are the same for all heads.
    """

    heads: int
    kv_heads: int
    power: int = 0
    linear: bool = False
    unseen: bool = True
    normalised: bool = True
    buckets: tuple[int, ...] = ()
    sink: str | None = None
    ordered: bool = False
    keys: int = 0
    masked: bool = False
    noisy: bool = False
    heads_alike: bool = True

    def uses(self, site: Site) -> list[Use]:
        if self.sink is None or not self.buckets:
            return []
        return [Use(self.sink, (((site.inputs[3], 1),),), (View.axis((self.heads,), 0),), constant=True)]

    @property
    def statement(self) -> str:
        if self.power:
            factor = "" if self.power == 1 else f"{self.power} "
            return f"attention of degree {self.power} in the scores: S_q + S_k = c I and S_out = S_v + {factor}c I"
        unseen = "; keys blind to shifts" if self.unseen else ""
        return f"attention: S_q = -S_k per head, S_out = S_v per head{unseen}"

    def _many(self, width: int) -> Algebra:
        """What a wire of query heads may carry, `width` features per head."""
        repeats = Copies(self.heads // self.kv_heads, Full(width)) if self.heads > self.kv_heads else Full(width)
        if self.power and self.heads > self.kv_heads:
            box = repeats.boxes[0]
            mixes = {a + "c" * (len(box.dims) - 1) for a in self._mixes}
            repeats = Algebra((Box.of(box.dims, box.labels | mixes),), (0,))
        return Blocks(self.kv_heads, repeats) if self.kv_heads > 1 else repeats

    @property
    def _mixes(self) -> str:
        """How query heads of one key may differ: a factor each; where weights are scores they may be mixed too."""
        return "djo" if self.linear else "d" if self.power else ""

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        q, k, v = site.inputs[:3]
        y = site.outputs[0]
        cut = [layouts.is_cut(many) or layouts.is_cut(few) for many, few in ((q, k), (y, v))]
        apart = [any(cut)] * 2 if self.power else cut  # the factor of a head is written for boxes of one kind
        for (many, few), heads_apart in zip(((q, k), (y, v)), apart, strict=True):
            width = layouts.size(few) // self.kv_heads
            if not heads_apart:
                layouts.meet(many, self._many(width))
                layouts.meet(few, Blocks(self.kv_heads, Full(width)) if self.kv_heads > 1 else Full(width))
            layouts.repeated(many, few, self.kv_heads, self.heads // self.kv_heads, heads_apart)
        if self.masked:
            layouts.meet(site.inputs[-1], Nothing(layouts.size(site.inputs[-1])))
        for table in self._tables(site):
            layouts.meet(table, Nothing(layouts.size(table)))
            at = 0
            for _, same in groupby(self.buckets):
                length = len(tuple(same))
                layouts.cut_tokens(table, at, length)
                at += length

    def _tables(self, site: Site) -> tuple[int, ...]:
        """The port of the table of relative biases, if there is one."""
        return site.inputs[3:4] if self.buckets else ()

    def _pairs(self, many: Algebra, few: Algebra) -> list[Pairing]:
        return repeated(many, few, self.kv_heads, self.heads // self.kv_heads)

    def _heads(self, layout: Algebra, box: int) -> int:
        """How many axes of a box of a key or value wire run over heads."""
        return axes_over(layout.boxes[box].dims, self.kv_heads) if len(layout.boxes) == 1 else 0

    def balance(self, balance: BalancePass, site: Site) -> None:
        q, k, v = site.inputs[:3]
        y = site.outputs[0]
        for many, few, sign, power in ((q, k, -1, 1), (y, v, 1, self.power)):
            wide, narrow = balance.layout(many), balance.layout(few)
            for pair in self._pairs(wide, narrow):
                box = narrow.boxes[pair.few]
                labels = set(box.labels) | {
                    "".join(p) + "c" * (pair.axes - pair.at) for p in product("cd", repeat=pair.at)
                }
                labels |= {pair.gathered(s) for s in wide.boxes[pair.many].labels if set(pair.copies(s)) <= {"c"}}
                for label in sorted(labels):
                    terms: dict[MatrixKey | None, Number] = {balance.key(many, pair.many, pair.spread(label)): 1}
                    other = balance.key(few, pair.few, label)  # the same where one wire is both queries and keys
                    terms[other] = terms.get(other, 0) - sign
                    if self.power and set(label[pair.at :]) <= {"c"}:
                        head = pair.many * self.heads // len(wide.boxes) if len(wide.boxes) > 1 else 0
                        terms[Factor(site.name, f"{head}{label[: pair.at]}")] = -power
                    balance.require(terms)
        if self.heads > self.kv_heads and not (balance.is_cut(q) or balance.is_cut(v)):
            (p,), (r,) = self._pairs(*map(balance.layout, (q, k))), self._pairs(*map(balance.layout, (y, v)))
            for lead, a in product(map("".join, product("cd", repeat=p.at)), self._mixes):
                one = p.spread(lead + "c" * (p.axes - p.at), a)
                two = r.spread(lead + "c" * (r.axes - r.at), a)
                balance.require({balance.key(q, 0, one): self.power, balance.key(y, 0, two): -1})

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        q, k, v = site.inputs[:3]
        y = site.outputs[0]
        shifts.forbid(q)
        if self.unseen:
            shifts.require_uniform(k)
        else:
            shifts.forbid(k)
        if self.masked:
            shifts.forbid(site.inputs[-1])
        for table in self._tables(site):
            # Scores that are seen as they are let no row move but those that no pair of positions reads.
            shifts.require_equal_sets(table, self.buckets, free=self.unseen, sink=self.sink)
        if not self.normalised:
            shifts.forbid(v)
            shifts.emit(y, {})
            return
        shifts.require_uniform(v)
        terms: Terms = {}
        for key, image in self._images(shifts.layout(y), shifts.layout(v), "c"):
            one = shifts.wire_terms(v, y, keys={key: image}, weights="uniform")
            terms = add_terms(terms, one)
        shifts.emit(y, terms)

    def _images(self, many: Algebra, few: Algebra, repeat: str) -> list[tuple[VectorKey, VectorKey]]:
        """Sectors of a value wire and of the output that repeat each other."""
        return [
            (key, (pair.many, pair.spread(key[1], repeat)))
            for pair in self._pairs(many, few)
            for key in vector_keys(few)
            if key[0] == pair.few and (repeat == "c" or pair.span)
        ]

    def _any_head(self, layout: Algebra, key: VectorKey) -> list[VectorKey]:
        """The sectors that a sector of single heads meets when every head has weights of its own."""
        at = self._heads(layout, key[0])
        return [(key[0], "".join(p) + key[1][at:]) for p in product("cd", repeat=at)]

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        k, v = site.inputs[1:3]
        y = site.outputs[0]
        layout = directions.layout(v)
        images = self._images(directions.layout(y), layout, "c")
        still = Subspace()
        if self.normalised and len({key for key, _ in images}) == len(images):
            still = directions.still(y).preimage(dict(images))
        spread: dict[VectorKey, list[VectorKey]] = {}
        for key, image in (*images, *self._images(directions.layout(y), layout, "d")):
            spread.setdefault(key, []).append(image)
        unseen = directions.moving(y)
        good = [
            key
            for key in directions.keys(v)
            if all(unseen.contains({m: 1}) for other in self._any_head(layout, key) for m in spread[other])
        ]
        moving = Subspace(tuple({key: 1} for key in good))
        keys = Subspace.everything(directions.layout(k)) if self.unseen else Subspace()
        tables = [Blind() for _ in site.inputs[3:]]  # and masks
        return [Blind(), Blind(still=keys, shared=keys), Blind(moving, still.join(moving)), *tables]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        v, y = site.inputs[2], site.outputs[0]
        layout, known = directions.layout(v), directions.absent(v)
        whole = {k for k in directions.keys(v) if all(known.contains({m: 1}) for m in self._any_head(layout, k))}
        images = [m for r in "cd" for k, m in self._images(directions.layout(y), layout, r) if k in whole]
        return [Subspace(tuple({m: 1} for m in dict.fromkeys(images)))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if any(degrees) else 0
