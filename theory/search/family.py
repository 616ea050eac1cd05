"""What the search needs to know of a family of vector fields, and how it draws from one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import flint
import numpy as np

from ..oracle.exact.residues import pivots

DRAWN_BITS = 30  # primes are drawn between 2^30 and 2^31


@runtime_checkable
class MissesSome(Protocol):
    """A family whose random field may miss something, with that probability."""

    @property
    def missed(self) -> float:
        """The probability for one field."""


@runtime_checkable
class ExactFields(Protocol):
    """A family of polynomial vector fields that can be evaluated modulo any prime.

    The family of a network is its loss gradients for all data.  A 0/1 gate of a ReLU may be drawn as any residue: the
    fields are affine in every single gate, so that both sets of gates span the same space.
    """

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the `D` variables."""

    @property
    def field_degree(self) -> int:
        """A bound on the total degree of the fields in the variables and in everything that is drawn."""

    def values(self, theta: np.ndarray, prime: int, rng: np.random.Generator) -> np.ndarray:
        """One freshly drawn field of the family at each point.

        Args:
            theta: residues modulo the prime, int64 of shape `(S, D)`.
            prime: a prime of 31 bits.
            rng: what to draw the fields from.

        Returns:
            Residues, int64 of shape `(S, D)`.
        """

    def parities(self) -> list[int]:
        """For every variable the sign flips that move it, one bit each; all 0 if no symmetry is known.

        A flip (of variables and data together) must map the family to itself up to sign, see `parities_hold`.
        """


def draw(family: ExactFields, samples: int, p: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random points, and a random field of the family at each; both have shape `(samples, D)`.

    Raises:
        ValueError: if the family answers with anything but residues of that shape.
    """
    theta = rng.integers(0, p, (samples, len(family.variables)))
    return theta, checked_values(family, theta, p, rng)


def checked_values(family: ExactFields, theta: np.ndarray, p: int, rng: np.random.Generator) -> np.ndarray:
    """The family's values at some points.

    Raises:
        ValueError: if they are anything but residues of the shape of the points.
    """
    values = family.values(theta, p, rng)
    name = type(family).__name__
    if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.shape != theta.shape:
        got = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{name}.values must give an int64 array of shape {theta.shape}, but gave {got}")
    if values.size and not (values.min() >= 0 and values.max() < p):
        raise ValueError(f"{name}.values must give residues in 0..{p - 1}, but gave {values.min()}..{values.max()}")
    return values


def primes(rng: np.random.Generator) -> Iterator[int]:
    """Distinct random primes of 31 bits."""
    seen: set[int] = set()
    while True:
        p = int(rng.integers(1 << DRAWN_BITS, 1 << (DRAWN_BITS + 1))) | 1
        if p not in seen and flint.fmpz(p).is_prime():
            seen.add(p)
            yield p


def parities_hold(family: ExactFields, *, seed: int = 0) -> bool:
    """Tests what a family declares as its sign flips, at one random point modulo a random prime.

    For a random one of the flips, the fields at a point and the fields at the flipped point, flipped back, must span
    the same space.  A group of flips that is not a symmetry passes with probability 1/2, so test with several seeds.

    Args:
        family: the vector fields.
        seed: of the flip, the point and the fields.

    Returns:
        Whether the two spaces agree.
    """
    rng = np.random.default_rng(seed)
    p = next(primes(rng))
    masks = family.parities()
    bits = max((m.bit_length() for m in masks), default=0)
    chosen = sum(1 << b for b in range(bits) if rng.integers(2))
    signs = np.array([-1 if (m & chosen).bit_count() % 2 else 1 for m in masks], dtype=np.int64)
    theta = rng.integers(0, p, len(masks))
    samples = np.tile(theta, (len(masks) + 4, 1))
    there = checked_values(family, samples, p, rng)
    flipped = checked_values(family, samples * signs % p, p, rng) * signs % p
    both = len(pivots(np.concatenate([there, flipped]), p))
    return len(pivots(there, p)) == both == len(pivots(flipped, p))
