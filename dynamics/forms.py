"""The bilinear forms of a law: `h(theta) = Q(theta) + <c, theta>` and `B(u, v) = u^T A v` on several vectors at once.

A quadratic law reads every parameter as rows, so all products of some vectors (weights, gradient, momentum, step) are
one Gram matrix of their rows.  The kinds of laws that are no plain Gram matrix go through a derivative in a direction.
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

Vector = Mapping[str, torch.Tensor]
LARGE = (
    2**16
)  # entries of a parameter in float32 or less that is not read in float64: the copies would cost more than training


@dataclass(frozen=True)
class Products:
    """What a law makes of some vectors `u_0, u_1, ...`, its scalars flattened.

    Attributes:
        slopes: `<grad h(u_0), u_i>`, shape `(vectors, scalars)`.
        pairs: `B(u_i, u_j)`, shape `(vectors, vectors, scalars)`; zero for a linear law.
        sizes: the same sums with absolute values: `sizes[i]` bounds the terms of `Q(u_i)` (of `<c, u_i>` for a linear
            law), shape `(vectors, scalars)`.
    """

    slopes: torch.Tensor
    pairs: torch.Tensor
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
            return self._sum([self._square(_rows(t.part, point)).double() for t in self.law.terms])
        return self.law.value(self._exact(point)).double().reshape(-1)

    def scale(self, point: Vector) -> torch.Tensor:
        """The same sum with absolute values, against which rounding is measured."""
        return self.law.value(self._exact(point), magnitude=True).double().reshape(-1)

    def products(self, vectors: Sequence[Vector]) -> Products:
        """All slopes and pairs of some vectors; the first is the point, where a skip's identity belongs to it."""
        if not self.quadratic:
            slopes = torch.stack([self.plain.value(self._exact(v)).double().reshape(-1) for v in vectors])
            sizes = torch.stack(
                [self.plain.value(self._exact(v), magnitude=True).double().reshape(-1) for v in vectors]
            )
            return Products(slopes, slopes.new_zeros(len(vectors), *slopes.shape), sizes)
        return self._grams(vectors) if self._gram else self._by_derivatives(vectors)

    def _sum(self, pieces: Sequence[torch.Tensor], magnitude: bool = False) -> torch.Tensor:
        """The terms of the law, weighted and added."""
        weights = [abs(float(t.coefficient)) if magnitude else float(t.coefficient) for t in self.law.terms]
        return torch.stack([w * p for w, p in zip(weights, pieces, strict=True)]).sum(0)

    def _square(self, x: torch.Tensor) -> torch.Tensor:
        """What one term adds to the value."""
        if self._matrix is None:
            return torch.linalg.vecdot(x, x).reshape(-1)
        x = x.movedim(self._matrix, -2)
        return (x @ x.mT).reshape(-1)

    def _grams(self, vectors: Sequence[Vector]) -> Products:
        pairs, sizes = [], []
        for t in self.law.terms:
            direction = _plain(t).part
            rows = [_rows(direction if i else t.part, v) for i, v in enumerate(vectors)]
            pair, size = self._diagonal(rows) if self._matrix is None else self._full(rows, self._matrix)
            pairs.append(pair.double())
            sizes.append(size.double())
        all_pairs = self._sum(pairs)
        return Products(all_pairs[0], all_pairs, self._sum(sizes, magnitude=True))

    def _diagonal(self, rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Twice the products of the rows of some vectors with each other, and the squares of the rows."""
        x = torch.stack([r.reshape(-1, r.shape[-1]) for r in rows], 1)  # row, vector, column
        gram = (x @ x.mT).permute(1, 2, 0)
        return 2 * gram, gram.diagonal().movedim(-1, 0)

    def _full(self, rows: Sequence[torch.Tensor], matrix: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The symmetric products of all rows, and for every entry the product of the norms of its two rows."""
        k = len(rows)
        x = torch.stack([r.movedim(matrix, -2) for r in rows])
        n, columns = x.shape[-2:]
        x = x.reshape(k, -1, n, columns).movedim(0, 1).reshape(-1, k * n, columns)
        gram = (x @ x.mT).reshape(-1, k, n, k, n).permute(1, 3, 0, 2, 4)  # vector, vector, block, row, row
        norms = torch.stack([gram[i, i].diagonal(0, -2, -1) for i in range(k)]).clamp(min=0).sqrt()
        sizes = norms[..., :, None] * norms[..., None, :]
        return (gram + gram.mT).reshape(k, k, -1), sizes.reshape(k, -1)

    def _by_derivatives(self, vectors: Sequence[Vector]) -> Products:
        exact = [self._exact(v) for v in vectors]
        pairs = [[self._derivative(self.plain, u, v) for v in exact] for u in exact]
        slopes = torch.stack([self._derivative(self.law, exact[0], v) for v in exact])
        sizes = torch.stack([self.plain.value(v, magnitude=True).reshape(-1) for v in exact])
        return Products(slopes, torch.stack([torch.stack(row) for row in pairs]), sizes)

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
    """A parameter as the rows that a law multiplies: in float64, or in float32 where it is large."""
    x = part.read(read(part.parameter, vector).detach()).flatten(-2)
    if x.dtype == torch.float64 or x.numel() <= LARGE:
        return x.double()
    return x.float()
