"""Whether any factors of what modules read undo a factor of what another one writes, to first order and by numbers.

Where the sizes of a map's modules do not fit, nothing says how it is meant: channels may stand several times (behind a
flatten, for groups of queries), or beside others (behind a concatenation).  A map that is right at all weights has
factors for every direction, so the derivative along the rows is a combination of those along the columns.  Where it is
none, the map is wrong however it is meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lawful.blocks import ShapeError
from lawful.theory.refusals import ModuleError

from .audit_scaled import axis_at, offset_of, times
from .running import Tensors, outputs
from .symmetries import Symmetries

STEP = 1e-4  # of the logarithm of a factor: central differences are then right to about 1e-8
LEFT = 1e-3  # of a derivative, what the best factors leave where none undo it
RUNS = 3000  # of the network at most
TURNS = 2  # samples and directions that must agree: a unit may change its sign within a step


def undone(found: Symmetries, tensors: Tensors, smooth: str, balance: Sequence[str], seed: int) -> float | None:
    """The relative change of an output, per unit of a factor, that no factors of the readers undo; None if unknown."""
    row = axis_at(found, tensors, smooth, 0)
    columns = [axis_at(found, tensors, b, 1) for b in balance]
    known = [c for c in columns if c is not None]
    if row is None or len(known) < len(columns):
        return None
    least = math.inf
    for turn in range(TURNS):
        try:
            left = _left(found, tensors, smooth, row, known, seed + 100 * turn)
        except (ModuleError, ShapeError, NotImplementedError):
            return None
        if left is None:
            return None
        least = min(least, left)
    return least


def _left(
    found: Symmetries,
    tensors: Tensors,
    smooth: str,
    row: tuple[str, int],
    columns: Sequence[tuple[str, int]],
    seed: int,
) -> float | None:
    weight, axis = row
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(tensors[weight].shape[axis], generator=generator, dtype=torch.float64)
    offset = offset_of(found, weight)

    def written(step: float) -> Tensors:
        factors = torch.exp(step * direction)
        new = {weight: times(tensors[weight] + offset, factors, axis) - offset}
        bias = f"{smooth}.bias"
        if bias != weight and bias in tensors and tensors[bias].shape == direction.shape:
            new[bias] = tensors[bias] * factors.to(tensors[bias])
        return new

    def read(name: str, at: int, i: int, step: float) -> Tensors:
        factors = torch.ones(tensors[name].shape[at], dtype=torch.float64)
        factors[i] = math.exp(step)
        return {name: times(tensors[name], factors, at)}

    places = [(n, at, i) for n, at in columns for i in range(tensors[n].shape[at])]
    changes = [written(s * STEP) for s in (1, -1)] + [read(*p, s * STEP) for p in places for s in (1, -1)]
    size = sum(t.numel() for t in outputs(found.setting, [tensors], seed)[0])
    samples = -(-2 * (len(places) + 1) // max(size, 1))
    if samples * len(changes) > RUNS:
        return None
    slopes, scale = [], 0.0
    for k in range(samples):
        start, *ends = outputs(found.setting, [tensors, *(tensors | c for c in changes)], seed + k)
        flat = [torch.cat([t.flatten().double() for t in out]) for out in ends]
        slopes.append(torch.stack([(a - b) / (2 * STEP) for a, b in zip(flat[::2], flat[1::2], strict=True)], 1))
        scale = max(scale, *(float(t.abs().max()) for t in start if t.numel()))
    every = torch.cat(slopes)
    target, basis = every[:, :1], every[:, 1:]
    if not bool(torch.isfinite(every).all()) or float(target.abs().max()) <= LEFT * scale:
        return None
    rest = target - basis @ torch.linalg.lstsq(basis, target, driver="gelsd").solution
    return float(rest.abs().max()) / max(scale, 1e-30) if float(rest.norm()) > LEFT * float(target.norm()) else None
