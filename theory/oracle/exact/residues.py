"""Arithmetic and linear algebra modulo a prime of 31 bits, on int64 arrays of residues.

A product of two residues fits into 62 bits.  Matrices are multiplied as floats of 16 bits, so that BLAS does the work
and nothing is rounded: products of halves have at most 32 bits, and float64 adds 2^21 of them exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import flint
import numpy as np

PRIMES = (2147483647, 2147483629, 2147483587, 2147483579, 2147483563, 2147483549)
LONGEST = 1 << 20  # terms of one inner product that float64 adds without rounding


def matmul(a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
    """`a @ b` modulo p; shapes `(..., n, k)` and `(..., k, m)` with broadcasting, `k` at most `LONGEST`."""
    if a.shape[-1] == 1:
        return a * b % p
    high_a, low_a = (a >> 16).astype(np.float64), (a & 0xFFFF).astype(np.float64)
    high_b, low_b = (b >> 16).astype(np.float64), (b & 0xFFFF).astype(np.float64)
    high = (high_a @ high_b).astype(np.int64) % p
    middle = (high_a @ low_b + low_a @ high_b).astype(np.int64) % p
    low = (low_a @ low_b).astype(np.int64)
    return ((high * ((1 << 32) % p) + middle * (1 << 16)) % p + low) % p


def residues(values: np.ndarray, p: int) -> np.ndarray:
    """Floats as residues: every float is a fraction over a power of two, and that fraction is taken exactly."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    whole = np.ldexp(mantissa, 53).astype(np.int64) % p
    powers = np.array([pow(2, int(e) - 53, p) for e in np.ravel(exponent)], dtype=np.int64).reshape(exponent.shape)
    return whole * powers % p


def drawn(seed: int | str, label: str, shape: Sequence[int], bound: int) -> np.ndarray:
    """Numbers in `range(bound)` that depend on the seed and the label only, on every machine (SHAKE-256)."""
    n = int(np.prod(shape, dtype=np.int64))
    stream = hashlib.shake_256(f"{seed}/{label}".encode()).digest(8 * n)
    return (np.frombuffer(stream, dtype="<u8") % np.uint64(bound)).astype(np.int64).reshape(tuple(shape))


def matrix(rows: np.ndarray, p: int) -> flint.nmod_mat:
    """An array of residues as a matrix of FLINT."""
    return flint.nmod_mat(rows.shape[0], rows.shape[1], rows.ravel().tolist(), p)


def pivots(rows: np.ndarray, p: int) -> list[int]:
    """Columns of the pivots of the reduced echelon form; their number is the rank."""
    if not rows.size:
        return []
    reduced, rank = matrix(rows, p).rref()
    found, column = [], 0
    for i in range(rank):  # a staircase: each pivot stands further to the right than the one above
        while not int(reduced[i, column]):
            column += 1
        found.append(column)
    return found


def minor(rows: np.ndarray, p: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a largest minor that is not zero; the first rows that will do."""
    if not rows.size:
        return [], []
    chosen = pivots(np.ascontiguousarray(rows.T), p)
    return chosen, pivots(rows[chosen], p)


def determinant(square: np.ndarray, p: int) -> int:
    """The determinant of a square array of residues."""
    return int(matrix(square, p).det()) if square.size else 1
