"""Rules of blocks that mix positions with parameters of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Centred, Diagonal, Nothing, Scalar
from ..contract import Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, LayoutPass, ShiftPass
from ..subspace import ones


@dataclass(frozen=True)
class TokenMixRule(Rule):
    """`y = W_2 f(W_1 x + b_1) + b_2` over the positions, channel by channel (MLP-Mixer).

    A multiple `s` of the identity on the channels is one on the positions as well, so both maps answer it:
    `xi_1 = S W_1 - s_in W_1`, `xi_2 = s_out W_2 - p W_2 S` with `S` on the hidden positions, diagonal, for an `f` of
    degree p; 0 for an `f` that is not homogeneous.  Other diagonal matrices on the channels pass a homogeneous `f`
    (`S_out = p S_in`), unless a bias adds the same number to all channels.  In the direction 1 of the channels `b_2` is
    a shift of every position.

    Attributes:
        names: parameter names of `W_1` (hidden, tokens), `b_1`, `W_2` (tokens, hidden), `b_2`; biases may be None.
        tokens: number of positions.
        hidden: number of hidden positions.
        power: degree of `f`, 0 if it is not homogeneous.
        joined: whether the positions read, and those written, are seen by other token mixers only, and so move by more
            than multiples of the identity (`PositionsRule` says how far).
    """

    names: tuple[str, str | None, str, str | None]
    tokens: int
    hidden: int
    power: int
    joined: tuple[bool, bool] = (False, False)

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

    @property
    def _channels(self) -> bool:
        """Whether matrices other than multiples of the identity pass on the channels."""
        return bool(self.power) and not self.names[1] and not self.names[3]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        before, after, read, written = site.inner
        for w in (before, after):
            layouts.meet(w, Diagonal(self.hidden) if self.power else Nothing(self.hidden))
        layouts.align(before, after)
        for w, joined in zip((read, written), self.joined, strict=True):
            if not joined:
                layouts.meet(w, Scalar(self.tokens))
        for w in (x, y):
            layouts.meet(w, Diagonal(layouts.size(w)) if self._channels else Scalar(layouts.size(w)))
        layouts.align(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        before, after, read, written = site.inner
        balance.same_on_ones(x, read)
        balance.same_on_ones(y, written)
        if self._channels:
            balance.equal_traceless(x, y, self.power)
        if self.power:
            balance.equal(before, after, self.power)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.forbid(x)
        bias = self.names[3]
        terms = {}
        if bias and len(shifts.tokens(y)) <= 2:
            own = shifts.parameter_terms(bias, site.inner[3])
            line = ones(shifts.layout(y))
            terms = {(t, k): row for (_, p), row in own.items() for t in shifts.tokens(y) for k in line if p[1] == t[1]}
        shifts.emit(y, terms)

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        biased = any(self.names[i] for i in (1, 3))
        return None if degrees[0] and (biased or local or not self.power) else degrees[0] * self.power


@dataclass(frozen=True)
class PositionsRule(Rule):
    """What a block that acts on each position alone lets through on the positions between token mixers.

    Its inner wires are the positions of what the block reads and writes.  What they do to the vector 1 is a multiple of
    the identity on the channels, and goes the channels' way: biases, the same at all positions, too.

    Attributes:
        tokens: number of positions.
        power: degree of a point-wise map, None for a linear one, which any matrix passes.
        biased: whether something is added that is the same at all positions: 1 is then an eigenvector.
    """

    tokens: int
    power: Number | None
    biased: bool

    @property
    def tells_mean(self) -> bool:
        return self.biased

    @property
    def statement(self) -> str:
        if self.power is None:
            return "linear on every position: S_out = S_in" + (", with 1 as an eigenvector" if self.biased else "")
        return f"homogeneous of degree {self.power} on every position: S_out = {self.power} S_in, diagonal"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        first, *others = site.inner
        if self.power is not None:
            layouts.meet(first, Diagonal(self.tokens))
        if self.biased:
            layouts.meet(first, Centred(self.tokens))
        for other in others:
            layouts.equal(first, other)

    def balance(self, balance: BalancePass, site: Site) -> None:
        *before, after = site.inner
        for w in before:
            balance.equal_traceless(w, after, 1 if self.power is None else self.power)
