"""What the equations of a diagram are about: parts of wires and of parameters, and sums of them."""

from __future__ import annotations

from .linalg import Number
from .subspace import VectorKey

MatrixKey = tuple  # (wire, box, label) for a sector of S, (site name, label) for a factor c
Token = tuple[int, str]  # a run of tokens of a wire, and its constant (c) or mean-free part (d)
Cell = tuple  # (key,) for a vector, (token, key) for a table, (key, key) for a matrix
Row = dict[tuple, Number]
Terms = dict[tuple[Token, VectorKey], Row]  # the shift of a wire, sector by sector


def add_terms(*terms: Terms) -> Terms:
    """The sum of shifts."""
    out: Terms = {}
    for part in terms:
        for at, row in part.items():
            target = out.setdefault(at, {})
            for k, a in row.items():
                target[k] = target.get(k, 0) + a
    return out


def scale_terms(terms: Terms, factor: Number) -> Terms:
    """A shift times a number."""
    return {at: {k: a * factor for k, a in row.items()} for at, row in terms.items()}
