"""How an operation that no table names answers when tensors are scaled as a whole: measured at random points.

Where its tensors move as `c_i x_i` its outputs have to move as `c_j y_j`.  That is linear in the factors, one equation
for every random product with an output (Euler's theorem); small whole numbers solve it, or nothing is said.  Sizes from
tiny to huge are tried, and finite factors too, so that what is homogeneous between fixed bounds alone is not taken for
more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch

from .degrees import Equation

SCALES = (1.0, 1e-3, 1.0, 1e3, 1.0, 1e6, 1e-6, 10.0)  # of the numbers of a point
TRIED = 4  # points at which finite factors are tried
MOST = 250_000  # entries that are read and given at most
KNOWN = 8  # tensors at most
DENOMINATOR = 12  # of a degree
CLOSE = 1e-7
GAP = 1e-4  # singular values between the two decide nothing

Call = Callable[[Sequence[torch.Tensor], Mapping[str, torch.Tensor]], Any]


def measured(
    call: Call, reads: Sequence[tuple[int, ...]], names: Mapping[str, tuple[int, ...]], outputs: int
) -> tuple[tuple[Equation, ...], bool] | None:
    """What the factors of a call obey, and that more may pass; None where no tensor can be scaled, or it is not seen.

    Args:
        call: gives the outputs from the tensors of its ports and of its parameters.
        reads: the shapes of the ports.
        names: the shapes of the parameters.
        outputs: the number of its outputs.
    """
    shapes = [*reads, *names.values()]
    letters = [f"x{i}" for i in range(len(reads))] + [f"p{i}" for i in range(len(names))]
    letters += [f"y{i}" for i in range(outputs)]
    if not shapes or len(letters) > KNOWN or sum(map(math.prod, shapes)) > MOST:
        return None

    def run(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        own = dict(zip(names, tensors[len(reads) :], strict=True))
        found = call(tensors[: len(reads)], own)
        return list(found) if isinstance(found, (list, tuple)) else [found]

    with torch.random.fork_rng(devices=[]):  # calls that draw leave no trace
        try:
            points, rows = _points(run, shapes, outputs)
        except Exception:  # numbers of another kind are asked for: indices, masks, matrices of some kind
            return None
        basis = _factors(np.array(rows)) if rows else None
        if basis is None or not all(_scales(run, x, c) for x, c in product(points[-TRIED:], basis[1])):
            return None
    equations = tuple(tuple((n, a) for n, a in zip(letters, row, strict=True) if a) for row in basis[0])
    return equations, True


def _points(
    run: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]], shapes: Sequence[tuple[int, ...]], outputs: int
) -> tuple[list[list[torch.Tensor]], list[list[float]]]:
    """Random points where all is finite, and the equations that the factors obey there."""
    generator = torch.Generator().manual_seed(0)
    points: list[list[torch.Tensor]] = []
    rows: list[list[float]] = []
    for scale in SCALES:
        x = [scale * torch.randn(s, generator=generator, dtype=torch.float64, device="cpu") for s in shapes]
        with torch.enable_grad():
            t = torch.ones(len(x), dtype=torch.float64, requires_grad=True, device="cpu")
            found = run([t[i] * v for i, v in enumerate(x)])
            if len(found) != outputs or sum(y.numel() for y in found) > MOST:
                raise ValueError
            for j, y in enumerate(found):
                u = torch.randn(y.shape, generator=generator, dtype=torch.float64, device="cpu")
                value = (u * y).sum()
                (slope,) = torch.autograd.grad(value, t, retain_graph=True) if value.requires_grad else (0 * t,)
                size = float(value.detach())
                given = [-size if i == j else 0.0 for i in range(outputs)]
                row = [*slope.tolist(), *given]
                length = math.hypot(*row)
                if not math.isfinite(length):
                    raise ValueError
                rows += [[a / length for a in row]] if length else []
        points.append(x)
    return points, rows


def _factors(rows: np.ndarray) -> tuple[list[list[int]], list[list[float]]] | None:
    """Whole equations that say what some rows say, and a basis of what solves them; None if only zeros do."""
    _, values, directions = np.linalg.svd(rows)
    values = np.concatenate([values, np.zeros(rows.shape[1] - len(values))])[: rows.shape[1]]
    if any(CLOSE < v < GAP for v in values) or (rank := int((values >= GAP).sum())) in (0, rows.shape[1]):
        return None
    m = directions[:rank].copy()
    pivots: list[int] = []
    for column in range(m.shape[1]):
        at = len(pivots)
        if at == rank:
            break
        best = at + int(np.abs(m[at:, column]).argmax())
        if abs(m[best, column]) < GAP:
            continue
        m[[at, best]] = m[[best, at]]
        m[at] /= m[at, column]
        for i in range(rank):
            if i != at:
                m[i] -= m[i, column] * m[at]
        pivots.append(column)
    whole = [[Fraction(float(a)).limit_denominator(DENOMINATOR) for a in row] for row in m]
    if np.abs(m - np.array([[float(a) for a in row] for row in whole])).max() > CLOSE:
        return None
    basis = []
    for free in sorted(set(range(m.shape[1])) - set(pivots)):
        c = [0.0] * m.shape[1]
        c[free] = 1.0
        for row, column in zip(whole, pivots, strict=True):
            c[column] = -float(row[free])
        basis.append(c)
    lengths = [math.lcm(*(a.denominator for a in row)) for row in whole]
    return [[int(a * n) for a in row] for row, n in zip(whole, lengths, strict=True)], basis


def _scales(
    run: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]], x: Sequence[torch.Tensor], c: Sequence[float]
) -> bool:
    """Whether outputs answer finite factors as the equations say."""
    before = run(x)
    for base in (2.0, 0.3):
        after = run([base**a * v for a, v in zip(c, x, strict=False)])
        for a, y, z in zip(c[len(x) :], before, after, strict=True):
            expected = base**a * y
            if float((z - expected).norm()) > CLOSE * float(expected.norm()) + 1e-300:
                return False
    return True


__all__ = ["measured"]
