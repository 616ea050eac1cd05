"""Confirmation of candidate laws with fresh primes, points and fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .family import DRAWN_BITS, ExactFields, MissesSome, draw
from .laws import Polynomial
from .monomials import as_rows, slopes

PRIMES = 2
POINTS = 8  # per prime


def confirm(
    family: ExactFields, laws: Sequence[Polynomial], primes: Iterator[int], rng: np.random.Generator
) -> tuple[list[bool], tuple[int, ...]]:
    """Checks `<grad P, X> = 0` at random points, for random fields, modulo random primes.

    A true law always passes.  A false one is a polynomial `<grad P, X>` that is not zero, and passes with probability
    at most `error_bound` (if some coefficient of it is not divisible by the primes).

    Args:
        family: the vector fields.
        laws: polynomials with integer coefficients.
        primes: where to take primes from that no law was found with.
        rng: where to take points and fields from.

    Returns:
        Whether each law passed, and the primes.
    """
    passed = np.ones(len(laws), dtype=bool)
    used = tuple(next(primes) for _ in range(PRIMES))
    lengths = np.array([len(law) for law in laws])
    filled = np.flatnonzero(lengths)
    starts = (np.cumsum(lengths) - lengths)[filled]
    monomials = list(dict.fromkeys(m for law in laws for m in law))
    rows, number = as_rows(monomials, len(family.variables)), {m: i for i, m in enumerate(monomials)}
    place = np.array([number[m] for law in laws for m in law], dtype=np.int64)
    for p in used if filled.size else ():
        theta, field = draw(family, POINTS, p, rng)
        coefficients = np.array([c % p for law in laws for c in law.values()], dtype=np.int64)
        terms = slopes(theta, field, rows, p)[:, place] * coefficients % p
        passed[filled] &= ~(np.add.reduceat(terms, starts, axis=1) % p).any(axis=0)
    return passed.tolist(), used


def error_bound(family: ExactFields, degree: int) -> float:
    """The probability that one false law passes: `(deg <grad P, X> / 2^30) ^ checks` (Schwartz 1980, Zippel 1979).

    To each check what the family says that a random field may miss is added (`ProgramFields.missed`).
    """
    missed = family.missed if isinstance(family, MissesSome) else 0.0
    return float(missed + (family.field_degree + degree - 1) / (1 << DRAWN_BITS)) ** (PRIMES * POINTS)
