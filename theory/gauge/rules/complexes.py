"""Maps by a matrix of complex numbers, on features that are pairs of a real and an imaginary part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..algebra import Algebra
from ..boxes import Box, all_labels
from ..contract import Blind, Rule, Site, Use, View
from ..linalg import Number
from ..passes import DirectionPass, LayoutPass, ShiftPass
from ..subspace import Subspace

HERMITIAN = frozenset(s for s in all_labels(2) if s[1] == "c" or s == "kk") | {"xc"}


@dataclass(frozen=True)
class ComplexLinearRule(Rule):
    """`y = W x + b` over the complex numbers: `xi_W = S_out W - W S_in` with Hermitian `S`.

    As a real matrix a Hermitian one is symmetric on both parts of the numbers alike, and skew-symmetric between them.
    Real inputs, and outputs of which only the real part is taken, have any symmetric `S`.

    Attributes:
        weight: parameter name; its shape is `(out, in, 2)`, or `(in, out, 2)` if `transposed`.
        shape_: the weight's shape.
        bias: parameter name or None; shape `(out, 2)`, or `(out,)` where the output is real.
        transposed: whether the weight is stored the other way round.
        reads: whether the input has imaginary parts.
        writes: whether the output has imaginary parts.
    """

    weight: str
    shape_: tuple[int, int, int]
    bias: str | None = None
    transposed: bool = False
    reads: bool = True
    writes: bool = True

    @property
    def statement(self) -> str:
        return "complex linear: xi_W = S_out W - W S_in, S Hermitian" + (
            ", xi_b = S_out b + t_out" if self.bias else ""
        )

    def uses(self, site: Site) -> list[Use]:
        x, y = site.inputs[0], site.outputs[0]
        n, m = (1, 0) if self.transposed else (0, 1)
        ends = {n: ((y, 1),), m: ((x, -1),)}
        views = {n: self._view(n, m, self.writes, False), m: self._view(m, n, self.reads, True)}
        uses = [Use(self.weight, (ends[0], ends[1]), (views[0], views[1]))]
        if self.bias:
            pairs = View((self.shape_[n], 2, 1), (0, 1, 2), lead=2, paired=True)
            view = pairs if self.writes else View((self.shape_[n],), (0,))
            uses.append(Use(self.bias, (ends[n],), (view,), constant=True))
        return uses

    def _view(self, own: int, other: int, paired: bool, conjugate: bool) -> View:
        """How a law sees the weight from one of its sides; what is read moves against `W`, so by the conjugate."""
        if not paired:
            return View(self.shape_, (own, other, 2))
        return View(self.shape_, (own, 2, other), lead=2, paired=True, conjugate=conjugate)

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        if self.reads and self.writes:
            for w in (site.inputs[0], site.outputs[0]):
                layouts.meet(w, Algebra((Box.of((layouts.size(w) // 2, 2), HERMITIAN),), (0,)))

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        if shifts.directions.still(y).covers(shifts.layout(y)):
            shifts.require_uniform(x)
        else:
            shifts.forbid(x)
        axes = (1, 0) if self.transposed else (0, 1)
        if axes == ((0, 1) if self.reads else (1, 0)) and self.reads != self.writes:  # a matrix, as it lies in memory
            shifts.fields.move_matrix(site, self.weight, Subspace(), [], self.transposed)
        shifts.emit(y, shifts.parameter_terms(self.bias, y) if self.bias else {})

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        y, x = site.outputs[0], site.inputs[0]
        if not directions.still(y).covers(directions.layout(y)):
            return [Blind()]
        everything = Subspace.everything(directions.layout(x))
        same = directions.shared(y).covers(directions.layout(y))
        return [Blind(still=everything, shared=everything if same else Subspace())]

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        x, y = site.inputs[0], site.outputs[0]
        if self.bias or not directions.absent(x).covers(directions.layout(x)):
            return [Subspace()]
        return [Subspace.everything(directions.layout(y))]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return None if degrees[0] and self.bias is not None else degrees[0]


__all__ = ["ComplexLinearRule"]
