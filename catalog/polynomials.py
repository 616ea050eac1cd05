"""Count formulas: polynomials in the widths, found from counts at some sizes and checked at others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import flint
import sympy as sp

Sizes = Mapping[str, int]
DEGREE, POWER = 3, 2  # of all widths together, of each


def monomials(widths: Sequence[str]) -> list[tuple[int, ...]]:
    """Exponents of the monomials that a count may have."""
    powers = itertools.product(range(POWER + 1), repeat=len(widths))
    return [p for p in powers if sum(p) <= DEGREE]


def fit(widths: Sequence[str], samples: Sequence[tuple[Sizes, int]]) -> sp.Expr | None:
    """The polynomial with these values, None if there is none of this degree.

    Args:
        widths: names of the variables.
        samples: sizes and counts, more of them than there are monomials: the surplus is the check.

    Raises:
        ValueError: for sizes that do not determine the coefficients.
    """
    exponents = monomials(widths)
    rows = [[math.prod(s[w] ** k for w, k in zip(widths, p, strict=True)) for p in exponents] for s, _ in samples]
    matrix, values = flint.fmpz_mat(rows), flint.fmpz_mat([[v] for _, v in samples])
    square = matrix.transpose() * matrix
    if square.rank() < len(exponents):
        raise ValueError(f"{len(samples)} sizes do not determine {len(exponents)} coefficients; take more sizes")
    found: flint.fmpq_mat = flint.fmpq_mat(square).solve(flint.fmpq_mat(matrix.transpose() * values))
    if flint.fmpq_mat(matrix) * found != flint.fmpq_mat(values):
        return None
    total = sp.Integer(0)
    for i, powers in enumerate(exponents):
        term = sp.Rational(int(found[i, 0].p), int(found[i, 0].q))
        total += term * sp.prod(sp.Symbol(w) ** k for w, k in zip(widths, powers, strict=True))
    return total


def written(expression: sp.Expr) -> str:
    """A count as people write it: factors, `^` for powers."""
    symbols = sorted(expression.free_symbols, key=str)
    coefficients = sp.Poly(expression, *symbols).coeffs() if symbols else [expression]
    denominator = sp.ilcm(*(c.q for c in coefficients), 1)
    factors = sp.factor(sp.expand(expression * denominator))
    out = str(factors).replace("**", "^").replace("*", " ")
    if denominator == 1:
        return out
    return f"({out}) / {denominator}" if factors.is_Add else f"{out} / {denominator}"


def evaluate(expression: sp.Expr, sizes: Sizes) -> int:
    """The count at some sizes."""
    return int(expression.subs({sp.Symbol(w): n for w, n in sizes.items()}))
