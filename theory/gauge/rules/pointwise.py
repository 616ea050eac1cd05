"""Rules of blocks without parameters that act on one wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..algebra import Diagonal, Nothing
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector, ones
from ..unknowns import scale_terms
from .norms import whole_boxes


@dataclass(frozen=True)
class HomogeneousRule(Rule):
    """A point-wise map of degree `p` (ReLU family: 1, x^p: p, sqrt: 1/2, 1/x: -1): `S_out = p S_in`, diagonal.

    `shifts` is True for a map that passes constants on (max-pooling); `isometric` for one that keeps the norm (abs);
    `noisy` for one that draws at random (dropout); `mixes` for one that reads several positions (pooling); `slope`
    names a trained slope, which no gauge moves, so that maps with slopes of their own are told apart; `negative` is the
    fixed slope below 0 of a map of two straight pieces, whose slope above it is 1; `positive` tells that nothing it
    gives is negative, `alike` that it is one function for all features; `parity` is 1 for an even function, -1 for an
    odd one, 0 for any other.
    """

    power: int | Fraction = 1
    shifts: bool = False
    isometric: bool = False
    noisy: bool = False
    mixes: bool = False
    slope: str | None = None
    negative: Fraction | None = None
    positive: bool = False
    alike: bool = False
    parity: int = 0

    @property
    def statement(self) -> str:
        factor = "" if self.power == 1 else f"{self.power} "
        return f"homogeneous of degree {self.power}: S_out = {factor}S_in, diagonal"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        layouts.meet(x, Diagonal(layouts.size(x)))
        layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0], self.power)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.shifts:
            shifts.require_uniform(x)
            shifts.emit(y, shifts.wire_terms(x, y))
        else:
            shifts.forbid(x)
            shifts.emit(y, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        unread = whole_boxes(directions.moving(y), directions.layout(y))
        if not self.shifts:
            return [Blind(unread, unread)]
        return [Blind(unread, unread.join(directions.still(y)), directions.shared(y))]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        return [whole_boxes(directions.absent(x), directions.layout(x)) if self.power > 0 else Subspace()]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if self.mixes and local and degrees[0] else self.power * degrees[0]


@dataclass(frozen=True)
class PointwiseRule(Rule):
    """Any point-wise map that is not homogeneous: `S_in = S_out = 0`.

    `exponential` marks `exp`, which turns a constant into a factor; laws that join the two are not listed.
    `keeps_zero` tells that 0 stays 0, `positive` that nothing it gives is negative, `alike` that it is one function for
    all features; `parity` is 1 for an even function, -1 for an odd one, 0 for any other; `pieces` tells that it has
    several, between fixed numbers, and `far` that these are so large that what lies between is nearly all there is;
    `straight` is the factor by which it multiplies positive numbers while it makes no other ones positive, 0 if it
    does anything else.
    """

    exponential: bool = False
    keeps_zero: bool = False
    positive: bool = False
    alike: bool = False
    parity: int = 0
    pieces: bool = False
    far: bool = False
    straight: Fraction = Fraction(0)

    @property
    def statement(self) -> str:
        return "point-wise map that is not homogeneous: S_in = S_out = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        super().shape(layouts, site)
        layouts.align(site.inputs[0], site.outputs[0])

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        unread = whole_boxes(directions.moving(site.outputs[0]), directions.layout(site.outputs[0]))
        return [Blind(unread, unread)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        return [whole_boxes(directions.absent(x), directions.layout(x)) if self.keeps_zero else Subspace()]


@dataclass(frozen=True)
class PassRule(Rule):
    """Averages and moves of the spectator axes, and fixed factors: `S_out = S_in`, constants pass.

    Attributes:
        weights: for every output token the average of input tokens it is, as `"same"`, `"mean"` or the index taken;
            `"uniform"` moves positions, so that only a constant that all of them share passes.
        keeps_constants: False where zero padding or a random factor breaks constants.
        mixes: True where values of several positions are averaged (a factor per token does not pass).
        factor: what everything is multiplied by.
        noisy: whether it draws at random.
        repeats: whether some of the positions that it gives are copies or sums of others, or zeros.
    """

    weights: str | int = "same"
    keeps_constants: bool = True
    mixes: bool = False
    factor: Fraction = Fraction(1)
    noisy: bool = False
    repeats: bool = False

    @property
    def statement(self) -> str:
        if self.factor != 1:
            return "fixed factor a: S_out = S_in, t_out = a t_in"
        return "acts on spectator axes: S_out = S_in, " + ("t_out = t_in" if self.keeps_constants else "t = 0")

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        layouts.equal(site.inputs[0], site.outputs[0])
        if isinstance(self.weights, int):
            layouts.cut_tokens(site.inputs[0], self.weights)

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not self.keeps_constants:
            shifts.forbid(x)
            shifts.emit(y, {})
            return
        if self.weights == "uniform":
            shifts.require_uniform(x)
        elif self.weights == "same":
            shifts.match_tokens(x, y)
        shifts.emit(y, scale_terms(shifts.wire_terms(x, y, self.weights), self.factor))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        moving, shared = directions.moving(y), directions.shared(y)
        still = directions.still(y) if self.keeps_constants else moving
        return [Blind(moving, still, shared if self.keeps_constants or self.noisy else moving)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        return [directions.absent(site.inputs[0])]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        known = directions.fixed(site.inputs[0]) if self.keeps_constants and self.factor else []
        return [[(u, c * self.factor) for u, c in known]]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if self.mixes and local and degrees[0] else degrees[0]


@dataclass(frozen=True)
class OffsetRule(Rule):
    """Adds something fixed (a table of sines, a one): `S = 0`, since no `S` kills a generic table; shifts pass.

    Where the table spans fewer dimensions than there are features some `S` survive, which depend on its values, and so
    they do where a trained bias or table can answer; they are not listed.

    Attributes:
        factor: what the input is multiplied by first.
        rows: how many rows the table has.
        every: whether some number that is not 0 is added to every feature.
        number: what is added, where it is one number for all.
    """

    factor: int = 1
    rows: int = 1
    every: bool = False
    number: Fraction | None = None

    @property
    def statement(self) -> str:
        return "adds something fixed: S = 0, t_out = " + ("" if self.factor == 1 else f"{self.factor} ") + "t_in"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        super().shape(layouts, site)
        layouts.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.match_tokens(x, y)
        shifts.emit(y, scale_terms(shifts.wire_terms(x, y), self.factor))

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y = site.outputs[0]
        return [Blind(directions.moving(y), directions.still(y), directions.shared(y))]


@dataclass(frozen=True)
class SoftmaxRule(Rule):
    """Weights over the features (a router), `S_out = 0`.

    Attributes:
        unseen: what they do not see of their input: the direction of the `ones` (softmax), `nothing` (sigmoids), or
            `everything` (a single chosen expert of weight 1).
        normalised: whether the weights sum to 1.
    """

    unseen: str = "ones"
    normalised: bool = True

    positive = True

    @property
    def statement(self) -> str:
        if self.unseen == "everything":
            return "one expert of weight 1: nothing of the logits is seen, S_out = 0"
        if self.unseen == "nothing":
            return "sigmoid weights: S_in = S_out = 0"
        return "softmax over features: S_in in span{11^T}, blind to shifts along 1, S_out = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.unseen == "ones":
            layouts.ones(x)
        elif self.unseen == "nothing":
            layouts.meet(x, Nothing(layouts.size(x)))
        layouts.meet(y, Nothing(layouts.size(y)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        if self.unseen == "ones":
            balance.only_ones(site.inputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        if self.unseen == "ones":
            shifts.allow_ones(site.inputs[0])
        elif self.unseen == "nothing":
            shifts.forbid(site.inputs[0])
        shifts.emit(site.outputs[0], {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x = site.inputs[0]
        if self.unseen == "nothing":
            return [Blind()]
        unseen = directions.ones(x) if self.unseen == "ones" else Subspace.everything(directions.layout(x))
        return [Blind(unseen, unseen)]

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        return [[(ones(directions.layout(site.outputs[0])), 1)] if self.normalised else []]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0 if self.unseen == "everything" or not any(degrees) else None
