"""Numbers of 120 digits that carry a bound of their own error (balls of FLINT), in numpy arrays.

A float is the number that it is, with one exception: a constant that stands in a program was rounded when it was
written.  `constant` gives back the number that was meant where that can be told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from flint import arb, ctx, fmpq

DIGITS = 120
BITS = 400
LARGEST = 1000  # denominators of the fractions, and of the squares, that a constant may have been
ULPS = 4e-16  # a constant may be the product of two rounded ones
SHORT = 8  # significant decimal digits that somebody may have typed: one float in a billion has so few


@contextmanager
def digits() -> Iterator[None]:
    """Inside, everything is computed in `DIGITS` digits."""
    with ctx.workprec(BITS):
        yield


def entries(values: np.ndarray | torch.Tensor) -> np.ndarray:
    """Numbers as they are."""
    array = values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    flat = np.empty(array.size, dtype=object)
    flat[:] = [arb(x) for x in array.ravel().tolist()]
    return flat.reshape(array.shape)


def constants(values: torch.Tensor) -> tuple[np.ndarray, bool]:
    """The numbers that constants were before they were rounded, and whether all could be told."""
    found = [constant(float(x)) for x in values.reshape(-1).tolist()]
    flat = np.empty(len(found), dtype=object)
    flat[:] = [x for x, _ in found]
    return flat.reshape(tuple(values.shape)), all(told for _, told in found)


def constant(value: float) -> tuple[arb, bool]:
    """The number that a constant was before it was rounded, and whether it could be told.

    It is a short decimal (0.044715), a fraction (1/3), or the root of one, also over or times the root of pi (the
    constants of GELU).  Whatever else it is, it stays the float that it is.
    """
    if not math.isfinite(value):
        return arb(value), True
    found = _meant(value)
    if found is None:
        return arb(value), False
    number, root, power = found  # kept without a precision
    out = arb(fmpq(number.numerator, number.denominator))
    out = out.sqrt() if root else out
    return (out * arb.pi().sqrt() ** power if power else out) * (-1 if value < 0 else 1), True


@lru_cache(maxsize=1 << 14)
def _meant(value: float) -> tuple[Fraction, bool, int] | None:
    """The size of a constant as a fraction, whether its root is meant, and a power of the root of pi."""
    size = abs(value)
    if len(repr(size).split("e")[0].replace(".", "").strip("0")) <= SHORT:
        return Fraction(repr(size)), False, 0
    if (2.0**24 * math.frexp(size)[0]).is_integer():  # few binary digits
        return Fraction(size), False, 0
    for power in (0, 1, -1):
        scaled = size / math.pi ** (power / 2)
        for root in (False, True):
            near = Fraction(scaled * scaled if root else scaled).limit_denominator(LARGEST)
            close = math.sqrt(near) if root else float(near)
            if near and abs(close - scaled) <= ULPS * scaled:
                return near, root, power
    return None


def one(value: arb) -> np.ndarray:
    """An array of no axes."""
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def middles(values: np.ndarray) -> np.ndarray:
    """Nearest floats."""
    return np.array([float(x.mid()) for x in values.ravel()], dtype=np.float64).reshape(values.shape)


def finite(values: np.ndarray) -> bool:
    """Whether all entries are numbers."""
    return all(x.is_finite() for x in values.ravel())
