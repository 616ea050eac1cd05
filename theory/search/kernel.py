"""Kernels of many matrices modulo a prime, and how they become kernels over the rational numbers.

A kernel is given by its reduced basis: every vector is 1 in a free column of its own, 0 in the other free columns, and
else lives in earlier columns.  Over Q this basis is unique, so it can be put together from its residues modulo several
primes by the Chinese remainder theorem and rational reconstruction (Wang 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt, lcm

import numpy as np

from ..oracle.exact.residues import matrix

LARGE = 24  # from this many columns on, FLINT is faster than one elimination of many matrices side by side
SPARE_BITS = 8  # a random residue passes for a small fraction with probability 2^(-2 * SPARE_BITS) only


@dataclass(frozen=True)
class Kernel:
    """The reduced basis of a kernel modulo some number.

    Attributes:
        modulus: a product of primes.
        free: the free columns, ascending.
        basis: residues, one row per free column; int64, or Python integers if the modulus is no prime.
    """

    modulus: int
    free: tuple[int, ...]
    basis: np.ndarray

    def merged(self, other: Kernel) -> Kernel:
        """This kernel with what another prime says.

        An unlucky prime or point can only make the kernel larger or its free columns come earlier (the rank of the
        first columns is too low), so that of two different shapes the better one is kept.
        """
        if self.free != other.free:
            return min(self, other, key=lambda k: (len(k.free), [-column for column in k.free]))
        inverse = pow(self.modulus, -1, other.modulus)
        steps = (other.basis - self.basis.astype(object)) * inverse % other.modulus
        return Kernel(self.modulus * other.modulus, self.free, self.basis + self.modulus * steps)

    def over_q(self) -> np.ndarray | None:
        """The basis over Q, each row in lowest terms (coprime integers); None if the modulus is still too small."""
        values, place = np.unique(self.basis, return_inverse=True)  # most residues are 0, 1 and -1
        fractions = [rational(int(v), self.modulus) for v in values]
        if None in fractions:
            return None
        above = np.array([q.numerator for q in fractions if q is not None], dtype=object)
        below = np.array([q.denominator for q in fractions if q is not None], dtype=object)
        rows = []
        for row in place.reshape(self.basis.shape):
            scale = lcm(*below[row])
            rows.append(primitive(above[row] * scale // below[row]))
        return np.array(rows, dtype=object)


def rational(residue: int, modulus: int) -> Fraction | None:
    """The small fraction `n / d` with `n = d * residue` modulo `modulus`; None if there is none.

    Both `n` and `d` are at most the square root of the modulus less `SPARE_BITS` bits, so that what comes by chance is
    rarely taken for an answer.
    """
    bound = isqrt(modulus) >> SPARE_BITS
    r0, r1, t0, t1 = modulus, residue % modulus, 0, 1
    while r1 > bound:
        q = r0 // r1
        r0, r1, t0, t1 = r1, r0 - q * r1, t1, t0 - q * t1
    if not 0 < abs(t1) <= bound or gcd(r1, t1) != 1:
        return None
    return Fraction(r1, t1)


def primitive(row: np.ndarray) -> np.ndarray:
    """An integer vector divided by its common factor, the first entry that is not zero made positive."""
    filled = row[row != 0]
    if not filled.size:
        return row
    common = gcd(*filled.tolist())
    return row // (common if filled[0] > 0 else -common)


def kernels(rows: np.ndarray, p: int) -> list[tuple[int, Kernel]]:
    """The kernels of many matrices of one shape.

    Args:
        rows: residues, shape `(M, R, n)`.
        p: a prime of at most 31 bits.

    Returns:
        Position and kernel of every matrix that has one.
    """
    if rows.shape[2] >= LARGE:
        reduced = [(i, *_reduced(a, p)) for i, a in enumerate(rows)]
    else:
        stack, pivot = _eliminated(rows, p)
        singular = np.flatnonzero(~pivot.all(axis=1))
        reduced = [(int(i), stack[i, : pivot[i].sum(), ~pivot[i]].T, pivot[i]) for i in singular]
    return [(i, _kernel(a, pivot, p)) for i, a, pivot in reduced if not pivot.all()]


def _kernel(echelon: np.ndarray, pivot: np.ndarray, p: int) -> Kernel:
    """The kernel of a reduced echelon form: its free columns (all that is given), negated, in the pivots' places."""
    free = np.flatnonzero(~pivot)
    basis = np.zeros((len(free), len(pivot)), dtype=np.int64)
    basis[np.arange(len(free)), free] = 1
    basis[:, pivot] = -echelon.T % p
    return Kernel(p, tuple(free.tolist()), basis)


def _reduced(rows: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """The free columns of the reduced echelon form of one matrix, and which columns hold a pivot."""
    reduced, rank = matrix(rows, p).rref()
    pivot = np.zeros(rows.shape[1], dtype=bool)
    if rank == pivot.size:
        return np.zeros((rank, 0), dtype=np.int64), ~pivot
    column = 0
    for i in range(rank):  # a staircase: each pivot stands further to the right than the one above
        while not int(reduced[i, column]):
            column += 1
        pivot[column] = True
    free = np.flatnonzero(~pivot).tolist()
    entries = [int(reduced[i, j]) for i in range(rank) for j in free]
    return np.array(entries, dtype=np.int64).reshape(rank, len(free)), pivot


def _eliminated(rows: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Reduced echelon forms of a stack of small matrices, and which columns hold pivots."""
    a = rows.copy()
    count, height, n = a.shape
    rank = np.zeros(count, dtype=np.int64)
    pivot = np.zeros((count, n), dtype=bool)
    below = np.arange(height)
    for j in range(n):
        usable = (a[:, :, j] != 0) & (below >= rank[:, None])
        chosen = np.flatnonzero(usable.any(axis=1))
        source, target = usable[chosen].argmax(axis=1), rank[chosen]
        row = a[chosen, source]
        a[chosen, source] = a[chosen, target]
        row = row * inverses(row[:, j], p)[:, None] % p
        a[chosen, target] = 0  # so that the row is not taken from itself
        block = a[chosen]
        a[chosen] = (block - block[:, :, j, None] * row[:, None]) % p
        a[chosen, target] = row
        rank[chosen] += 1
        pivot[chosen, j] = True
    return a, pivot


def inverses(values: np.ndarray, p: int) -> np.ndarray:
    """Inverses modulo p of residues that are not zero (Fermat)."""
    found, power, exponent = np.ones_like(values), values, p - 2
    while exponent:
        found = found * power % p if exponent & 1 else found
        power = power * power % p
        exponent >>= 1
    return found
