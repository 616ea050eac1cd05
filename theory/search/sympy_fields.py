"""Vector fields that are given as sympy expressions."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from functools import cached_property
from math import lcm
from typing import Any

import flint
import numpy as np
import sympy

from .grading import Term, parities_of, weights_of
from .laws import Polynomial
from .monomials import Monomial, as_rows, products

BATCH = 4_000_000  # entries that are evaluated at once


class SympyFields:
    """Polynomial vector fields with rational coefficients; an `ExactFields`.

    Symbols that are no variables are data: a law has to hold for all their values, so every monomial in them has a
    field of its own.

    Args:
        fields: each a sequence of `D` expressions (or whole numbers and fractions).
        variables: the `D` symbols that move, by default all symbols, sorted by name.

    Raises:
        ValueError: if sizes disagree or an entry is no polynomial with rational coefficients.
    """

    def __init__(self, fields: Sequence[Sequence[Any]], variables: Sequence[sympy.Symbol] | None = None) -> None:
        rows = _expressions(fields)
        free = sorted({s for row in rows for entry in row for s in entry.free_symbols}, key=lambda s: s.name)
        self.symbols = tuple(free if variables is None else variables)
        if bad := [v for v in self.symbols if not isinstance(v, sympy.Symbol)]:
            raise ValueError(f"variables are sympy symbols, but {bad[0]!r} is of type {type(bad[0]).__name__}")
        if len({s.name for s in self.symbols}) < len(self.symbols):
            raise ValueError(f"the variables {', '.join(s.name for s in self.symbols)} are not all different")
        self._data = [s for s in free if s not in self.symbols]
        for f, row in enumerate(rows):
            if len(row) != len(self.symbols):
                hint = "; name the variables, so that the other symbols count as data" if variables is None else ""
                raise ValueError(f"field {f} has {len(row)} components for {len(self.symbols)} variables{hint}")
        self._polynomials = [[self._parsed(entry, f, i) for i, entry in enumerate(row)] for f, row in enumerate(rows)]
        self._collect()

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables."""
        return tuple(s.name for s in self.symbols)

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the symbols that are data."""
        return tuple(s.name for s in self._data)

    @property
    def field_degree(self) -> int:
        """The largest degree of a component, and one for the random combination of fields."""
        return max((len(m) for m in self._monomials), default=0) + 1

    def parities(self) -> list[int]:
        """All sign flips that map each field to itself or its negative."""
        return parities_of(self._terms, len(self.symbols))

    def weights(self) -> list[tuple[int, ...]]:
        """All weights for which each field is homogeneous."""
        return weights_of(self._terms, len(self.symbols))

    def values(self, theta: np.ndarray, prime: int, rng: np.random.Generator) -> np.ndarray:
        """Random combinations of the fields, as `ExactFields.values`."""
        found = np.zeros_like(theta)
        if not self._component.size:
            return found
        scale = np.array([c % prime for c in self._coefficient], dtype=np.int64)
        starts = np.flatnonzero(np.r_[True, np.diff(self._component) != 0])
        step = max(1, BATCH // len(scale))
        rows = as_rows(self._monomials, len(self.symbols))
        for start in range(0, len(theta), step):
            points = theta[start : start + step]
            share = rng.integers(0, prime, (len(points), len(self._terms)))
            terms = products(points, rows, prime)[:, self._place] * scale % prime * share[:, self._field] % prime
            found[start : start + step, self._component[starts]] = np.add.reduceat(terms, starts, axis=1) % prime
        return found

    def conserves(self, law: Polynomial) -> bool:
        """Whether `<grad P, X>` expands to zero for every field, data included: a proof.

        This reads the fields as they were given, and shares nothing with the sampling.
        """
        context, fields = self._exact
        size = context.nvars()
        exponents = {tuple(m.count(v) for v in range(size)): c for m, c in law.items()}
        polynomial = context.from_dict(exponents)
        slopes = [(v, polynomial.derivative(v)) for v in sorted({v for m in law for v in m})]
        return all(sum((slope * field[v] for v, slope in slopes), context.constant(0)).is_zero() for field in fields)

    def _parsed(self, entry: sympy.Expr, f: int, i: int) -> sympy.Poly:
        place = f"component {i} of field {f}, {entry},"
        if entry.has(sympy.Float):
            raise ValueError(f"{place} has a float, and the search is exact; write it as sympy.Rational")
        try:
            return sympy.Poly(entry, *self.symbols, *self._data, domain=sympy.QQ)
        except (sympy.PolynomialError, sympy.CoercionFailed):
            raise ValueError(
                f"{place} is no polynomial with rational coefficients in its symbols; give a new name to what is no "
                "polynomial in data, or clear denominators: a field may be multiplied by any function"
            ) from None

    def _collect(self) -> None:
        """One field per monomial in the data, with whole coefficients, as flat arrays sorted by component."""
        size = len(self.symbols)
        number: dict[tuple[int, tuple[int, ...]], int] = {}
        places: dict[Monomial, int] = {}
        flat = []
        for f, row in enumerate(self._polynomials):
            scale = _denominator(row)
            for i, entry in enumerate(row):
                for powers, c in entry.terms():
                    if c:
                        monomial = tuple(v for v, a in enumerate(powers[:size]) for _ in range(a))
                        field = number.setdefault((f, powers[size:]), len(number))
                        flat.append((i, field, places.setdefault(monomial, len(places)), int(c * scale)))
        flat.sort(key=lambda term: term[0])
        self._monomials = list(places)
        self._component, self._field, self._place = (np.array([t[k] for t in flat], dtype=np.int64) for k in range(3))
        self._coefficient = [t[3] for t in flat]
        self._terms: list[list[Term]] = [[] for _ in number]
        for i, field, place, _ in flat:
            self._terms[field].append((i, self._monomials[place]))

    @cached_property
    def _exact(self) -> tuple[flint.fmpz_mpoly_ctx, list[list[flint.fmpz_mpoly]]]:
        """The fields as polynomials of FLINT in variables and data, denominators cleared."""
        names = [f"x{i}" for i in range(len(self.symbols) + len(self._data))]
        context = flint.fmpz_mpoly_ctx.get(names, flint.Ordering.lex)
        fields = []
        for row in self._polynomials:
            scale = _denominator(row)
            fields.append([context.from_dict({m: int(c * scale) for m, c in e.terms() if c}) for e in row])
        return context, fields


def _expressions(fields: Sequence[Sequence[Any]]) -> list[list[sympy.Expr]]:
    """The entries as sympy expressions; nothing is parsed from text."""
    if isinstance(fields, str) or not isinstance(fields, Sequence) or not len(fields):
        raise ValueError("fields are a list of vector fields, at least one, each a list of sympy expressions")
    rows = []
    for f, row in enumerate(fields):
        if isinstance(row, str) or not isinstance(row, Sequence | sympy.MatrixBase):
            raise ValueError(f"field {f} is a list of sympy expressions, one per variable, not {type(row).__name__}")
        for i, entry in enumerate(row):
            if not isinstance(entry, sympy.Expr | numbers.Rational):
                raise ValueError(
                    f"component {i} of field {f} is a {type(entry).__name__}; give a sympy expression or a fraction"
                )
        rows.append([e if isinstance(e, sympy.Expr) else sympy.Rational(e.numerator, e.denominator) for e in row])
    return rows


def _denominator(row: list[sympy.Poly]) -> int:
    return lcm(*(int(c.q) for entry in row for c in entry.coeffs()))
