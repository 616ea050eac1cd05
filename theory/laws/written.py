"""Sums of sympy that print their terms in the order in which a law states them; to all else they are plain sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp


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
