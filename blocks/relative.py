"""Relative position: which row of a table of biases belongs to a pair of positions."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from .numbers import Numbers


class Offsets(Protocol):
    """What an attention says of its biases by offset (see `DotProductAttention`)."""

    @property
    def relative(self) -> str: ...
    @property
    def index(self) -> Numbers | None: ...
    @property
    def window_shape(self) -> tuple[int, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def causal(self) -> bool: ...
    @property
    def distance(self) -> int: ...


def buckets(block: Offsets, rows: int, cols: int) -> torch.Tensor:
    """The row of the bias table for every query and key: integers of shape `(queries, keys)`.

    Source: `t5`: Raffel et al. 2020, section 2.1; `window`: Liu et al. 2021 (Swin), equation 4.
    """
    if block.index is not None:
        return block.index.tensor
    if block.relative == "t5":
        return _t5(block, rows, cols)
    shape = block.window_shape
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")).flatten(1)
    index = torch.zeros(rows, cols, dtype=torch.long)
    for n, places in zip(shape, grid, strict=True):
        index = index * (2 * n - 1) + places[:, None] - places[None, :] + n - 1
    return index


def _t5(block: Offsets, rows: int, cols: int) -> torch.Tensor:
    offset = torch.arange(cols) - (torch.arange(rows)[:, None] + cols - rows)
    count, base = block.rows, torch.zeros_like(offset)
    if block.causal:
        distance = (-offset).clamp_min(0)
    else:
        count //= 2
        base = (offset > 0).long() * count
        distance = offset.abs()
    exact = count // 2
    span = math.log(max(block.distance / exact, 1.0 + 1e-9))
    far = exact + (torch.log(distance.clamp_min(1).double() / exact) / span * (count - exact)).long()
    return base + torch.where(distance < exact, distance, far.clamp_max(count - 1))


def bucket_sets(index: torch.Tensor, rows: int, mask: torch.Tensor) -> tuple[int, ...]:
    """For every row of the table the set of rows that it meets, directly or not, in the scores of some query.

    A softmax does not see a common shift of one query's scores, so every set may be shifted by itself.  Rows that no
    pair of positions reads have the set -1.
    """
    parent, read = list(range(rows)), set()

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for row, seen in zip(index, mask, strict=True):
        met = torch.unique(row[seen]).tolist()
        read.update(met)
        for other in met[1:]:
            parent[root(other)] = root(met[0])
    return tuple(root(i) if i in read else -1 for i in range(rows))
