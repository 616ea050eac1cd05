"""Ranks of matrices of balls, by elimination that carries its own error.

What is kept is proved: a pivot is a number other than zero whatever the errors are.  What is dropped is as small as the
errors are, and far smaller than what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .numbers import middles

CLEAR = 1e10
# The constants of a program are floats.  Where one was rounded and cannot be told, a law of the network that was meant
# is broken by about 1e-16, and a pivot of that size says nothing.
ROUNDED = 1e-15


@dataclass(frozen=True)
class Elimination:
    """What elimination found.

    Attributes:
        rank: how many pivots are kept.
        gap: the last pivot that is kept over the largest entry that is dropped.
        clear: whether the gap is wide.
        pivots: sizes, in the order in which they were found.
        rows: of the pivots that are kept.
    """

    rank: int
    gap: float
    clear: bool
    pivots: tuple[float, ...]
    rows: tuple[int, ...]


def eliminate(matrix: np.ndarray, rounded: bool = False) -> Elimination:
    """The rank of a matrix.

    Args:
        matrix: balls, shape `(n, D)`.
        rounded: whether constants stand behind it that were rounded (see `ROUNDED`).
    """
    left = matrix.copy()
    n, width = left.shape
    order = np.arange(n)
    pivots: list[float] = []
    rest = 0.0
    for step in range(min(n, width)):
        block = np.abs(middles(left[step:, step:]))
        i, j = divmod(int(block.argmax()), block.shape[1])
        if left[step + i, step + j].contains(0):
            break
        left[[step, step + i]] = left[[step + i, step]]
        left[:, [step, step + j]] = left[:, [step + j, step]]
        order[[step, step + i]] = order[[step + i, step]]
        pivots.append(float(block[i, j]))
        factors = left[step + 1 :, step] / left[step, step]
        left[step + 1 :, step + 1 :] -= factors[:, None] * left[step, step + 1 :]
    rank = len(pivots)
    if rank < width:
        rest = max((float(x.abs_upper()) for x in left[rank:, rank:].ravel()), default=0.0)
    sizes = (*pivots, rest)
    if rounded and any(rest < p <= ROUNDED * pivots[0] for p in pivots):
        rank = sum(p > ROUNDED * pivots[0] for p in pivots)
    gap = pivots[rank - 1] / sizes[rank] if rank and rank < width and sizes[rank] > 0 else float("inf")
    return Elimination(rank, gap, gap >= CLEAR, tuple(pivots), tuple(int(k) for k in order[:rank]))
