"""The bilinear forms of a law: `h(theta) = Q(theta) + <c, theta>` and `B(u, v) = u^T A v` on several vectors at once.

A quadratic law reads every parameter as rows, so all products of some vectors (weights, gradient, momentum, step) are
one Gram matrix of their rows (`grams.py`).  The kinds of laws that are no plain Gram matrix go through a derivative in
a direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch

from lawful.theory.laws.law import Law
from lawful.theory.laws.statement import Part, Term
from lawful.theory.parts import base, read

from .grams import diagonal, full

Vector = Mapping[str, torch.Tensor]


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
    """

    def __init__(self, law: Law) -> None:
        self.law = law
        self.quadratic = law.kind == "balance"
        self.names = tuple(dict.fromkeys(base(n) for n in law.parameters))
        self.shifted = any(p.offset for t in law.terms for p in (t.part, t.partner) if p is not None)
        matrices = [i for i, kind in enumerate(law.axis_kinds) if kind == "matrix"]
        simple = all(t.partner is None and not t.off_diagonal for t in law.terms)
        self._gram = simple and self.quadratic and set(law.axis_kinds) <= {"free", "matrix"} and len(matrices) <= 1
        self._matrix = matrices[0] if matrices else None

    @cached_property
    def plain(self) -> Law:
        """The law on a direction, which has no identity of a skip."""
        return replace(self.law, terms=tuple(_plain(t) for t in self.law.terms)) if self.shifted else self.law

    def value(self, point: Vector) -> torch.Tensor:
        """The scalars of the law at a point, flattened, in float64."""
        if self._gram:
            return 0.5 * self._grams([point], {}).slopes[0]
        return self.law.value(self._exact(point)).double().reshape(-1)

    def scale(self, point: Vector) -> torch.Tensor:
        """The same sum with absolute values, against which rounding is measured."""
        return self.law.value(self._exact(point), magnitude=True).double().reshape(-1)

    def products(self, vectors: Sequence[Vector], step: Mapping[int, float]) -> Products:
        """What the law makes of some vectors and of a step that is a sum of them.

        Args:
            vectors: the first is the point, to which a skip's identity belongs.
            step: the multiple of every vector in the step.
        """
        if not self.quadratic:
            slopes = torch.stack([self.plain.value(self._exact(v)).double().reshape(-1) for v in vectors])
            sizes = torch.stack(
                [self.plain.value(self._exact(v), magnitude=True).double().reshape(-1) for v in vectors]
            )
            return Products(slopes, torch.zeros_like(slopes), sizes)
        return self._grams(vectors, step) if self._gram else self._by_derivatives(vectors, step)

    def bilinear(self, one: Vector, other: Vector) -> torch.Tensor:
        """`B(one, other)`, flattened; zero for a linear law."""
        zero = {n: torch.zeros_like(one[n]) for n in self.names}
        return self.products([zero, one, other], {2: 1.0}).steps[1]

    def _grams(self, vectors: Sequence[Vector], step: Mapping[int, float]) -> Products:
        parts = []
        for t in self.law.terms:
            direction = _plain(t).part
            rows = [_rows(direction if i else t.part, v) for i, v in enumerate(vectors)]
            found = diagonal(rows, step) if self._matrix is None else full(rows, step, self._matrix)
            parts.append((float(t.coefficient), found))
        slopes, steps = (sum((c * x[i] for c, x in parts), 0 * parts[0][1][i]) for i in (0, 1))
        return Products(slopes, steps, sum((abs(c) * x[2] for c, x in parts), 0 * slopes))

    def _by_derivatives(self, vectors: Sequence[Vector], step: Mapping[int, float]) -> Products:
        exact = [self._exact(v) for v in vectors]
        whole = {n: sum((w * exact[i][n] for i, w in step.items()), torch.zeros_like(t)) for n, t in exact[0].items()}
        slopes = torch.stack([self._derivative(self.law, exact[0], v) for v in exact])
        steps = torch.stack([self._derivative(self.plain, whole, v) for v in exact])
        sizes = torch.stack([self.plain.value(v, magnitude=True).reshape(-1) for v in exact])
        return Products(slopes, steps, sizes)

    def _derivative(self, law: Law, at: Vector, along: Vector) -> torch.Tensor:
        out: torch.Tensor = torch.func.jvp(law.value, (dict(at),), (dict(along),))[1]
        return out.reshape(-1)

    def _exact(self, vector: Vector) -> dict[str, torch.Tensor]:
        return {n: vector[n].detach().double() for n in self.names}


def _plain(term: Term) -> Term:
    """A term on a direction, which has no identity of a skip."""
    partner = term.partner and replace(term.partner, offset=Fraction(0))
    return replace(term, part=replace(term.part, offset=Fraction(0)), partner=partner)


def _rows(part: Part, vector: Vector) -> torch.Tensor:
    """A parameter with the axes of a law first, then what is summed, then the rest."""
    return part.read(read(part.parameter, vector).detach())
