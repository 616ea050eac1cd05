"""The same space of polynomials by a basis with fewer terms.

The reduced echelon form of the laws of a chain of layers writes the law of one neuron of a layer as that law plus all
laws of the layers before it.  Taking this apart makes what is printed what the papers print.
"""

from __future__ import annotations

import flint
import numpy as np

from ..oracle.exact.residues import PRIMES, pivots
from .kernel import primitive

GREATEST = 1 << 40  # coefficients beyond are left as they are: int64 must hold the differences
LARGEST = 500_000  # entries


def sparsified(rows: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """A basis with fewer terms of the space that some rows span.

    Args:
        rows: a basis in reduced echelon form from the right: each row 1 (up to scale) in a last column of its own.
        degrees: the degree of each column, ascending; for every degree the result has as many rows of it as before.

    Returns:
        Rows in lowest terms.
    """
    if len(rows) < 2 or rows.size > LARGEST or abs(rows).max() > GREATEST:
        return rows
    rows = _lightest(np.concatenate([rows, _from_the_left(rows)]), len(rows), degrees)
    if abs(rows).max() > GREATEST:
        return rows
    a = rows.astype(np.int64)
    degree = _degrees(a, degrees)
    changed = True
    while changed:
        changed = False
        for i in range(len(a)):
            while (step := _best(a, degree, i)) is not None:
                a[i] = step
                changed = True
    return np.array([primitive(row) for row in a.astype(object)], dtype=object)


def _from_the_left(rows: np.ndarray) -> np.ndarray:
    """The reduced echelon form of the same space with a first column of its own for each row."""
    reduced = flint.fmpz_mat(rows.shape[0], rows.shape[1], rows.ravel().tolist()).rref()[0]
    entries = np.array([int(a) for a in reduced.entries()], dtype=object).reshape(rows.shape)
    return np.array([primitive(row) for row in entries], dtype=object)


def _lightest(rows: np.ndarray, rank: int, degrees: np.ndarray) -> np.ndarray:
    """A basis of few terms among some rows; the first `rank` of them are a basis too."""
    order = np.lexsort((np.count_nonzero(rows, axis=1), _degrees(rows, degrees)))
    p = PRIMES[0]
    chosen = pivots(np.ascontiguousarray((rows[order] % p).astype(np.int64).T), p)  # first come, first kept
    return rows[order[chosen]] if len(chosen) == rank else rows[:rank]


def _degrees(rows: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    return np.where(rows != 0, degrees, 0).max(axis=1)


def _best(a: np.ndarray, degree: np.ndarray, i: int) -> np.ndarray | None:
    """Row `i` plus or minus another one, if that has fewer terms."""
    row = a[i]
    others = np.flatnonzero((degree <= degree[i]) & (np.arange(len(a)) != i) & (a[:, row != 0] != 0).any(axis=1))
    if not others.size:
        return None
    candidates = np.concatenate([row - a[others], row + a[others]])
    terms = np.count_nonzero(candidates, axis=1)
    best = int(terms.argmin())
    if terms[best] >= np.count_nonzero(row) or abs(candidates[best]).max() > GREATEST:
        return None
    return candidates[best]
