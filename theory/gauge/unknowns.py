"""What the equations of a diagram are about: parts of wires and of parameters, and sums of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .linalg import Number
from .subspace import VectorKey

Token = tuple[int, str]  # a run of tokens of a wire, and its constant (c) or mean-free part (d)
Cell = tuple  # (key,) for a vector, (token, key) for a table, (key, key) for a matrix

# Unknowns are compared as tuples: those that meet in one system differ in length.


class Sector(NamedTuple):
    """A sector of the matrix `S` of a wire."""

    wire: int
    box: int
    label: str


class Factor(NamedTuple):
    """A factor `c` that a block or a use of a parameter leaves open, next to the matrices of wires."""

    owner: str
    label: str


class Shift(NamedTuple):
    """A sector of the constant shift `t` of a wire."""

    wire: int
    token: Token
    key: VectorKey


class Field(NamedTuple):
    """A sector of the constant field of a parameter."""

    parameter: str
    cell: Cell


class Open(NamedTuple):
    """How much of a vector or field that nobody sees there is: what an equation between shifts leaves open.

    Attributes:
        why: what makes it unseen.
        owner: the wire, block or reader.
        at: the vector by its number, and where it stands.
        of: a mark that sets it apart from other kinds of unknowns.
    """

    why: str
    owner: int | str
    at: tuple
    of: str = "open"


MatrixKey = Sector | Factor
ShiftKey = Shift | Field | Open
MatrixRow = dict[MatrixKey, Number]
MatrixEquation = (  # what rules write; None stands for a sector that does not exist, whose matrix is zero
    Mapping[MatrixKey | None, Number]
    | Mapping[MatrixKey, Number]
    | Mapping[Sector | None, Number]
    | Mapping[Sector, Number]
)
ShiftRow = dict[ShiftKey, Number]
Terms = dict[tuple[Token, VectorKey], ShiftRow]  # the shift of a wire, sector by sector


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
