"""Rows of tables and entries of tensors by integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node

from ..arguments import Arguments
from ..arrange import exact
from ..computed import on_example
from ..context import Context, handles
from ..layout import view
from ..opaque import emit_opaque
from ..steps.formed import Unit, is_weight, take
from ..steps.lookups import embedding, line_of, picked
from ..steps.pieces import piece
from ..steps.positions import pick, reduced
from ..values import Data, Fixed, NotUnderstood, Stream, Value, Weight

handles("embedding")(embedding)


@handles("index.Tensor")
def index(low: Context, node: Node, x: Value, indices: Sequence[Any]) -> Value:
    """Rows of a table by integers of the data or fixed ones (relative positions), or positions by fixed integers."""
    found = [(i, v) for i, v in enumerate(indices) if v is not None]
    if len(found) == 1 and found[0][0] == 0 and is_weight(x) and isinstance(found[0][1], Data):
        if len(x.shape) == 2 and _counts_up(low, found[0][1]):  # `table[i]` is a lookup like any other
            return embedding(low, node, x, found[0][1])
    if len(found) == 1 and found[0][0] == 1 and isinstance(found[0][1], Data) and isinstance(x, Stream):
        return _by_data(low, node, x, found[0][1])
    if len(found) != 1 or not isinstance(found[0][1], Fixed):
        raise NotUnderstood("entries are picked by integers that depend on data")
    at, fixed = found[0][0], found[0][1].tensor
    if fixed.dtype == torch.bool:
        raise NotUnderstood("entries are picked by a mask")
    if isinstance(x, Weight) and at == 0 and len(x.dims) == 2:
        return picked(x, fixed)
    if isinstance(x, Unit) and at == 0 and fixed.ndim == 1 and fixed.device.type != "meta":
        return take(x, 0, fixed.tolist())
    if isinstance(x, Weight) and len(x.dims) == 1 and fixed.ndim > 1:  # a table of single numbers
        entries = picked(x.arranged((*x.dims, ())), fixed)
        return entries.arranged(entries.dims[:-1])
    if isinstance(x, Weight) and len(x.dims) == 2:
        rows = picked(x.arranged((x.dims[1], x.dims[0])), fixed)
        return rows.arranged((rows.dims[-1], *rows.dims[:-1]))
    if isinstance(x, Stream) and fixed.ndim == 1:
        n = x.shape[at]
        if fixed.numel() == 1 and fixed.device.type != "meta":
            return piece(low, node, x, at, [1] * n, int(fixed) % n, gone=False)
        return pick(low, node, x, at, fixed % n)
    raise NotUnderstood("entries are picked by integers")


def _counts_up(low: Context, places: Data) -> bool:
    """Whether data are rows counted from the first one, and no mask and none counted from the end."""
    wanted = places.base or places.node
    direct = next((i.example for i in low.program.inputs if i.node is wanted), None)
    given = direct if direct is not None else on_example(low, wanted)
    if given is None or given.is_floating_point() or given.dtype == torch.bool:
        return False
    return given.device.type == "meta" or not given.numel() or int(given.min()) >= 0


def _by_data(low: Context, node: Node, x: Stream, places: Data) -> Stream:
    """Positions at places that are an input of the network: the ends of the edges of a graph."""
    integers = not places.example.is_floating_point() and places.example.dtype != torch.bool
    rank = len(x.dims)
    if rank < 2 or len(places.shape) != 1 or not integers or not x.batched:
        raise NotUnderstood("entries are picked by integers that depend on data")
    shape = tuple(int(n) for n in node.meta["val"].shape)
    gives = node.meta["val"].reshape(*shape[:2], -1)
    x = x.arranged(view((*x.dims, ()), [*x.shape[:2], gives.shape[2]]))  # the features of heads, or a single one
    arguments = Arguments(low, node)
    value, at = arguments.plan(exact(low, node, x, 2)), arguments.plan(places)

    def call(t: Sequence[torch.Tensor], p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = value(t, p)[:, at(t, p)]
        return found

    out: Stream = emit_opaque(low, node, arguments.reads, "", call, gives=gives, moves="picks")
    return out.arranged(view(out.dims, shape))


@handles("index_select")
def index_select(low: Context, node: Node, x: Value, dim: int, indices: Value) -> Value:
    """Entries of a dimension by fixed integers."""
    return index(low, node, x, [*[None] * (dim % len(x.shape)), indices])


@handles("gather")
def gather(low: Context, node: Node, x: Value, dim: int, index: Value, **options: Any) -> Value:
    """Positions at places that are the same for all features."""
    if isinstance(index, Data) and isinstance(x, Stream) and dim % len(x.dims) == 1:
        return _by_data(low, node, x, line_of(index))
    raise NotUnderstood("every feature is picked at places of its own")


@handles("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    low: Context, node: Node, weight: Value, tokens: Value, offsets: Value, *rest: Any, **options: Any
) -> Value:
    """The mean or the sum of rows of a table, as many for every example."""
    bags = node.args[1]
    source: Any = bags.args[0] if isinstance(bags, Node) and bags.op == "call_function" else None
    shape = tuple(source.meta["val"].shape) if isinstance(source, Node) else ()
    weighed = len(rest) > 3 and rest[3] is not None
    mode = rest[1] if len(rest) > 1 else 0
    even = isinstance(offsets, Fixed) and len(shape) == 2 and shape[0] == low.batch == offsets.shape[0]
    if not even or weighed or mode not in (0, 1) or not isinstance(low.env.get(source), Data):
        raise NotUnderstood("bags of tokens of different sizes, weights, or a maximum")
    s = embedding(low, node, weight, low.env[source])
    y = reduced(low, node, s, [1], False, mean=mode == 1)
    return (y, None, None, None) if isinstance(node.meta["val"], (tuple, list)) else y
