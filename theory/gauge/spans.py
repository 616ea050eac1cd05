"""What a wire can carry at all: the affine span of its values, measured, with rational coefficients.

A wire that is computed of the inputs alone has no gauge, but it may be short of directions: a centred input is
orthogonal to `1`, the weights of a softmax sum to 1, the halves of a repeated input are equal.  Numbers of many sizes
go in; the vectors `u` with one and the same `u^T x` for all of them are the null space of the rows `(x, 1)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch

NULL = 1e-10  # singular values below it, relative to the largest one, are rounding
PIVOT = 1e-6  # an entry of a basis below it is rounding
SIMPLE = 64  # largest denominator of a coefficient
CONSTANT = 1e-13  # error of a constant
COMMON = 10**6  # largest common denominator of a relation: many simple fractions together fit anything
EXACT = 1e-12  # a relation must hold to this, relative to the sizes of its terms

Coefficients = tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """Vectors whose product with everything that a wire carries never changes.

    Attributes:
        starts: the first feature of every run of neighbours that all vectors treat alike.
        still: the runs, by their number, whose features are equal to one number, always the same.
        absent: vectors of product 0, as one coefficient per run.
        fixed: one vector of another product, and that product, or None.
        known: whether these are all; False where coefficients are no simple fractions.
    """

    starts: tuple[int, ...] = (0,)
    still: tuple[int, ...] = ()
    absent: tuple[Coefficients, ...] = ()
    fixed: tuple[Coefficients, Fraction] | None = None
    known: bool = True

    @property
    def zeros(self) -> tuple[int, ...]:
        """The runs whose features are always 0 (the state that a recurrence starts from)."""
        alone = {next(i for i, c in enumerate(u) if c) for u in self.absent if sum(map(bool, u)) == 1}
        return tuple(k for k in self.still if k in alone)

    @property
    def constant(self) -> bool:
        """Whether all features are always one and the same number, and not 0."""
        return self.starts == (0,) and self.still == (0,) and self.fixed is not None

    @property
    def free(self) -> bool:
        """Whether nothing is missing."""
        return self.known and not (self.still or self.absent or self.fixed)


def affine_dimension(values: torch.Tensor) -> int:
    """Dimension of the smallest affine space that holds all rows."""
    return _rank(_homogeneous(values)) - 1


def measure(values: torch.Tensor) -> Span:
    """The span of the rows of a table.

    Args:
        values: of shape `(samples, features)`, float64; many more rows than features, of many sizes.
    """
    rows = _homogeneous(values)
    n = values.shape[1]
    # The rows of R have the singular values of a tall table, and the vectors on its right, for a fraction of the work.
    small = torch.linalg.qr(rows, mode="r").R if len(rows) > n + 1 else rows
    _, s, basis = torch.linalg.svd(small, full_matrices=True)
    rank = int((s > NULL * s[0]).sum())
    if rank == n + 1:
        return Span()
    found, known = [], True
    for vector in _reduced(basis[rank:]):
        exact = _rational(vector, rows)
        if exact is None:
            known = False
        else:
            found.append(exact)
    return _grouped(found, n, known)


def _homogeneous(values: torch.Tensor) -> torch.Tensor:
    """Rows `(x, 1)` of length 1, so that large numbers do not hide small ones; without those that are not finite."""
    rows = torch.cat([values.double(), values.new_ones(len(values), 1, dtype=torch.float64)], 1)
    rows = rows[torch.isfinite(rows).all(1)]
    return rows / rows.norm(dim=1, keepdim=True)


def _rank(rows: torch.Tensor) -> int:
    s = torch.linalg.svdvals(rows)
    return int((s > NULL * s[0]).sum())


def _reduced(basis: torch.Tensor) -> list[torch.Tensor]:
    """The basis in reduced echelon form: entries of simple relations become simple numbers."""
    rows = basis.clone()
    at = 0
    for column in range(rows.shape[1] - 1):
        if at == len(rows):
            break
        best = at + int(rows[at:, column].abs().argmax())
        if float(rows[best, column].abs()) < PIVOT:
            continue
        rows[[at, best]] = rows[[best, at]]
        rows[at] /= rows[at, column].clone()
        others = torch.arange(len(rows)) != at
        rows[others] -= rows[others, column : column + 1] * rows[at]
        at += 1
    return list(rows[:at])


def _rational(vector: torch.Tensor, rows: torch.Tensor) -> list[Fraction] | None:
    """A relation with integers before the features, None if it is none of simple numbers."""
    simple = [Fraction(float(a)).limit_denominator(SIMPLE) for a in vector[:-1]]
    scale = math.lcm(*(a.denominator for a in simple))
    if scale > COMMON:
        return None
    whole = [a * scale for a in simple]
    exact = torch.tensor([float(a) for a in whole], dtype=torch.float64)
    # rows are (x, 1) over a length: the constant is the best one for rows of ordinary size
    products, ones = rows[:, :-1] @ exact, rows[:, -1]
    constant = float((products * ones).sum() / (ones * ones).sum())
    nice = next(
        (c for c in _candidates(constant) if abs(float(c) - constant) <= CONSTANT * max(1.0, abs(constant))), None
    )
    if nice is None:
        return None
    sizes = rows[:, :-1].abs() @ exact.abs() + ones * abs(float(nice))
    if bool(((products - float(nice) * ones).abs() > EXACT * sizes.clamp_min(1e-300)).any()):
        return None
    return [*whole, -nice]


def _candidates(constant: float) -> tuple[Fraction, ...]:
    """What a constant may be: a simple fraction, or a number that a buffer holds in float32."""
    return Fraction(constant).limit_denominator(1000), Fraction(round(constant * 2**30), 2**30)


def _grouped(found: list[list[Fraction]], n: int, known: bool) -> Span:
    """Relations as vectors over runs of features that all of them treat alike."""
    constants: dict[int, Fraction] = {}
    others: list[list[Fraction]] = []
    for row in found:
        support = [i for i in range(n) if row[i]]
        if len(support) == 1:
            constants[support[0]] = -row[-1] / row[support[0]]
        else:
            others.append(row)
    if constants:  # echelon form may write a constant as a sum with another one
        others = [_without(row, constants) for row in others]
    marks = [(constants.get(i), *(row[i] for row in others)) for i in range(n)]
    starts = tuple(i for i in range(n) if not i or marks[i] != marks[i - 1])
    ends = (*starts[1:], n)
    vectors = [([row[s] for s in starts], -row[-1]) for row in others if any(row[:-1])]
    still = tuple(k for k, s in enumerate(starts) if s in constants)
    for k in still:
        line = [Fraction(int(j == k)) for j in range(len(starts))]
        vectors.append((line, constants[starts[k]] * (ends[k] - starts[k])))
    pivot = next((v for v in vectors if v[1]), None)
    absent = []
    for u, c in vectors:
        if c and pivot is not None:
            if u is pivot[0]:
                continue
            u = [a - c / pivot[1] * b for a, b in zip(u, pivot[0], strict=True)]
        absent.append(_whole(u)[0])
    fixed = None
    if pivot is not None:
        coefficients, scale = _whole(pivot[0])
        fixed = (coefficients, pivot[1] * scale)
    return Span(starts, still, tuple(absent), fixed, known)


def _without(row: list[Fraction], constants: dict[int, Fraction]) -> list[Fraction]:
    """A relation without the features that never change."""
    moved = sum((row[i] * c for i, c in constants.items()), Fraction(0))
    return [Fraction(0) if i in constants else a for i, a in enumerate(row[:-1])] + [row[-1] + moved]


def _whole(vector: list[Fraction]) -> tuple[Coefficients, Fraction]:
    """A multiple of a vector with integers that share no factor, and the factor."""
    scale = Fraction(math.lcm(*(a.denominator for a in vector)))
    divisor = math.gcd(*(int(a * scale) for a in vector)) or 1
    return tuple(int(a * scale) // divisor for a in vector), scale / divisor
