"""Entries added at given places: messages of a graph, sums over groups."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from ..context import Context, handles
from ..steps.arithmetic import add
from ..steps.weighed import added_at
from ..values import Fixed, NotUnderstood, Stream, Value


@handles("index_add")
def index_add(low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, alpha: float = 1) -> Value:
    """Sums of the slices that have one place, on top of what is there."""
    if alpha != 1:
        raise NotUnderstood("slices that are added with a factor")
    return _onto(low, node, base, dim, _known(index), source, mean=False)


@handles("scatter_add")
def scatter_add(low: Context, node: Node, base: Value, dim: int, index: Value, source: Value) -> Value:
    """The same, with an index for every entry."""
    return _onto(low, node, base, dim, _line(index, dim), source, mean=False)


@handles("scatter_reduce.two")
def scatter_reduce(
    low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, how: str, include_self: bool = True
) -> Value:
    """Sums, or means without what is there."""
    if how not in ("sum", "mean") or (how == "mean" and include_self):
        raise NotUnderstood(f"entries reduced by {how}")
    return _onto(low, node, base, dim, _line(index, dim), source, mean=how == "mean")


def _known(index: Value) -> torch.Tensor:
    if not isinstance(index, Fixed) or not index.known:
        raise NotUnderstood("entries are added at places that depend on data")
    return index.tensor


def _line(index: Value, dim: int) -> torch.Tensor:
    """The places along one dimension, where they are the same along all others."""
    t = _known(index)
    line = t.movedim(dim, 0).flatten(1)
    if not bool((line == line[:, :1]).all()):
        raise NotUnderstood("features are added at places of their own")
    return line[:, 0]


def _onto(low: Context, node: Node, base: Any, dim: int, index: torch.Tensor, source: Value, mean: bool) -> Value:
    s = low.stream(source, node, False)
    shape = [int(n) for n in node.meta["val"].shape]
    if len(shape) != 3 or len(s.dims) != 3:
        raise NotUnderstood("entries added along other axes than those of positions")
    total = added_at(low, node, s, dim, index, shape[dim], mean)
    if isinstance(base, Fixed) and base.known and not bool(base.tensor.any()):
        return total
    if mean or not isinstance(base, Stream):
        raise NotUnderstood("entries added to something that is computed otherwise")
    return add(low, node, base, total)
