"""Entries added at given places: messages of a graph, sums over groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node

from ..arguments import Arguments
from ..arrange import exact
from ..context import Context, handles
from ..opaque import emit_opaque
from ..purity import name_of
from ..steps.arithmetic import add
from ..steps.weighed import added_at
from ..values import Data, Fixed, NotUnderstood, Stream, Value


@handles("index_add")
def index_add(low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, alpha: float = 1) -> Value:
    """Sums of the slices that have one place, on top of what is there."""
    if alpha != 1:
        raise NotUnderstood("slices that are added with a factor")
    if isinstance(index, Data):
        return _by_data(low, node, base, dim, index, source)
    return _onto(low, node, base, dim, _known(index), source, mean=False)


@handles("scatter_add")
def scatter_add(low: Context, node: Node, base: Value, dim: int, index: Value, source: Value) -> Value:
    """The same, with an index for every entry."""
    if isinstance(index, Data):
        return _by_data(low, node, base, dim, _whole_index(index), source)
    return _onto(low, node, base, dim, _line(index, dim), source, mean=False)


@handles("scatter_reduce.two")
def scatter_reduce(
    low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, how: str, include_self: bool = True
) -> Value:
    """Sums, or means without what is there."""
    if how not in ("sum", "mean") or (how == "mean" and include_self):
        raise NotUnderstood(f"entries reduced by {how}")
    return _onto(low, node, base, dim, _line(index, dim), source, mean=how == "mean")


def _whole_index(index: Data) -> Data:
    """Places that are the same for all features: a view of those of the positions."""
    call = index.node
    while name_of(call) in ("expand", "expand_as", "unsqueeze", "view", "repeat", "broadcast_to", "reshape"):
        call = call.args[0]  # type: ignore[assignment]
    if call is index.node or call.meta["val"].ndim != 1:
        raise NotUnderstood("features are added at places of their own")
    return Data(call)


def _by_data(low: Context, node: Node, base: Any, dim: int, index: Data, source: Value) -> Value:
    """The same at places that are an input of the network: the edges of a graph."""
    shape = [int(n) for n in node.meta["val"].shape]
    s = low.stream(source, node, False)
    empty = isinstance(base, Fixed) and base.known and not bool(base.tensor.any())
    if not empty or dim % 3 != 1 or len(shape) != 3 or len(index.shape) != 1 or not s.batched:
        raise NotUnderstood("entries are added at places that depend on data")
    arguments = Arguments(low, node)
    value, places = arguments.plan(exact(low, node, s, 2)), arguments.plan(index)

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        terms = value(x, p)
        return terms.new_zeros(len(terms), *shape[1:]).index_add(1, places(x, p), terms)

    out: Stream = emit_opaque(low, node, arguments.reads, "", call, moves="adds")
    return out


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
