"""Sparse linear equations over the rational numbers, kept in solved form.

The gauge constraints of a network are thousands of equations with two or three terms each.  `Equations` keeps them
solved as they arrive: every dependent variable is written in terms of free ones, and the free ones are the earliest
variables, so that a law is expressed through the wire nearest to the input.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Number = int | Fraction


def _divide(a: Number, b: Number) -> Number:
    q = Fraction(a) / b
    return q.numerator if q.denominator == 1 else q


class Equations(Generic[Key]):
    """A growing homogeneous system; variables are any hashable keys, ordered by first mention.

    >>> e = Equations()
    >>> e.require({"a": 1, "b": -1}); e.require({"b": 1, "c": 1})
    >>> e.nullspace()
    [{'a': 1, 'b': 1, 'c': -1}]
    """

    def __init__(self) -> None:
        self._order: dict[Key, int] = {}
        self._solved: dict[Key, dict[Key, Number]] = {}
        self._users: dict[Key, set[Key]] = {}

    def declare(self, key: Key) -> None:
        """Mentions a variable, so that it exists even if no equation names it."""
        self._order.setdefault(key, len(self._order))

    def __len__(self) -> int:
        """Number of variables."""
        return len(self._order)

    def variables(self) -> list[Key]:
        """All variables in order of first mention."""
        return list(self._order)

    def reduce(self, row: Mapping[Key, Number]) -> dict[Key, Number]:
        """The row written in free variables only."""
        out: dict[Key, Number] = {}
        for key, a in row.items():
            if not a:
                continue
            self.declare(key)
            for free, b in self._solved.get(key, {key: 1}).items():
                value = out.get(free, 0) + a * b
                if value:
                    out[free] = value
                else:
                    out.pop(free, None)
        return out

    def require(self, row: Mapping[Key, Number]) -> None:
        """Adds the equation `sum(row[k] * k) == 0`."""
        row = self.reduce(row)
        if not row:
            return
        pivot = max(row, key=self._order.__getitem__)
        scale = row.pop(pivot)
        solution = {k: _divide(-a, scale) for k, a in row.items()}
        for user in self._users.pop(pivot, set()):
            self._substitute(user, pivot, solution)
        self._solved[pivot] = solution
        for k in solution:
            self._users.setdefault(k, set()).add(pivot)

    def _substitute(self, user: Key, pivot: Key, solution: Mapping[Key, Number]) -> None:
        target = self._solved[user]
        factor = target.pop(pivot)
        for k, a in solution.items():
            value = target.get(k, 0) + factor * a
            if value:
                target[k] = value
                self._users.setdefault(k, set()).add(user)
            else:
                target.pop(k, None)
                self._users[k].discard(user)

    def nullspace(self) -> list[dict[Key, Number]]:
        """A basis of the solutions: one vector per free variable, in order of mention."""
        basis: dict[Key, dict[Key, Number]] = {k: {k: 1} for k in self._order if k not in self._solved}
        for pivot, solution in self._solved.items():
            for k, a in solution.items():
                basis[k][pivot] = a
        return [dict(sorted(v.items(), key=lambda kv: self._order[kv[0]])) for v in basis.values()]


def rank(rows: Iterable[Mapping[Key, Number]]) -> int:
    """Rank over Q of sparse rows."""
    system: Equations[Key] = Equations()
    count = 0
    for row in rows:
        if system.reduce(row):
            system.require(row)
            count += 1
    return count


def independent(rows: Iterable[Mapping[Key, Number]]) -> list[int]:
    """Indices of the rows, first come first kept, that form a basis of their span."""
    system: Equations[Key] = Equations()
    kept = []
    for i, row in enumerate(rows):
        if system.reduce(row):
            system.require(row)
            kept.append(i)
    return kept


def combinations(rows: list[dict[Key, Number]]) -> list[dict[int, Number]]:
    """A basis of the linear relations `sum(c[i] * rows[i]) == 0` between the rows."""
    columns: dict[Key, dict[int, Number]] = {}
    for i, row in enumerate(rows):
        for key, a in row.items():
            if a:
                columns.setdefault(key, {})[i] = a
    system: Equations[int] = Equations()
    for i in range(len(rows)):
        system.declare(i)
    for column in columns.values():
        system.require(column)
    return system.nullspace()


def combine(coefficients: Mapping[int, Number], rows: list[dict[Key, Number]]) -> dict[Key, Number]:
    """The linear combination of sparse rows."""
    out: dict[Key, Number] = {}
    for i, c in coefficients.items():
        for key, a in rows[i].items():
            out[key] = out.get(key, 0) + c * a
    return {k: v for k, v in out.items() if v}
