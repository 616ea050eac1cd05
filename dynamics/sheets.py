"""Products of the tensors of a step, added up along the rows and the columns of every parameter: once for all laws.

A law that sums squares reads a parameter along one axis: the rows of a matrix (its first axis), or its columns (all
others).  Laws share parameters, a kernel is in one law by its rows and in another one by its columns.  So every product
of two tensors is made once, in pieces that stay in a processor's cache, and added up both ways; a law picks its sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from lawful.theory.laws.statement import Part
from lawful.theory.parts import base, read

LARGE = 2**16  # entries of a tensor in float32 or less that is not read in float64: that would cost more than training
PIECE = 2**17  # entries of a piece
GRADIENT, BUFFER, ALTERED, WHOLE, THETA = "gradient", "buffer", "altered", "whole", "theta"


@dataclass(frozen=True)
class Reading:
    """How a law reads the sums of one parameter.

    Attributes:
        columns: the sums along the first axis, one for every column; else those of every row.
        index: which of them add up to a scalar of the law, shape `(scalars, summed)`; None where they are the scalars.
    """

    columns: bool
    index: Tensor | None

    @staticmethod
    def of(part: Part, parameter: Tensor) -> Reading | None:
        """The reading of a part of a law; None where the law reads more than one axis, or a shifted weight."""
        if part.offset or part.ramp or part.view.conjugate or parameter.ndim == 0 or parameter.numel() == 0:
            return None
        shape, order = part.view.shape, part.view.order
        first = _cut(shape, parameter.shape[0])
        kept = _cut([shape[i] for i in order], math.prod(part.sizes))
        if first is None or kept is None or math.prod(shape) != parameter.numel():
            return None
        axes = [i for i in order[:kept] if shape[i] > 1]
        columns = bool(axes) and min(axes) >= first
        if not columns and any(i >= first for i in axes):
            return None
        low, high = (first, len(shape)) if columns else (0, first)
        own = tuple(i - low for i in order if low <= i < high)
        length = math.prod(shape[low:high])
        view = replace(part.view, shape=shape[low:high], order=own)
        index = replace(part, view=view, offset=Fraction(0)).read(torch.arange(length, device=parameter.device))
        index = index.flatten(-2).reshape(-1, index.shape[-2] * index.shape[-1])
        plain = index.shape[1] == 1 and torch.equal(index[:, 0], torch.arange(length, device=index.device))
        return Reading(columns, None if plain else index)

    @staticmethod
    def along(part: Part, parameter: Tensor) -> Reading | None:
        """The reading of a part of a linear law; None where its scalars are no sums of whole rows or columns."""
        if part.offset or part.ramp or part.view.conjugate or parameter.ndim == 0 or parameter.numel() == 0:
            return None
        n, m = parameter.shape[0], parameter.numel() // parameter.shape[0]
        places = torch.arange(parameter.numel(), device=parameter.device).reshape(parameter.shape)
        entries = part.read(places).flatten(-2)
        entries = entries.reshape(-1, entries.shape[-1])
        for columns, length, line in ((True, n, entries % m), (False, m, entries // m)):
            index = line[:, :1].clone()
            if entries.shape[1] == length and bool((line == index).all()):
                lines = torch.arange(n * m // length, device=index.device)
                return Reading(columns, None if torch.equal(index[:, 0], lines) else index)
        return None

    def read(self, sums: Tensor) -> Tensor:
        """The scalars of the law, in the last axis, from the sums of a parameter in the last axis."""
        return sums if self.index is None else sums[..., self.index].sum(-1)


class Sheets:
    """The tensors of a step by parameter, and their products.

    Args:
        tensors: by parameter, and by what they are; all of one parameter in its shape.
        wanted: by parameter, or part of one that a law reads, whether its rows and whether its columns are read.
        first: products of the first tensors with themselves that were made before.
    """

    def __init__(
        self,
        tensors: Mapping[str, Mapping[str, Tensor]],
        wanted: Mapping[str, tuple[bool, bool]],
        first: Sheets | None = None,
    ) -> None:
        self.tensors = tensors
        self._wanted = wanted
        self._first = first._made if first else {}
        self._made: dict[str, tuple[Tensor | None, Tensor | None]] = {}

    @cached_property
    def places(self) -> dict[str, dict[str, int]]:
        """The place of every tensor of a parameter among its products."""
        return {n: {kind: i for i, kind in enumerate(of)} for n, of in self.tensors.items()}

    def products(self, name: str, columns: bool) -> Tensor:
        """All products of two tensors of a parameter, shape `(tensors, tensors, rows or columns)`, in float64."""
        if name not in self._made:
            own = [read(name, {base(name): x.detach()}) for x in self.tensors[base(name)].values()]
            self._made[name] = _products(own, *self._wanted[name], self._first.get(name))
        found = self._made[name][columns]
        assert found is not None
        return found

    def vector(self, name: str, parts: Mapping[str, float]) -> Tensor:
        """A sum of multiples of the tensors of a parameter."""
        tensors = self.tensors[name]
        out = None
        for kind, weight in parts.items():
            x = tensors[kind].detach()
            if out is None:
                out = x if weight == 1 else weight * x
            else:
                out = out.add(x, alpha=weight)
        return torch.zeros_like(next(iter(tensors.values()))) if out is None else out


def wanted(readings: Iterable[tuple[str, Reading]]) -> dict[str, tuple[bool, bool]]:
    """Which sums of which parameter some readings need."""
    out: dict[str, tuple[bool, bool]] = {}
    for name, one in readings:
        rows, columns = out.get(name, (False, False))
        out[name] = (rows or not one.columns, columns or one.columns)
    return out


def _cut(shape: Sequence[int], number: int) -> int | None:
    """How many of the first axes have so many entries, None if no number of them has."""
    return next((i for i in range(len(shape) + 1) if math.prod(shape[:i]) == number), None)


def _products(
    tensors: list[Tensor], rows: bool, columns: bool, first: tuple[Tensor | None, Tensor | None] | None
) -> tuple[Tensor | None, Tensor | None]:
    flat = [x.reshape(x.shape[0], -1) for x in tensors]
    k, (n, m) = len(flat), flat[0].shape
    large = n * m > LARGE and all(x.dtype != torch.float64 for x in flat)
    if not large and k * k * n * m <= PIECE:
        x = torch.stack([y.double() for y in flat])
        whole = x[:, None] * x[None]
        return (whole.sum(3) if rows else None), (whole.sum(2) if columns else None)
    kind = torch.float32 if large else torch.float64
    left = flat[0].new_zeros(k, k, n, dtype=torch.float64) if rows else None
    above = flat[0].new_zeros(k, k, m, dtype=torch.float64) if columns else None
    run = max(1, PIECE // m)
    scratch = flat[0].new_empty(min(run, n), m, dtype=kind)
    for start in range(0, n, run):
        pieces = [x[start : start + run].to(kind) for x in flat]
        space = scratch[: pieces[0].shape[0]]
        for i in range(k):
            for j in range(i + 1):
                if not i and first is not None:
                    continue
                torch.mul(pieces[i], pieces[j], out=space)
                if left is not None:
                    left[i, j, start : start + run] = space.sum(1)
                if above is not None:
                    above[i, j] += space.sum(0)
    for found, known in zip((left, above), first or (None, None), strict=True):
        if found is not None:
            if known is not None:
                found[0, 0] = known[0, 0]
            for i in range(k):
                for j in range(i):
                    found[j, i] = found[i, j]
    return left, above
