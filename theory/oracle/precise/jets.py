"""Values with their derivatives along infinitesimals, in arrays of balls.

A jet is a polynomial in infinitesimals that square to zero, as in `oracle.exact.jets`: a dict from the set of
infinitesimals (a bit mask) to the array that stands in front of their product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from flint import arb, arb_series

from .numbers import one

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
Series = Callable[[arb_series], arb_series]


class UnknownError(ValueError):
    """Something cannot be evaluated in high precision."""


class Work:
    """How many products of entries were computed."""

    def __init__(self) -> None:
        self.done = 0


class Jet:
    """An array with derivatives.

    Args:
        parts: arrays of one shape by infinitesimals; that of none (0) is the value.
        work: counts products.
    """

    __slots__ = ("parts", "work")

    def __init__(self, parts: dict[int, np.ndarray], work: Work) -> None:
        # numpy gives the entry of an array without axes, not the array
        self.parts = {m: a if isinstance(a, np.ndarray) else one(a) for m, a in parts.items()}
        self.work = work

    @property
    def value(self) -> np.ndarray:
        """The array without derivatives."""
        return self.parts[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return next(iter(self.parts.values())).shape

    def linear(self, move: Callable[[np.ndarray], np.ndarray]) -> Jet:
        """A linear map of fixed coefficients."""
        return Jet({m: move(a) for m, a in self.parts.items()}, self.work)

    def plus(self, other: Jet) -> Jet:
        """The sum, with broadcasting."""
        shape = np.broadcast_shapes(self.shape, other.shape)
        a, b = self.parts, other.parts
        self.work.done += int(np.prod(shape)) * len(a.keys() & b.keys())
        alone = {m: np.broadcast_to((a if m in a else b)[m], shape) for m in a.keys() ^ b.keys()}
        return Jet({m: a[m] + b[m] for m in a.keys() & b.keys()} | alone, self.work)

    def scaled(self, factor: arb) -> Jet:
        """A multiple."""
        self.work.done += self.value.size * len(self.parts)
        return self.linear(lambda a: a * factor)

    def product(self, other: Jet, times: Product) -> Jet:
        """A product, or anything else that is linear in both."""
        out: dict[int, np.ndarray] = {}
        for m, x in self.parts.items():
            for n, y in other.parts.items():
                if not m & n:  # an infinitesimal squares to zero
                    term = times(x, y)
                    self.work.done += term.size * (x.shape[-1] if times is np.matmul else 1)
                    out[m | n] = out[m | n] + term if m | n in out else term
        return Jet(out, self.work)

    def times(self, other: Jet) -> Jet:
        """The product entry by entry, with broadcasting."""
        return self.product(other, np.multiply)

    def map(self, series: Series) -> Jet:
        """A smooth function of every entry, by the first terms of its Taylor series."""
        order = reduce(or_, self.parts).bit_count() + 1  # as many terms as infinitesimals can meet
        flat = self.value.ravel()
        self.work.done += 8 * order * len(flat)
        terms = np.empty((order, len(flat)), dtype=object)
        zero = arb(0)
        for i, x in enumerate(flat):
            try:
                found = list(series(arb_series([x, 1], order)).coeffs())
            except (ValueError, ZeroDivisionError) as error:
                raise UnknownError("a value that is no number") from error
            for j in range(order):
                terms[j, i] = found[j] if j < len(found) else zero
        rows = [terms[j].reshape(self.shape) for j in range(order)]
        out = Jet({0: rows[0]}, self.work)
        step = Jet({m: a for m, a in self.parts.items() if m}, self.work)
        power = step
        for row in rows[1:]:
            out = out.plus(power.product(Jet({0: row}, self.work), np.multiply)) if power.parts else out
            power = power.times(step)
        return out


def joined(jets: Sequence[Jet]) -> Jet:
    """The entries of several jets one after the other, in one axis."""
    masks = sorted({m for jet in jets for m in jet.parts})
    zeros = [np.full(j.value.size, arb(0), dtype=object) for j in jets]
    return Jet(
        {
            m: np.concatenate([j.parts[m].ravel() if m in j.parts else z for j, z in zip(jets, zeros, strict=True)])
            for m in masks
        },
        jets[0].work,
    )


def compared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Signs of `a - b`: 1, 0 or -1.

    Two entries that were computed in the same way are equal; two that are closer than their error are in doubt.

    Raises:
        UnknownError: when in doubt.
    """
    return np.frompyfunc(_sign, 2, 1)(a, b).astype(np.int64)


def _sign(a: Any, b: Any) -> int:
    if a > b:
        return 1
    if a < b:
        return -1
    if a == b or (a.mid() == b.mid() and a.rad() == b.rad()):
        return 0
    raise UnknownError("two numbers that are compared agree in all digits")
