"""Rules of blocks with parameters: linear maps, tables, gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..algebra import Algebra, Blocks, Diagonal, Full, Nothing
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace, Vector, ones
from ..unknowns import add_terms
from .norms import whole_boxes


@dataclass(frozen=True)
class LinearRule(Rule):
    """`y = W x + b`, also a convolution or a lookup: `xi_W = S_out W - W S_in`, `xi_b = S_out b`.

    Attributes:
        weight: parameter name; its shape is `(out, in / groups, kernel...)`, or `(in, out / groups, kernel...)` if
            `transposed`.
        shape_: the weight's shape.
        bias: parameter name or None.
        groups: number of blocks.
        keeps_constants: whether a constant input gives a constant output (no zero padding).
        lookup: whether the input is one-hot, so that all rows of the table together add a constant.
        geometry: anything two maps must share to be summed into one (stride, padding, ...).
        mixes: whether it reads several positions (a kernel wider than 1).
        offset: the factor c of a map `c I + W` (a skip around a linear branch).
        bias_offset: a fixed number that is added to every entry of the bias.
        rows: whether the rows of a table have a scale each (an inner wire), where nothing sees such a scale.
        padding: the token of a lookup that is read as zeros, so that its row never moves.
        still: whether that row is read as it is and only its gradient is stopped: no `S` moves the others alone.
        blank: whether some tap of a kernel only ever meets padding.
    """

    weight: str
    shape_: tuple[int, ...]
    bias: str | None = None
    transposed: bool = False
    groups: int = 1
    keeps_constants: bool = True
    lookup: bool = False
    geometry: tuple[Any, ...] = ()
    mixes: bool = False
    offset: Fraction = Fraction(0)
    bias_offset: Fraction = Fraction(0)
    rows: bool = False
    padding: int | None = None
    still: bool = False
    blank: bool = False

    @property
    def statement(self) -> str:
        return "linear: xi_W = S_out W - W S_in" + (", xi_b = S_out b + t_out" if self.bias else "; t = 0 through it")

    def uses(self, site: Site) -> list[Use]:
        out, inn = ((site.outputs[0], 1),), ((site.inner[0] if self.rows else site.inputs[0], -1),)
        if self.groups > 1:
            o, i, *kernel = self.shape_
            grouped = (self.groups, o // self.groups, i, math.prod(kernel))
            views = (View.axis(self.shape_, 0), View(grouped, (0, 2, 1, 3), lead=2))
        else:
            views = (View.axis(self.shape_, 0), View.axis(self.shape_, 1))
        axes = (inn, out) if self.transposed else (out, inn)
        uses = [Use(self.weight, axes, views, self.groups, offset=self.offset)]
        if self.bias:
            view = View.axis((layout_out(self),), 0)
            uses.append(Use(self.bias, (out,), (view,), constant=True, offset=self.bias_offset))
        return uses

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        if self.groups > 1:
            for w in (site.inputs[0], site.outputs[0]):
                layouts.meet(w, Blocks(self.groups, Full(layouts.size(w) // self.groups)))
            layouts.cut_groups(site.inputs[0], site.outputs[0], self.groups)
        if self.padding is not None:
            layouts.meet(site.inputs[0], Nothing(layouts.size(site.inputs[0])).cut((self.padding, self.padding + 1)))
        if self.still:
            layouts.meet(site.outputs[0], Nothing(layouts.size(site.outputs[0])))
        if layouts.frozen(self.weight) and self.groups == 1:
            layouts.frozen_matrix(site.inputs[0], site.outputs[0])
        if self.rows:
            layouts.meet(site.inner[0], _row_scales(layouts.size(site.inner[0]), self.padding))
            layouts.align(site.inner[0], site.inputs[0])

    def unread(self, layout: Algebra) -> Subspace:
        """The directions of the input that are never there: that of the padding token."""
        if self.padding is None:
            return Subspace()
        at = [0, *layout.edges()].index(self.padding)
        return Subspace(({(at, layout.boxes[at].constant): 1},))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not (self.keeps_constants and shifts.directions.still(y).covers(shifts.layout(y))):
            shifts.forbid(x)
        else:
            shifts.require_uniform(x)
        known = self.known_sums(shifts.directions, site)
        lines, unread = [u for u, _ in known], self.unread(shifts.layout(x))
        shifts.fields.move_matrix(site, self.weight, unread, lines, self.transposed, self.groups)
        terms = shifts.row_terms(site, self.weight, y, [c for _, c in known])
        shifts.emit(y, add_terms(terms, shifts.parameter_terms(self.bias, y) if self.bias else {}))

    def known_sums(self, directions: DirectionPass, site: Site) -> list[tuple[Vector, Number]]:
        """Vectors whose product with the input never changes: along them the weight adds a constant."""
        x = site.inputs[0]
        if self.groups > 1 or self.mixes:
            return []
        if self.lookup:
            return [(ones(directions.layout(x)), 1)] if self.padding is None else []
        return directions.fixed(x)

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y, x = site.outputs[0], site.inputs[0]
        if self.keeps_constants and directions.still(y).covers(directions.layout(y)):
            everything = Subspace.everything(directions.layout(x))
            same = directions.shared(y).covers(directions.layout(y))
            return [Blind(still=everything, shared=everything if same else Subspace())]
        return [Blind()]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x, y = site.inputs[0], site.outputs[0]
        if self.bias or self.rows or not directions.absent(x).covers(directions.layout(x)):
            return [Subspace()]
        return [Subspace.everything(directions.layout(y))]  # of zeros it makes zeros

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        if degrees[0] and (self.bias is not None or (self.mixes and local)):
            return None
        return degrees[0]


def _row_scales(n: int, padding: int | None) -> Algebra:
    """A scale for each of n rows; one that never moves has none of its own."""
    if padding is None:
        return Diagonal(n)
    apart = Diagonal(n).cut((padding, padding + 1))
    at = [0, *apart.edges()].index(padding)
    ties = [i if i != at else (at - 1 if at else 1) for i in range(len(apart.boxes))]
    return Algebra(apart.boxes, tuple(ties))


def layout_out(rule: LinearRule) -> int:
    """Width of the output of a linear rule."""
    return rule.shape_[1] * rule.groups if rule.transposed else rule.shape_[0]


@dataclass(frozen=True)
class TableRule(Rule):
    """A learned table that is added or put before the tokens (positions, class token): `xi = E S_out + t` by rows."""

    table: str
    shape_: tuple[int, int]
    rows: bool = False

    @property
    def statement(self) -> str:
        return "producer without input: xi_E = E S_out, and any shift of its rows"

    def uses(self, site: Site) -> list[Use]:
        features, rows = ((site.outputs[0], 1),), View.axis(self.shape_, 0)
        if not self.rows:
            return [Use(self.table, (features,), (View.axis(self.shape_, 1),), constant=True)]
        return [Use(self.table, (features, ((site.inner[0], -1),)), (View.axis(self.shape_, 1), rows), constant=True)]

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        if self.rows:
            layouts.meet(site.inner[0], Diagonal(layouts.size(site.inner[0])))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        w = site.outputs[0]
        shifts.emit(w, shifts.table_terms(self.table, w))


@dataclass(frozen=True)
class GainRule(Rule):
    """`y = gamma * x + beta`: diagonal, `xi_gamma = (S_out - S_in) gamma`, `xi_beta = S_out beta + t_out`.

    Attributes:
        size: the number of features.
        gain: parameter name or None.
        bias: parameter name or None.
        offset: a fixed number that is added to every gain.
        bias_offset: the same for the bias.
    """

    size: int
    gain: str | None
    bias: str | None
    offset: Fraction = Fraction(0)
    bias_offset: Fraction = Fraction(0)

    @property
    def statement(self) -> str:
        return "gain and shift: S diagonal, xi_gamma = (S_out - S_in) gamma, xi_beta = S_out beta + t_out"

    def uses(self, site: Site) -> list[Use]:
        x, y = site.inputs[0], site.outputs[0]
        view = (View.axis((self.size,), 0),)
        uses = [Use(self.gain, (((y, 1), (x, -1)),), view, offset=self.offset)] if self.gain else []
        shift = Use(self.bias or "", (((y, 1),),), view, constant=True, offset=self.bias_offset)
        return uses + ([shift] if self.bias else [])

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.gain:
            layouts.meet(x, Diagonal(self.size))
            layouts.meet(y, Diagonal(self.size))
            layouts.align(x, y)
        elif self.bias:
            layouts.equal(x, y)

    def balance(self, balance: BalancePass, site: Site) -> None:
        if not self.gain:
            balance.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        terms = shifts.parameter_terms(self.bias, y) if self.bias else {}
        if self.gain:
            shifts.fields.move_gain(site, self.gain)
            if shifts.directions.still(y).covers(shifts.layout(y)):
                shifts.require_uniform(x)
            else:
                shifts.forbid(x)
        else:
            shifts.match_tokens(x, y)
            terms = add_terms(terms, shifts.wire_terms(x, y))
        shifts.emit(y, terms)

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        if not self.gain:
            return [Blind(directions.moving(y), directions.still(y), directions.shared(y))]
        unread = whole_boxes(directions.moving(y), directions.layout(y))
        if directions.still(y).covers(directions.layout(y)):
            everything = Subspace.everything(directions.layout(x))
            same = directions.shared(y).covers(directions.layout(y))
            return [Blind(unread, everything, everything if same else Subspace())]
        return [Blind(unread, unread)]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x = site.inputs[0]
        if self.bias:
            return [Subspace()]
        return [whole_boxes(directions.absent(x), directions.layout(x))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return degrees[0] if self.bias is None or not degrees[0] else None
