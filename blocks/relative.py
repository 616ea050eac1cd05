"""Relative position: which row of a table of biases belongs to a pair of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def window_rows(queries: int, keys: int, shape: Sequence[int]) -> torch.Tensor:
    """A row for every offset in a window: integers of shape `(queries, keys)`.

    Source: Liu et al. 2021 (Swin), equation 4.
    """
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")).flatten(1)
    index = torch.zeros(queries, keys, dtype=torch.long)
    for n, places in zip(shape, grid, strict=True):
        index = index * (2 * n - 1) + places[:, None] - places[None, :] + n - 1
    return index


def t5_rows(queries: int, keys: int, rows: int, distance: int, causal: bool) -> torch.Tensor:
    """Rows of logarithmic buckets of offsets: integers of shape `(queries, keys)`.

    Args:
        queries: positions of the queries, the last ones of the keys.
        keys: positions of the keys.
        rows: rows of the table, half of them for each direction unless `causal`.
        distance: largest distance that is told apart.
        causal: whether no query sees a later key.

    Source: Raffel et al. 2020, section 2.1.
    """
    offset = torch.arange(keys) - (torch.arange(queries)[:, None] + keys - queries)
    count, base = rows, torch.zeros_like(offset)
    if causal:
        apart = (-offset).clamp_min(0)
    else:
        count //= 2
        base = (offset > 0).long() * count
        apart = offset.abs()
    exact = count // 2
    span = math.log(max(distance / exact, 1.0 + 1e-9))
    far = exact + (torch.log(apart.clamp_min(1).double() / exact) / span * (count - exact)).long()
    return base + torch.where(apart < exact, apart, far.clamp_max(count - 1))


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
