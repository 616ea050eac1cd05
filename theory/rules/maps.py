"""Rules of blocks with parameters: linear maps, tables, gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..algebra import Blocks, Diagonal, Full, Nothing
from ..diagram import Site, View
from ..subspace import Subspace
from .base import Blind, Rule, Use

if TYPE_CHECKING:
    from ..balance import Balance
    from ..directions import Directions
    from ..layouts import Layouts
    from ..shifts import Shifts


@dataclass(frozen=True)
class LinearRule(Rule):
    """`y = W x + b`, also a convolution or a lookup: `xi_W = S_out W - W S_in`, `xi_b = S_out b`.

    Attributes:
        weight: parameter name; its shape is `(out, in / groups, kernel...)`, or `(in, out)` if `transposed`.
        shape_: the weight's shape.
        bias: parameter name or None.
        groups: number of blocks.
        keeps_constants: whether a constant input gives a constant output (no zero padding).
        lookup: whether the input is one-hot, so that all rows of the table together add a constant.
        geometry: anything two maps must share to be summed into one (stride, padding, ...).
        mixes: whether it reads several positions (a kernel wider than 1).
        offset: whether the map is `I + W` (a skip around a linear branch).
        rows: a wire that scales the rows of a table one by one, where nothing sees such a scale.
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
    offset: bool = False
    rows: int | None = None

    @property
    def statement(self) -> str:
        return "linear: xi_W = S_out W - W S_in" + (", xi_b = S_out b + t_out" if self.bias else "; t = 0 through it")

    def uses(self, site: Site) -> list[Use]:
        out, inn = ((site.outputs[0], 1),), ((site.inputs[0] if self.rows is None else self.rows, -1),)
        if self.groups > 1:
            o, i, *kernel = self.shape_
            grouped = (self.groups, o // self.groups, i, math.prod(kernel))
            views = (View.axis(self.shape_, 0), View(grouped, (0, 2, 1, 3), lead=2))
        else:
            views = (View.axis(self.shape_, 0), View.axis(self.shape_, 1))
        axes = (inn, out) if self.transposed else (out, inn)
        uses = [Use(self.weight, axes, views, self.groups, offset=self.offset)]
        if self.bias:
            uses.append(Use(self.bias, (out,), (View.axis((layout_out(self),), 0),), constant=True))
        return uses

    def shape(self, layouts: Layouts, site: Site) -> None:
        if self.groups > 1:
            for w in (site.inputs[0], site.outputs[0]):
                layouts.meet(w, Blocks(self.groups, Full(layouts.size(w) // self.groups)))
            layouts.cut_groups(site.inputs[0], site.outputs[0], self.groups)
        if self.rows is not None:
            layouts.meet(self.rows, Diagonal(layouts.size(self.rows)))
            layouts.align(self.rows, site.inputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if not (self.keeps_constants and shifts.directions.still(y).covers(shifts.layout(y))):
            shifts.forbid(x)
        else:
            shifts.require_uniform(x)
        shifts.move_matrix(site, self)
        terms = shifts.row_terms(site, y) if self.lookup else {}
        shifts.emit(site, y, shifts.add_terms(terms, shifts.parameter_terms(self.bias, y) if self.bias else {}))

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        y, x = site.outputs[0], site.inputs[0]
        if self.keeps_constants and directions.still(y).covers(directions.layout(y)):
            return [Blind(still=Subspace.everything(directions.layout(x)))]
        return [Blind()]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        if degrees[0] and (self.bias is not None or (self.mixes and local)):
            return None
        return degrees[0]


def layout_out(rule: LinearRule) -> int:
    """Width of the output of a linear rule."""
    return rule.shape_[1] if rule.transposed else rule.shape_[0]


@dataclass(frozen=True)
class TableRule(Rule):
    """A learned table that is added or put before the tokens (positions, class token): `xi = E S_out + t` by rows."""

    table: str
    shape_: tuple[int, int]
    rows: int | None = None

    @property
    def statement(self) -> str:
        return "producer without input: xi_E = E S_out, and any shift of its rows"

    def uses(self, site: Site) -> list[Use]:
        features, rows = ((site.outputs[0], 1),), View.axis(self.shape_, 0)
        if self.rows is None:
            return [Use(self.table, (features,), (View.axis(self.shape_, 1),), constant=True)]
        return [Use(self.table, (features, ((self.rows, -1),)), (View.axis(self.shape_, 1), rows), constant=True)]

    def shape(self, layouts: Layouts, site: Site) -> None:
        if self.rows is not None:
            layouts.meet(self.rows, Diagonal(layouts.size(self.rows)))

    def shift(self, shifts: Shifts, site: Site) -> None:
        w = site.outputs[0]
        shifts.emit(site, w, shifts.table_terms(self.table, w))


@dataclass(frozen=True)
class GainRule(Rule):
    """`y = gamma * x + beta`: diagonal, `xi_gamma = (S_out - S_in) gamma`, `xi_beta = S_out beta + t_out`."""

    size: int
    gain: str | None
    bias: str | None
    offset: bool = False

    @property
    def statement(self) -> str:
        return "gain and shift: S diagonal, xi_gamma = (S_out - S_in) gamma, xi_beta = S_out beta + t_out"

    def uses(self, site: Site) -> list[Use]:
        x, y = site.inputs[0], site.outputs[0]
        view = (View.axis((self.size,), 0),)
        uses = [Use(self.gain, (((y, 1), (x, -1)),), view, offset=self.offset)] if self.gain else []
        return uses + ([Use(self.bias, (((y, 1),),), view, constant=True)] if self.bias else [])

    def shape(self, layouts: Layouts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if self.gain:
            layouts.meet(x, Diagonal(self.size))
            layouts.meet(y, Diagonal(self.size))
            layouts.align(x, y)
        elif self.bias:
            layouts.equal(x, y)

    def balance(self, balance: Balance, site: Site) -> None:
        if not self.gain:
            balance.equal(site.inputs[0], site.outputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        terms = shifts.parameter_terms(self.bias, y) if self.bias else {}
        if self.gain:
            if shifts.directions.still(y).covers(shifts.layout(y)):
                shifts.require_uniform(x)
            else:
                shifts.forbid(x)
        else:
            terms = shifts.add_terms(terms, shifts.wire_terms(x, y))
        shifts.emit(site, y, terms)

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        x, y = site.inputs[0], site.outputs[0]
        if not self.gain:
            return [Blind(directions.moving(y), directions.still(y))]
        if directions.still(y).covers(directions.layout(y)):
            return [Blind(still=Subspace.everything(directions.layout(x)))]
        return [Blind()]

    def degree(self, degrees: Sequence[int], local: bool) -> int | None:
        return degrees[0] if self.bias is None or not degrees[0] else None


@dataclass(frozen=True)
class SourceRule(Rule):
    """The network's input: `S = 0`, `t = 0`."""

    @property
    def statement(self) -> str:
        return "network input: S = 0, t = 0"


@dataclass(frozen=True)
class OutputRule(Rule):
    """The network's output: `S = 0`; under cross-entropy `S` in the span of `11^T`, and a shift along 1 is unseen."""

    loss: str

    @property
    def statement(self) -> str:
        if self.loss == "cross_entropy":
            return "output under softmax cross-entropy: S in span{11^T}, blind to shifts along 1"
        return "output under the squared loss: S = 0, t = 0"

    def shape(self, layouts: Layouts, site: Site) -> None:
        w = site.inputs[0]
        if self.loss == "cross_entropy":
            layouts.ones(w)
        else:
            layouts.meet(w, Nothing(layouts.size(w)))

    def balance(self, balance: Balance, site: Site) -> None:
        if self.loss == "cross_entropy":
            balance.only_ones(site.inputs[0])

    def shift(self, shifts: Shifts, site: Site) -> None:
        if self.loss == "cross_entropy":
            shifts.allow_ones(site.inputs[0])
        else:
            shifts.forbid(site.inputs[0])

    def blind(self, directions: Directions, site: Site) -> Sequence[Blind]:
        if self.loss == "cross_entropy":
            line = directions.ones(site.inputs[0])
            return [Blind(line, line)]
        return [Blind()]
