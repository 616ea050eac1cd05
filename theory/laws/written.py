"""Expressions of sympy that print as a law states them; to all else they are the plain ones.

Sums keep the order of their terms, an entry of a vector has one index (`b[i]`), and the vector of ones is `ones(n)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp
from sympy.matrices.expressions.matexpr import MatrixElement


class Written(sp.Add):
    """A sum of scalars in the order of its arguments."""

    def _written(self, printer: Any) -> Any:
        return printer._print_Add(self, order="none")

    _sympystr = _latex = _pretty = _written

    def __eq__(self, other: object) -> bool:
        return bool(sp.Add(*self.args) == (sp.Add(*other.args) if isinstance(other, Written) else other))

    def __hash__(self) -> int:
        return hash(sp.Add(*self.args))


class WrittenMatrix(sp.MatAdd):
    """A sum of matrices in the order of its arguments."""

    def _written(self, printer: Any) -> str:
        terms = [str(printer._print(a)).strip() for a in self.args]
        signed = [f" - {t[1:].strip()}" if t.startswith("-") else f" + {t}" for t in terms]
        return "".join([terms[0], *signed[1:]])

    _sympystr = _latex = _written

    def __eq__(self, other: object) -> bool:
        return bool(_plain(self) == (_plain(other) if isinstance(other, WrittenMatrix) else other))

    def __hash__(self) -> int:
        return hash(_plain(self))


def _plain(x: sp.MatAdd) -> sp.MatrixExpr:
    return sp.MatAdd(*x.args).doit()


def written(pieces: Sequence[sp.Expr]) -> sp.Expr:
    """The sum of scalars, printed in their order."""
    plain = sp.Add(*pieces)
    return Written._from_args(tuple(pieces)) if plain.is_Add and set(plain.args) == set(pieces) else plain


def written_matrix(pieces: Sequence[sp.MatrixExpr]) -> sp.MatrixExpr:
    """The sum of matrices, printed in their order."""
    if len(pieces) == 1:
        return pieces[0]
    done = [p.doit() for p in pieces]
    plain = sp.MatAdd(*done).doit()
    return WrittenMatrix(*done) if isinstance(plain, sp.MatAdd) and set(plain.args) == set(done) else plain


class Ones(sp.OneMatrix):
    """A row or a column of ones."""

    def _written(self, printer: Any) -> str:
        row, columns = self.shape
        return f"ones({columns}).T" if row == 1 else f"ones({row})"

    def _latex(self, printer: Any) -> str:
        return r"\mathbf{1}^{T}" if self.shape[0] == 1 else r"\mathbf{1}"

    _sympystr = _written

    def __eq__(self, other: object) -> bool:
        return bool(sp.OneMatrix(*self.args) == (sp.OneMatrix(*other.args) if isinstance(other, Ones) else other))

    def __hash__(self) -> int:
        return hash(sp.OneMatrix(*self.args))


class Entry(MatrixElement):
    """An entry of a vector."""

    def _written(self, printer: Any) -> Any:
        vector, index, _ = self.args
        return printer._print(sp.Indexed(sp.IndexedBase(vector.name), index))

    _sympystr = _latex = _pretty = _written

    def __eq__(self, other: object) -> bool:
        return bool(_plain_entry(self) == (_plain_entry(other) if isinstance(other, Entry) else other))

    def __hash__(self) -> int:
        return hash(_plain_entry(self))


class Vector(sp.MatrixSymbol):
    """A column whose entries have one index."""

    def _entry(self, i: Any, j: Any, **kwargs: Any) -> Any:
        return Entry(self, i, j)

    def __eq__(self, other: object) -> bool:
        return bool(
            sp.MatrixSymbol(*self.args) == (sp.MatrixSymbol(*other.args) if isinstance(other, Vector) else other)
        )

    def __hash__(self) -> int:
        return hash(sp.MatrixSymbol(*self.args))


def _plain_entry(x: Entry) -> MatrixElement:
    return MatrixElement(sp.MatrixSymbol(*x.args[0].args), *x.args[1:])


def symbol(name: str, rows: int, columns: int) -> sp.MatrixSymbol:
    """The symbol of a parameter."""
    return Vector(name, rows, columns) if columns == 1 else sp.MatrixSymbol(name, rows, columns)
