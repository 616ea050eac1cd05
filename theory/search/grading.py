"""Symmetries that cut the search into small pieces.

If flipping the signs of some variables maps a family of fields to itself (up to sign), then the conserved polynomials
are spanned by those on which the flip acts by one sign: the flip maps conserved polynomials to conserved ones, and its
eigenspaces are spanned by monomials.  With a group of such flips, monomials with the same signs form a class, and every
class can be searched alone.  If the fields are homogeneous for integer weights of the variables (every term of one
field changes the weight of a polynomial by the same amount), then the classes may be told apart by their weights too.

The label of a class is a 64-bit hash.  A collision would merge two classes, which costs time and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd, lcm

import numpy as np

from ..gauge.linalg import Equations

Term = tuple[int, tuple[int, ...]]  # the component of a field, and the variables of a monomial with multiplicity


@dataclass(frozen=True)
class Grading:
    """What sorts monomials into classes.

    Attributes:
        parities: for every variable the sign flips that move it, as a bit mask.
        weights: vectors of one integer per variable, for which the fields are homogeneous.
    """

    parities: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...] = ()

    def labels(self, monomials: np.ndarray) -> np.ndarray:
        """One hash per monomial (rows as in `all_monomials`), equal within a class."""
        bits = max((mask.bit_length() for mask in self.parities), default=0)
        words = np.random.default_rng(0).integers(0, 1 << 64, bits + len(self.weights), dtype=np.uint64)
        flips = np.zeros(len(self.parities) + 1, dtype=np.uint64)  # the last variable is the constant 1
        sums = np.zeros_like(flips)
        for v, mask in enumerate(self.parities):
            while mask:
                low = mask & -mask
                flips[v] ^= words[low.bit_length() - 1]
                mask ^= low
            sums[v] = sum(w[v] * int(word) for w, word in zip(self.weights, words[bits:], strict=True)) % (1 << 64)
        flip, total = flips[monomials[:, 0]], sums[monomials[:, 0]]
        for column in monomials.T[1:]:
            flip, total = flip ^ flips[column], total + sums[column]
        return flip + total * np.uint64(0x9E3779B97F4A7C15)


def classes(labels: np.ndarray) -> list[np.ndarray]:
    """Groups equal labels.

    Returns:
        For every size `n` of a class an array of shape `(number of classes, n)` of positions, in ascending order.
    """
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(labels[order]) != 0])
    sizes = np.diff(np.r_[starts, len(labels)])
    return [order[starts[sizes == n][:, None] + np.arange(n)] for n in np.unique(sizes)]


def parities_of(fields: Iterable[Sequence[Term]], variables: int) -> list[int]:
    """All sign flips that map each polynomial field to itself or its negative.

    A flip with bits `s` multiplies the term `theta^a d/dtheta_i` by `(-1)^(s_i + <s, a>)`, which must be the same for
    all terms of a field: linear equations over the field of two elements.

    Args:
        fields: the terms of every field.
        variables: their number.

    Returns:
        A bit mask per variable: which of the generating flips move it.
    """
    equations: set[int] = set()
    for terms in fields:
        masks = [_mask(term) for term in terms]
        equations.update(m ^ masks[0] for m in masks[1:])
    return flips_of(equations, variables)


def flips_of(equations: Iterable[int], variables: int, unknowns: int | None = None) -> list[int]:
    """All sign flips that solve linear equations over the field of two elements.

    Args:
        equations: bit masks of unknowns that must add up to 0.
        variables: number of variables, which are the first unknowns.
        unknowns: number of unknowns, if there are more.

    Returns:
        A bit mask per variable: which of the generating flips move it.
    """
    rows: dict[int, int] = {}  # by highest bit, in echelon form
    for mask in equations:
        _insert(rows, mask)
    moved: dict[int, int] = {}  # a basis of what the flips do to the variables
    for v in range(unknowns or variables):
        if v not in rows:
            flip = 1 << v
            for top in sorted(rows):  # lower bits are settled first
                if (rows[top] & flip).bit_count() % 2:
                    flip |= 1 << top
            _insert(moved, flip & ((1 << variables) - 1))
    return [sum(1 << g for g, flip in enumerate(moved.values()) if flip >> v & 1) for v in range(variables)]


def _insert(rows: dict[int, int], mask: int) -> None:
    """Adds a row to an echelon form, by its highest bit."""
    while mask and (top := mask.bit_length() - 1) in rows:
        mask ^= rows[top]
    if mask:
        rows[mask.bit_length() - 1] = mask


def weights_of(fields: Iterable[Sequence[Term]], variables: int) -> list[tuple[int, ...]]:
    """Integer weights, a basis over Q, for which every field is homogeneous: `<w, a> - w_i` is equal for its terms."""
    system: Equations[int] = Equations()
    for v in range(variables):
        system.declare(v)
    seen: set[tuple[tuple[int, int], ...]] = set()
    for terms in fields:
        first = _shift(terms[0]) if terms else {}
        for term in terms[1:]:
            row = _shift(term)
            for v, a in first.items():
                row[v] = row.get(v, 0) - a
            key = tuple(sorted((v, a) for v, a in row.items() if a))
            if key and key not in seen:
                seen.add(key)
                system.require(dict(key))
    found = []
    for vector in system.nullspace():
        scale = lcm(*(a.denominator for a in vector.values()))
        whole = {v: int(a * scale) for v, a in vector.items()}
        common = gcd(*whole.values())
        found.append(tuple(whole.get(v, 0) // common for v in range(variables)))
    return found


def _mask(term: Term) -> int:
    mask = 1 << term[0]
    for v in term[1]:
        mask ^= 1 << v
    return mask


def _shift(term: Term) -> dict[int, int]:
    row = {term[0]: -1}
    for v in term[1]:
        row[v] = row.get(v, 0) + 1
    return row
