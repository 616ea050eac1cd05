"""The bilinear forms of a law: `h(theta) = Q(theta) + <c, theta>` and `B(u, v) = u^T A v` on several vectors at once.

A quadratic law reads every parameter as rows, so all products of some vectors (weights, gradient, momentum, step) are
one Gram matrix of their rows (`grams.py`).  The kinds of laws that are no plain Gram matrix go through a derivative in
a direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch

from lawful.theory.laws.law import Law
from lawful.theory.laws.statement import Part, Term
from lawful.theory.parts import base, read

from .grams import LARGE, Sum, diagonal, full, lines
from .sharded import Placements, Shards
from .sheets import THETA, Reading, Sheets

ROWS = 32  # so many rows that are multiplied with each other cost what reading them does

Vector = Mapping[str, torch.Tensor]
Combination = Mapping[str, Mapping[str, float]]  # by parameter, the multiples of the tensors of a step


@dataclass(frozen=True)
class Products:
    """What a law makes of some vectors `u_0, u_1, ...`, its scalars flattened.

    Attributes:
        slopes: `<grad h(u_0), u_i>`, shape `(vectors, scalars)`.
        steps: `B(u_i, delta)` with the step `delta`, shape `(vectors, scalars)`; zero for a linear law.
        sizes: the same sums with absolute values: `sizes[i]` bounds the terms of `Q(u_i)` (of `<c, u_i>` for a linear
            law), shape `(vectors, scalars)`.
    """

    slopes: torch.Tensor
    steps: torch.Tensor
    sizes: torch.Tensor


class Forms:
    """A law, ready to be evaluated on many vectors.

    Args:
        law: the law.
        point: the parameters.
        shards: where they lie, if every process has parts of them only.
    """

    def __init__(self, law: Law, point: Vector, shards: Shards | None = None) -> None:
        self.law, self.shards = law, shards
        self.quadratic = law.kind == "balance"
        self.names = tuple(dict.fromkeys(base(n) for n in law.parameters))
        self.shifted = any(p.offset for t in law.terms for p in (t.part, t.partner) if p is not None)
        matrices = [i for i, kind in enumerate(law.axis_kinds) if kind == "matrix"]
        simple = all(t.partner is None and not t.off_diagonal for t in law.terms)
        free = set(law.axis_kinds) <= {"free"}
        alone = all(math.prod(t.part.view.shape) == math.prod(t.part.sizes) for t in law.terms)
        self._line = simple and not self.quadratic and free and alone
        self._gram = simple and self.quadratic and set(law.axis_kinds) <= {"free", "matrix"} and len(matrices) <= 1
        self._matrix = matrices[0] if matrices else None
        self._cuts: dict[str, Placements] | None = None
        if shards is not None:
            self._cuts = self._fitting(shards)
        self.readings = self._reading(point)

    def effort(self, point: Vector) -> float:
        """About what evaluating the law costs: the numbers that it reads, times what a product of rows adds to it."""
        rows = 0 if self._matrix is None else max(t.part.dims[self._matrix] for t in self.law.terms)
        return (1 + rows / ROWS) * sum(point[n].numel() for n in self.names) or 1.0

    def _reading(self, point: Vector) -> list[tuple[str, Reading]]:
        """What the law reads of the sums along rows and columns of its parameters; empty if these are not enough."""
        if self.shards is not None or not (self._gram or self._line) or self._matrix is not None:
            return []
        of = Reading.of if self.quadratic else Reading.along
        found = [(t.part.parameter, of(t.part, read(t.part.parameter, point))) for t in self.law.terms]
        known = [(name, one) for name, one in found if one is not None]
        return known if len(known) == len(found) else []

    def _fitting(self, shards: Shards) -> dict[str, Placements] | None:
        """How every parameter is cut, None if the law cannot be read in parts."""
        cuts: dict[str, Placements] = {}
        if self.quadratic and not self._gram:
            return None
        for t in self.law.terms:
            name, matrix = t.part.parameter, self._matrix
            if matrix is None:
                cuts[name] = shards.layouts[base(name)].placements
                continue

            def blocks(x: torch.Tensor, part: Part = t.part, matrix: int = matrix) -> torch.Tensor:
                rows = (
                    replace(part, offset=Fraction(0))
                    .read(read(part.parameter, {base(part.parameter): x}))
                    .movedim(matrix, -3)
                )
                return rows.reshape(-1, *rows.shape[-3:-1], rows.shape[-1]).flatten(2)

            found = shards.fitting(base(name), blocks)
            if found is None:
                return None
            cuts[name] = found
        return cuts

    @cached_property
    def plain(self) -> Law:
        """The law on a direction, which has no identity of a skip."""
        return replace(self.law, terms=tuple(_plain(t) for t in self.law.terms)) if self.shifted else self.law

    def value(self, point: Vector, sheets: Sheets | None = None) -> torch.Tensor:
        """The scalars of the law at a point, flattened, in float64.

        Args:
            point: the parameters.
            sheets: their products, where other laws need them too.
        """
        if self.readings and sheets is not None:
            found = self._read(sheets, [{n: {THETA: 1.0} for n in self.names}], {})
            return found.slopes[0] / 2 if self.quadratic else found.slopes[0]
        if self._gram or self.shards is not None:
            found = self.products([point], {})
            return 0.5 * found.slopes[0] if self.quadratic else found.slopes[0]
        return self.law.value(self._exact(point)).double().reshape(-1)

    def scale(self, point: Vector) -> torch.Tensor:
        """The same sum with absolute values, against which rounding is measured."""
        if self.shards is not None:
            return self.products([point], {}).sizes[0]
        return self.law.value(self._exact(point), magnitude=True).double().reshape(-1)

    def products(
        self, vectors: Sequence[Vector], step: Mapping[int, float], value: torch.Tensor | None = None
    ) -> Products:
        """What the law makes of some vectors and of a step that is a sum of them.

        Args:
            vectors: the first is the point, to which a skip's identity belongs.
            step: the multiple of every vector in the step; that of the point is asked for if it is listed.
            value: of the law at the point, where it is known.
        """
        if self.shards is None:
            return self._products(vectors, step, value)
        if self._cuts is None:
            layouts = self.shards.layouts
            return self._products([{n: layouts[n].gathered(v[n]) for n in self.names} for v in vectors], step)
        found = self._products(vectors, step)
        whole = self.shards.total(torch.stack([found.slopes, found.steps, found.sizes]))
        return Products(*whole)

    def combined(
        self, sheets: Sheets, vectors: Sequence[Combination], step: Mapping[int, float], value: torch.Tensor
    ) -> Products:
        """The same for sums of the tensors of a step.

        Args:
            sheets: the tensors.
            vectors: the first is the point.
            step: the multiple of every vector in the step.
            value: of the law at the point.
        """
        if self.readings:
            return self._read(sheets, vectors, step)
        if self._gram and self._matrix is not None and self.shards is None:
            return self._full(
                lambda name, i: [(w, sheets.tensors[name][kind]) for kind, w in vectors[i].get(name, {}).items()],
                len(vectors),
                step,
                value,
            )
        return self.products([{n: sheets.vector(n, v.get(n, {})) for n in self.names} for v in vectors], step, value)

    def _lines(self, sheets: Sheets, vectors: Sequence[Combination]) -> Products:
        """The sums of a linear law."""
        plain, absolute = [], []
        for t, (name, reading) in zip(self.law.terms, self.readings, strict=True):
            own = {kind: read(name, {base(name): x.detach()}) for kind, x in sheets.tensors[base(name)].items()}
            flat = {kind: x.reshape(x.shape[0], -1) for kind, x in own.items()}
            sums = lines([[(w, flat[k]) for k, w in v.get(base(name), {}).items()] for v in vectors], reading.columns)
            a = float(t.coefficient)
            plain.append(a * reading.read(sums[0]))
            absolute.append(abs(a) * reading.read(sums[1]))
        slopes = sum(plain[1:], plain[0])
        return Products(slopes, torch.zeros_like(slopes), sum(absolute[1:], absolute[0]))

    def _read(self, sheets: Sheets, vectors: Sequence[Combination], step: Mapping[int, float]) -> Products:
        """All products from those of the tensors."""
        if not self.quadratic:
            return self._lines(sheets, vectors)
        out: list[torch.Tensor] = []
        weights = [step.get(i, 0.0) for i in range(len(vectors))]
        for t, (name, reading) in zip(self.law.terms, self.readings, strict=True):
            place = sheets.places[base(name)]
            gram = reading.read(sheets.products(name, reading.columns))
            rows = [[v.get(base(name), {}).get(kind, 0.0) for kind in place] for v in vectors]
            c = gram.new_tensor(
                [*rows, [sum(w * row[i] for w, row in zip(weights, rows, strict=True)) for i in place.values()]]
            )
            every = (c @ gram.flatten(1)).unflatten(1, gram.shape[1:])  # vector or step, tensor, scalar
            along = c[:-1] @ every[[0, -1]]  # the point or the step, vector, scalar
            squares = (every[:-1] * c[:-1, :, None]).sum(1).clamp(min=0)
            a = float(t.coefficient)
            found = torch.cat([2 * a * along, (abs(a) * squares)[None]])
            out.append(found)
        return Products(*sum(out[1:], out[0]))

    def _products(
        self, vectors: Sequence[Vector], step: Mapping[int, float], value: torch.Tensor | None = None
    ) -> Products:
        if not self.quadratic:
            slopes = torch.stack([self.plain.value(self._exact(v)).double().reshape(-1) for v in vectors])
            sizes = torch.stack(
                [self.plain.value(self._exact(v), magnitude=True).double().reshape(-1) for v in vectors]
            )
            return Products(slopes, torch.zeros_like(slopes), sizes)
        return self._grams(vectors, step, value) if self._gram else self._by_derivatives(vectors, step)

    def bilinear(self, one: Vector, other: Vector) -> torch.Tensor:
        """`B(one, other)`, flattened; zero for a linear law."""
        zero = {n: torch.zeros_like(one[n]) for n in self.names}
        return self.products([zero, one, other], {2: 1.0}).steps[1]

    def _grams(
        self, vectors: Sequence[Vector], step: Mapping[int, float], value: torch.Tensor | None = None
    ) -> Products:
        if self._matrix is not None:
            return self._full(lambda name, i: [(1.0, vectors[i][name])], len(vectors), step, value)
        parts = []
        for t, direct in zip(self.law.terms, self.plain.terms, strict=True):
            rows = [self._rows(direct.part if i else t.part, v) for i, v in enumerate(vectors)]
            parts.append((float(t.coefficient), diagonal(rows, step)))
        slopes, steps = (sum((c * x[i] for c, x in parts), 0 * parts[0][1][i]) for i in (0, 1))
        return Products(slopes, steps, sum((abs(c) * x[2] for c, x in parts), 0 * slopes))

    def _full(
        self, vectors: Callable[[str, int], Sum], count: int, step: Mapping[int, float], value: torch.Tensor | None
    ) -> Products:
        """All pairs of rows.

        Args:
            vectors: what a parameter has in a vector.
            count: of the vectors.
            step: the multiple of every vector in the step.
            value: of the law at the first vector, where it is known.
        """
        terms = []
        for t, direct in zip(self.law.terms, self.plain.terms, strict=True):
            name = base(t.part.parameter)
            sums = [
                [(w, self._rows(direct.part if i else t.part, {name: x})) for w, x in vectors(name, i)]
                for i in range(count)
            ]
            terms.append((float(t.coefficient), sums))
        assert self._matrix is not None
        found = full(terms, step, self._matrix, value is None)
        slopes, steps, sizes = found
        if value is not None:
            slopes[0] = 2 * value
            if 0 in step:
                steps[0] = sum((w * slopes[i] for i, w in step.items()), torch.zeros_like(value))
        return Products(slopes, steps, sizes)

    def _by_derivatives(self, vectors: Sequence[Vector], step: Mapping[int, float]) -> Products:
        exact = [self._exact(v) for v in vectors]
        whole = {n: sum((w * exact[i][n] for i, w in step.items()), torch.zeros_like(t)) for n, t in exact[0].items()}
        slopes = torch.stack([self._derivative(self.law, exact[0], v) for v in exact])
        steps = torch.stack([self._derivative(self.plain, whole, v) for v in exact])
        sizes = torch.stack([self.plain.value(v, magnitude=True).reshape(-1) for v in exact])
        return Products(slopes.double(), steps.double(), sizes.double())

    def _rows(self, part: Part, vector: Vector) -> torch.Tensor:
        """A parameter with the axes of a law first, then what is summed, then the rest."""
        name = base(part.parameter)
        if self._cuts is None or self.shards is None:
            own = read(part.parameter, vector).detach()
            lying = _lying(part, own) if self._matrix is None else None
            return part.read(own) if lying is None else lying
        layout, cut = self.shards.layouts[name], self._cuts[part.parameter]
        plain = replace(part, offset=Fraction(0))
        out = plain.read(read(part.parameter, {name: layout.padded(vector[name].detach(), cut)}))
        if part.offset:  # of the identity every process adds what it has
            own = layout.padded(torch.ones_like(vector[name]), cut)
            own = read(part.parameter, {name: own})
            out = out + plain.read(float(part.offset) * part.identity_like(own) * own)
        return out

    def _derivative(self, law: Law, at: Vector, along: Vector) -> torch.Tensor:
        out: torch.Tensor = torch.func.jvp(law.value, (dict(at),), (dict(along),))[1]
        return out.reshape(-1)

    def _exact(self, vector: Vector) -> dict[str, torch.Tensor]:
        if self._cuts is not None and self.shards is not None:
            layouts, cuts = self.shards.layouts, {base(n): c for n, c in self._cuts.items()}
            return {n: layouts[n].padded(vector[n].detach(), cuts[n]).double() for n in self.names}
        return {n: _precise(vector[n].detach()) for n in self.names}


def _precise(x: torch.Tensor) -> torch.Tensor:
    """In float64; a large tensor of a less precise type in float32 at least, as in `grams.py`."""
    return x.double() if x.numel() <= LARGE or x.dtype == torch.float64 else x.float()


def _lying(part: Part, tensor: torch.Tensor) -> torch.Tensor | None:
    """A parameter as rows of which everything is summed, as it lies in memory; None where that is no view of it.

    Rows of a kernel that belong to an input lie apart, and `Part.read` would copy them.
    """
    whole = all(cut == (0, n) for cut, n in zip(part.slices, part.sizes, strict=False))
    plain = not (part.offset or part.ramp or part.view.conjugate)
    if not plain or not whole or part.sizes != part.dims or len(part.dims) != 1 or part.axes != (0,):
        return None
    x = tensor.reshape(part.view.shape).permute(part.view.order)
    return x.flatten(2) if x.ndim > 2 and x.shape[0] == part.dims[0] else None


def _plain(term: Term) -> Term:
    """A term on a direction, which has no identity of a skip."""
    partner = term.partner and replace(term.partner, offset=Fraction(0))
    return replace(term, part=replace(term.part, offset=Fraction(0)), partner=partner)
