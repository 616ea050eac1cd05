"""Rules of what mixes positions with parameters of its own, and of the positions between transposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Centred, Diagonal, Scalar
from ..contract import Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, LayoutPass
from ..unknowns import MatrixKey


@dataclass(frozen=True)
class TokenMixRule(Rule):
    """`y = W_2 f(W_1 x + b_1) + b_2` over the positions, channel by channel (MLP-Mixer).

    It is two linear maps and a point-wise one between two transposes, and is drawn as these before anything is solved.

    Attributes:
        names: parameter names of `W_1` (hidden, tokens), `b_1`, `W_2` (tokens, hidden), `b_2`; biases may be None.
        tokens: number of positions.
        hidden: number of hidden positions.
        between: the rule of `f`.
        power: degree of `f`, 0 if it is not homogeneous.
    """

    names: tuple[str, str | None, str, str | None]
    tokens: int
    hidden: int
    between: Rule
    power: int

    @property
    def statement(self) -> str:
        if not self.power:
            return "token mixing: S_in and S_out multiples of I"
        return f"token mixing, homogeneous of degree {self.power}: S diagonal on the hidden positions"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        hidden = (("hidden positions", self.hidden), ("activations", self.hidden))
        return (*hidden, ("positions read", self.tokens), ("positions written", self.tokens))

    def uses(self, site: Site) -> list[Use]:
        before, after, read, written = site.inner
        w1, b1, w2, b2 = self.names
        uses = []
        for name, shape, axes in (
            (w1, (self.hidden, self.tokens), (((before, 1),), ((read, -1),))),
            (w2, (self.tokens, self.hidden), (((written, 1),), ((after, -1),))),
        ):
            uses.append(Use(name, axes, (View.axis(shape, 0), View.axis(shape, 1))))
        for bias, wire, n in ((b1, before, self.hidden), (b2, written, self.tokens)):
            if bias:
                uses.append(Use(bias, (((wire, 1),),), (View.axis((n,), 0),), constant=True))
        return uses

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        biased = any(self.names[i] for i in (1, 3))
        return None if degrees[0] and (biased or local or not self.power) else degrees[0] * self.power


@dataclass(frozen=True)
class PositionsRule(Rule):
    """What a block that acts on each position alone lets through on the positions between transposes.

    Its inner wires are the positions of what the block reads, then of what it writes.  They move by `S` up to a
    multiple of the identity, which goes the features' way.

    Attributes:
        tokens: number of positions.
        power: degree of a point-wise map, None for a linear one, which any matrix passes.
        biased: whether something is added that is the same at all positions: 1 is then an eigenvector.
        product: whether it multiplies what it reads.
        end: nothing; `unseen` where a norm of each position reads, which sees no factor; `closed` where something else
            reads or writes, which tells positions apart.
    """

    tokens: int
    power: Number | None = None
    biased: bool = False
    product: bool = False
    end: str = ""

    @property
    def tells_mean(self) -> bool:
        return self.biased

    @property
    def statement(self) -> str:
        if self.end:
            seen = "an end that sees no factor of a position" if self.end == "unseen" else "an end"
            return f"{seen}: S {'diagonal' if self.end == 'unseen' else 'a multiple of I'}"
        if self.product:
            return "product on every position: S_out = sum of S_in, diagonal"
        if self.power is None:
            return "linear on every position: S_out = S_in" + (", with 1 as an eigenvector" if self.biased else "")
        return f"homogeneous of degree {self.power} on every position: S_out = {self.power} S_in, diagonal"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        closed = self.end == "closed" or (self.biased and any(map(layouts.is_cut, site.inner)))
        for w in site.inner:
            if closed:
                layouts.meet(w, Scalar(self.tokens))
            elif self.power is not None or self.product or self.end:
                layouts.meet(w, Diagonal(self.tokens))
            if self.biased:
                layouts.meet(w, Centred(self.tokens))
        for other in site.inner[1:]:
            layouts.align(site.inner[0], other)

    def balance(self, balance: BalancePass, site: Site) -> None:
        *before, after = site.inner
        if not self.product:
            for w in before:
                balance.equal_traceless(w, after, 1 if self.power is None else self.power)
            return
        for key in sorted({key for w in site.inner for key in balance.keys(w)}):
            row: dict[MatrixKey | None, Number] = {}
            for w, sign in (*((w, 1) for w in before), (after, -1)):
                for unknown, c in ((balance.key(w, *key), sign), *_first(balance, w, key, -sign)):
                    row[unknown] = row.get(unknown, 0) + c
            balance.require(row)


def _first(balance: BalancePass, w: int, key: tuple[int, str], sign: int) -> list[tuple[MatrixKey | None, Number]]:
    """The multiple of the identity of the first box, which counts for nothing in those of the others."""
    constant = balance.layout(w).boxes[0].constant
    return [(balance.key(w, 0, constant), sign)] if not set(key[1]) - {"c"} else []
