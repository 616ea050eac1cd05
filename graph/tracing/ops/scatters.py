"""Entries added at given places: messages of a graph, sums over groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node

from ..arguments import Arguments
from ..arrange import exact
from ..context import Context, handles
from ..layout import view
from ..opaque import emit_opaque
from ..steps.arithmetic import add
from ..steps.lookups import line_of
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
        return _by_data(low, node, base, dim, line_of(index), source)
    return _onto(low, node, base, dim, _line(index, dim), source, mean=False)


@handles("scatter_reduce.two")
def scatter_reduce(
    low: Context, node: Node, base: Value, dim: int, index: Value, source: Value, how: str, include_self: bool = True
) -> Value:
    """Sums, or means without what is there."""
    if how in ("amax", "amin") and isinstance(index, Data):
        return _by_data(low, node, base, dim, line_of(index), source, how, include_self)
    if how not in ("sum", "mean") or (how == "mean" and include_self):
        raise NotUnderstood(f"entries reduced by {how}")
    return _onto(low, node, base, dim, _line(index, dim), source, mean=how == "mean")


def _by_data(
    low: Context, node: Node, base: Any, dim: int, index: Data, source: Value, how: str = "", own: bool = True
) -> Value:
    """The same at places that are an input of the network: the edges of a graph.

    Args:
        low: the program.
        node: the call.
        base: what is there before, zeros.
        dim: the dimension of the positions.
        index: the places.
        source: what comes there.
        how: `amax` or `amin` for the largest or the smallest instead of a sum.
        own: whether what was there before is among them.
    """
    shape = [int(n) for n in node.meta["val"].shape]
    s = low.stream(source, node, False)
    empty = isinstance(base, Fixed) and base.known and not bool(base.tensor.any())
    rank = len(shape)
    if not empty or dim % rank != 1 or rank < 2 or len(index.shape) != 1 or not s.batched:
        raise NotUnderstood("entries are added at places that depend on data")
    flat = [*shape[:2], math.prod(shape[2:])]
    s = s.arranged(view((*s.dims, ()), [*s.shape[:2], flat[2]]))  # the features of heads, or a single one
    arguments = Arguments(low, node)
    value, places = arguments.plan(exact(low, node, s, 2)), arguments.plan(index)

    def call(x: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        terms = value(x, p)
        there = terms.new_zeros(len(terms), *flat[1:])
        if not how:
            return there.index_add(1, places(x, p), terms)
        where = places(x, p)[None, :, None].expand_as(terms)
        return there.scatter_reduce(1, where, terms, how, include_self=own)

    kind, gives = "chooses" if how else "adds", node.meta["val"].reshape(flat)
    out: Stream = emit_opaque(low, node, arguments.reads, "", call, gives=gives, moves=kind)
    return out.arranged(view(out.dims, shape))


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
