"""Monomials as rows of variable numbers, and how fast they change along a field, modulo a prime.

A monomial of degree at most `k` is a row of `k` numbers in ascending order, filled up with the number `D` of a variable
that is always 1.  So all degrees share one array, and one rule evaluates them.
"""

from __future__ import annotations

from math import comb

import numpy as np

Monomial = tuple[int, ...]


def number_of_monomials(variables: int, degree: int) -> int:
    """How many monomials of degree 1 to `degree` there are."""
    return comb(variables + degree, degree) - 1


def all_monomials(variables: int, degree: int) -> np.ndarray:
    """All monomials of degree 1 to `degree`, lowest degree first, then in lexicographic order.

    Returns:
        An int64 array of shape `(number_of_monomials, degree)`.
    """
    blocks = []
    rows = np.arange(variables, dtype=np.int64)[:, None]
    for d in range(1, degree + 1):
        blocks.append(np.pad(rows, ((0, 0), (0, degree - d)), constant_values=variables))
        repeats = variables - rows[:, -1]  # the next variable is no earlier than the last one
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        following = np.repeat(rows[:, -1], repeats) + np.arange(repeats.sum()) - starts
        rows = np.column_stack([np.repeat(rows, repeats, axis=0), following]) if d < degree else rows
    return np.concatenate(blocks)


def products(theta: np.ndarray, monomials: np.ndarray, p: int) -> np.ndarray:
    """The monomials at some points: `theta` has shape `(S, D)`, the result `(S, N)`."""
    padded = _padded(theta, 1)
    value = padded[:, monomials[:, 0]]
    for column in monomials.T[1:]:
        value = value * padded[:, column] % p
    return value


def slopes(theta: np.ndarray, field: np.ndarray, monomials: np.ndarray, p: int) -> np.ndarray:
    """The derivative of every monomial along a field, `<grad m(theta), X>`.

    Args:
        theta: residues, shape `(S, D)`.
        field: the value of one field at each of these points, shape `(S, D)`.
        monomials: shape `(N, k)`.
        p: a prime of at most 31 bits.

    Returns:
        Residues of shape `(S, N)`.
    """
    points, moves = _padded(theta, 1), _padded(field, 0)
    value, slope = points[:, monomials[:, 0]], moves[:, monomials[:, 0]]
    for k, column in enumerate(monomials.T[1:], 2):
        t = points[:, column]
        slope = (slope * t + value * moves[:, column]) % p  # two products of 31-bit residues still fit
        if k < monomials.shape[1]:
            value = value * t % p
    return slope


def gradients(theta: np.ndarray, laws: list[dict[Monomial, int]], p: int) -> np.ndarray:
    """The gradients of polynomials at one point, modulo p.

    Args:
        theta: residues, shape `(D,)`.
        laws: polynomials as integer coefficients of monomials (rows without filling).
        p: a prime of at most 31 bits.

    Returns:
        Residues of shape `(len(laws), D)`.
    """
    number = np.array([i for i, law in enumerate(laws) for _ in law], dtype=np.int64)
    factors = np.array([c % p for law in laws for c in law.values()], dtype=np.int64)
    rows = as_rows([m for law in laws for m in law], theta.size)
    found = np.zeros((len(laws), theta.size + 1), dtype=np.int64)
    padded = _padded(theta[None], 1)[0]
    for t in range(rows.shape[1]):
        value = factors
        for u in range(rows.shape[1]):
            value = value * padded[rows[:, u]] % p if u != t else value
        np.add.at(found, (number, rows[:, t]), value)
    return found[:, :-1] % p


def as_rows(monomials: list[Monomial], variables: int) -> np.ndarray:
    """Monomials of different degrees as rows of one length."""
    degree = max(1, *map(len, monomials)) if monomials else 1
    rows = [[*m, *[variables] * (degree - len(m))] for m in monomials]
    return np.array(rows, dtype=np.int64).reshape(len(rows), degree)


def _padded(values: np.ndarray, filling: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, 1)), constant_values=filling)
