"""Rules of parameters that act along other axes than `y = W x`: bilinear maps, normalised rows, gains of all heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from ..algebra import Algebra, Diagonal, Nothing, Scalar
from ..boxes import Box
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector, ones, vector_keys
from .norms import group_lines


@dataclass(frozen=True)
class BilinearRule(Rule):
    """`y_k = u^T W_k v + b_k`: `xi_W = S_out W - W S_u - W S_v`, one product for each axis of `W`.

    Attributes:
        weight: parameter name; its shape is `(out, in_u, in_v)`.
        shape_: the weight's shape.
        bias: parameter name or None.
    """

    weight: str
    shape_: tuple[int, int, int]
    bias: str | None = None

    @property
    def statement(self) -> str:
        return "bilinear: xi_W = S_out W - W S_1 - W S_2, one product for each axis of W; t = 0 on its inputs"

    def uses(self, site: Site) -> list[Use]:
        (u, v), y = site.inputs, site.outputs[0]
        views = tuple(View.axis(self.shape_, i) for i in range(3))
        uses = [Use(self.weight, (((y, 1),), ((u, -1),), ((v, -1),)), views)]
        if self.bias:
            uses.append(Use(self.bias, (((y, 1),),), (View.axis(self.shape_[:1], 0),), constant=True))
        return uses

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        """Nothing: every matrix is answered by the weight."""

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        y = site.outputs[0]
        for x in site.inputs:
            shifts.forbid(x)
        shifts.fields.move_tensor(site, self.weight, (y, *site.inputs))
        shifts.emit(y, shifts.parameter_terms(self.bias, y) if self.bias else {})

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if any(degrees) and self.bias else sum(degrees)


@dataclass(frozen=True)
class UnitRowsRule(Rule):
    """`y = U x` with `U_j = v_j / ||v_j||` (weight normalisation): the length of every row is unseen.

    Attributes:
        weight: parameter name; the first of its axes counts the rows.
        shape_: the weight's shape.
        centred: whether the mean of every row is removed first (weight standardisation); it is then unseen as well.
        keeps_constants: whether a constant input gives a constant output.
        mixes: whether it reads several positions.
        epsilon: the constant under the root; above 0 the length of a row is unseen only approximately.
    """

    weight: str
    shape_: tuple[int, ...]
    centred: bool = False
    keeps_constants: bool = True
    mixes: bool = False
    epsilon: float = 0.0

    @property
    def statement(self) -> str:
        mean = " and mean" if self.centred else ""
        return f"map with normalised rows: S_in = S_out = c I; the length{mean} of every row is unseen"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return (("rows", self.shape_[0]), ("entries", math.prod(self.shape_[1:])))

    def uses(self, site: Site) -> list[Use]:
        rows, entries = site.inner
        flat = (self.shape_[0], math.prod(self.shape_[1:]))
        return [Use(self.weight, (((rows, 1),), ((entries, 1),)), (View(flat, (0, 1)), View(flat, (1, 0))))]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        rows, entries = site.inner
        seen = self.sees_scale(layouts.lax)
        layouts.meet(rows, Nothing(layouts.size(rows)) if seen else Diagonal(layouts.size(rows)))
        layouts.meet(entries, Nothing(layouts.size(entries)))
        for w in (x, y):
            layouts.meet(w, Scalar(layouts.size(w)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        balance.same_scalar(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.keeps_constants and shifts.directions.still(y).covers(shifts.layout(y)):
            shifts.require_uniform(x)
        else:
            shifts.forbid(x, allow=self._lines(shifts.layout(x)), every_token=False)
        if self.centred:
            rows, entries = site.inner
            cells = product(vector_keys(shifts.layout(rows)), ones(shifts.layout(entries)))
            shifts.fields.free(site, self.weight, (rows, entries), cells)
        shifts.emit(y, {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y, x = site.outputs[0], site.inputs[0]
        if self.keeps_constants and directions.still(y).covers(directions.layout(y)):
            return [Blind(still=Subspace.everything(directions.layout(x)))]
        alike = Subspace(tuple(self._lines(directions.layout(x))))
        return [Blind(still=alike, shared=alike)]

    def _lines(self, layout: Algebra) -> list[Vector]:
        """The constants that filters of mean 0 do not see: the same number in all channels that one filter reads."""
        if not self.centred or not self.keeps_constants:
            return []
        groups = layout.size // self.shape_[1]
        return [ones(layout)] if groups == 1 else group_lines(layout, groups)

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and self.mixes and local else degrees[0]


@dataclass(frozen=True)
class UnitNormRule(UnitRowsRule):
    """`y = W x / ||W||` for a norm of the whole matrix (spectral normalisation): the size of `W` is unseen."""

    @property
    def statement(self) -> str:
        return "map of norm 1: S_in = S_out = c I; the size of W is unseen"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return (("size", 1),)

    def uses(self, site: Site) -> list[Use]:
        return [Use(self.weight, (((site.inner[0], 1),),), (View((1, math.prod(self.shape_)), (0, 1)),))]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in (*site.inputs, *site.outputs):
            layouts.meet(w, Scalar(layouts.size(w)))


@dataclass(frozen=True)
class HeadGainRule(Rule):
    """One gain (and shift) for all heads: `S_out - S_in = I (x) D`, `xi_gamma = D gamma`, `xi_beta = S' beta`.

    `S'` is what `S_out` makes of the same vector in all heads, which must again be the same in all of them.

    Attributes:
        heads: number of heads.
        width: features of a head.
        gain: parameter name.
        bias: parameter name or None.
        offset: what is added to the gain.
    """

    heads: int
    width: int
    gain: str
    bias: str | None
    offset: Fraction = Fraction(0)

    @property
    def statement(self) -> str:
        shift = ", xi_beta = S' beta + t_out" if self.bias else ""
        return f"gain of all heads: S_out - S_in = I (x) D, xi_gamma = D gamma{shift}"

    @property
    def inner(self) -> tuple[tuple[str, int], ...]:
        return tuple((name, self.width) for name, p in (("gain", self.gain), ("shift", self.bias)) if p)

    def uses(self, site: Site) -> list[Use]:
        view = (View.axis((self.width,), 0),)
        uses = [Use(self.gain, (((site.inner[0], 1),),), view, offset=self.offset)]
        return uses + ([Use(self.bias, (((site.inner[1], 1),),), view, constant=True)] if self.bias else [])

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        # One feature of several heads may be mixed: all of them have the same gain.
        labels = {a + s for a in "cdjo" for s in "cd"}
        for w in (x, y):
            if not layouts.is_cut(w):
                layouts.meet(w, Algebra((Box.of((self.heads, self.width), labels),), (0,)))
            else:
                layouts.meet(w, Diagonal(layouts.size(w)))
        layouts.align(x, y)
        for w in site.inner:
            layouts.repeated(y, w, 1, self.heads)
            layouts.meet(w, Diagonal(self.width))

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        balance.copied([(y, 1), (x, -1)], site.inner[0], 1, self.heads)
        if self.bias:
            balance.acts_on_copies(y, site.inner[1], self.heads)

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        shifts.forbid(x)
        shifts.emit(y, shifts.copied_terms(self.bias, site.inner[1], y, self.heads) if self.bias else {})

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0] if self.bias is None or not degrees[0] else None


@dataclass(frozen=True)
class SimilarityRule(Rule):
    """The cosine of two vectors: each may be scaled, `S_1` and `S_2` in span{I}, `S_out = 0`.

    `scaled` tells whether it is multiplied by the exponential of a parameter, which could answer a factor of the output
    by a constant; such laws, quadratic in one parameter and linear in another, are not listed.
    """

    scaled: bool = False

    @property
    def statement(self) -> str:
        return "cosine similarity: S_1 and S_2 in span{I}, S_out = 0"

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in site.inputs:
            layouts.meet(w, Scalar(layouts.size(w)))
        layouts.meet(site.outputs[0], Nothing(layouts.size(site.outputs[0])))

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0
