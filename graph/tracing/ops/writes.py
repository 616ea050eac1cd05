"""Tensors that are written piece by piece: what they hold in the end, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from ..context import Context, handles
from ..purity import name_of
from ..steps.concatenation import cat
from ..steps.features import along_features, picked
from ..steps.parameters import piece_of
from ..steps.pieces import piece
from ..steps.reparametrised import Joined
from ..steps.shuffled import Shuffled, straightened
from ..values import Fixed, NotUnderstood, Stream, Value, Weight

WRITES = ("slice_scatter", "select_scatter")
SAME = ("slice", "clone", "alias", "contiguous")


@dataclass(frozen=True)
class Written:
    """A run of a dimension that a call overwrites.

    Attributes:
        dim: the dimension.
        run: the entries.
        source: what is written there.
        thin: whether the source lacks the dimension.
    """

    dim: int
    run: range
    source: Node
    thin: bool


@handles(*WRITES)
def overwritten(low: Context, node: Node, base: Value, x: Value, *rest: Any, **options: Any) -> Value:
    """A tensor with a run of its entries overwritten, by others before it too."""
    if isinstance(base, Weight) and isinstance(x, Fixed):
        return _parameter(node, base, x)
    last = _written(node)
    dim, step = last.dim, last.run.step
    if _is_whole(node):
        return x
    if step > 1:
        return _interleaved(low, node, dim, step)
    parts = [_part(low, node, *run) for run in _runs(node, dim)]
    return parts[0] if len(parts) == 1 else cat(low, node, parts, dim)


def _parameter(node: Node, base: Weight, x: Fixed) -> Joined:
    """A parameter a run of which was overwritten by fixed numbers (Swin v2 has no bias for keys)."""
    run = _written(node).run
    if len(base.shape) != 1 or run.step != 1:
        raise NotUnderstood("a run of a tensor is overwritten")
    ends = [piece_of(base, 0, a, b) for a, b in ((0, run.start), (run.stop, base.shape[0])) if b > a]
    return Joined(parts=(*ends[: int(run.start > 0)], x, *ends[int(run.start > 0) :]))


def _written(node: Node) -> Written:
    """What a call overwrites."""
    shape = node.meta["val"].shape
    if name_of(node) == "select_scatter":
        dim, index = _arguments(node, ("dim", "index"), (0, 0))
        return Written(dim % len(shape), range(at := index % shape[dim], at + 1), _source(node), True)
    dim, start, stop, step = _arguments(node, ("dim", "start", "end", "step"), (0, None, None, 1))
    return Written(dim % len(shape), range(*slice(start, stop, step).indices(shape[dim])), _source(node), False)


def _arguments(node: Node, names: tuple[str, ...], defaults: tuple[Any, ...]) -> list[Any]:
    """What follows the two tensors, by position or by name."""
    given = node.args[2:]
    return [
        given[i] if i < len(given) else node.kwargs.get(n, d)
        for i, (n, d) in enumerate(zip(names, defaults, strict=True))
    ]


def _source(node: Node) -> Node:
    source = node.args[1]
    assert isinstance(source, Node)
    return source


def _chain(node: Node, dim: int) -> Iterator[Node]:
    """The calls that wrote into a tensor along a dimension, the last one first, and what was there before."""
    node = _itself(node)
    while name_of(node) in WRITES and _written(node).dim == dim:
        yield node
        node = _itself(node.args[0])
    yield node


def _itself(node: Any) -> Node:
    """A tensor without the views of all of it, and what was written over all of it."""
    while True:
        if name_of(node) in WRITES and _is_whole(node):
            node = _source(node)
        elif name_of(node) in SAME and node.args[0].meta["val"].shape == node.meta["val"].shape:
            node = node.args[0]
        else:
            return node


def _is_whole(node: Node) -> bool:
    """Whether a call overwrites all entries."""
    write = _written(node)
    return not write.thin and write.run == range(int(node.meta["val"].shape[write.dim]))


def _runs(node: Node, dim: int) -> list[tuple[Node, int, int, int, int, bool]]:
    """Who wrote the entries of a dimension: calls with a run of their own entries, in the order of the dimension.

    Returns:
        What was written, the dimension, its first and last entry, how many it has, and whether it lacks the dimension.
    """
    n = int(node.meta["val"].shape[dim])
    free, found = [(0, n)], []
    for call in _chain(node, dim):
        at, source, thin = range(n), call, False
        if name_of(call) in WRITES and (write := _written(call)).dim == dim:
            at, source, thin = write.run, write.source, write.thin
            if at.step != 1:
                raise NotUnderstood("every second entry of a tensor is overwritten")
        left = []
        for start, stop in free:
            a, b = max(start, at.start), min(stop, at.stop)
            if a >= b:
                left.append((start, stop))
                continue
            found.append((a, (source, dim, a - at.start, b - at.start, len(at), thin)))
            left += [(x, y) for x, y in ((start, a), (b, stop)) if y > x]
        free = left
        if not free:
            break
    return [run for _, run in sorted(found, key=lambda f: f[0])]


def _part(low: Context, node: Node, source: Node, dim: int, first: int, last: int, n: int, thin: bool) -> Value:
    """A run of what was written."""
    value = low.env[source]
    if isinstance(value, Fixed):
        t = value.tensor.unsqueeze(dim) if thin else value.tensor
        return Fixed(t.narrow(dim, first, last - first))
    if not isinstance(value, (Weight, Shuffled)):
        value = low.stream(value, node)
    if thin:
        value = value.arranged((*value.dims[:dim], (), *value.dims[dim:]))
    if (first, last) == (0, n):
        return value
    value = straightened(low, node, value) if isinstance(value, Shuffled) else value
    widths = [w for w in (first, last - first, n - last) if w]
    return piece(low, node, value, dim, widths, int(first > 0), gone=False)


def _interleaved(low: Context, node: Node, dim: int, step: int) -> Value:
    """Entries that were written in turn: all of one call, then all of another, each with the same step."""
    n = int(node.meta["val"].shape[dim])
    turns: dict[int, Node] = {}
    for call in _chain(node, dim):
        write = _written(call) if name_of(call) in WRITES else None
        if write is None or write.run.step != step or write.run != range(write.run.start, n, step):
            raise NotUnderstood("every second entry of a tensor is overwritten")
        turns.setdefault(write.run.start, write.source)
        if len(turns) == step:
            break
    if n % step or sorted(turns) != list(range(step)):
        raise NotUnderstood("every second entry of a tensor is overwritten")
    streams: list[Stream] = [low.stream(low.env[turns[i]], node) for i in range(step)]
    if all(along_features(s, dim) for s in streams):
        whole = cat(low, node, streams, dim)
        return picked(low, node, whole, dim, [(i % step) * (n // step) + i // step for i in range(n)])
    thin = [s.arranged((*s.dims[: dim + 1], (), *s.dims[dim + 1 :])) for s in streams]
    y: Stream = cat(low, node, thin, dim + 1)
    return y.arranged((*y.dims[:dim], (*y.dims[dim], *y.dims[dim + 1]), *y.dims[dim + 2 :]))


@handles("index_put")
def put(low: Context, node: Node, base: Value, indices: Sequence[Value], x: Value, accumulate: bool = False) -> Value:
    """A tensor some entries of which, by fixed numbers along one dimension, are overwritten: side by side what is left.

    Raises:
        NotUnderstood: for entries that are added, for other indices, and for what is repeated while it is written.
    """
    n, dim = 0, -1
    owners: list[tuple[Node, int, int] | None] = []
    call: Any = node
    while name_of(call) == "index_put" and (write := _put_along(low, call)) is not None and dim in (-1, write[0]):
        dim, n = write[0], int(call.meta["val"].shape[write[0]])
        owners = owners or [None] * n
        for at in range(len(write[1]) - 1, -1, -1):
            owners[write[1][at]] = owners[write[1][at]] or (_value_of(call), at, len(write[1]))
        call = _itself(call.args[0])
        if None not in owners:
            break
    if dim < 0:
        raise NotUnderstood("entries are written at places that no rule follows")
    whole = [owner or (call, i, n) for i, owner in enumerate(owners)]
    runs: list[tuple[Node, int, int, int]] = []
    for source, at, many in whole:
        last = runs[-1] if runs else None
        if last is not None and last[0] is source and last[2] == at:
            runs[-1] = (source, last[1], at + 1, many)
        else:
            runs.append((source, at, at + 1, many))
    parts = [_part(low, node, source, dim, first, last_, many, False) for source, first, last_, many in runs]
    return parts[0] if len(parts) == 1 else cat(low, node, parts, dim)


def _value_of(call: Node) -> Node:
    value = call.args[2]
    assert isinstance(value, Node)
    return value


def _put_along(low: Context, call: Node) -> tuple[int, list[int]] | None:
    """The dimension that a call writes along, and the numbers of the entries; None for any other kind of write."""
    indices: Any = call.args[1]
    accumulate = call.args[3] if len(call.args) > 3 else call.kwargs.get("accumulate", False)
    found = [(i, low.value(k)) for i, k in enumerate(indices) if k is not None]
    value, shape = call.args[2], [int(k) for k in call.meta["val"].shape]
    if accumulate or len(found) != 1 or not isinstance(value, Node):
        return None
    dim, index = found[0]
    if not isinstance(index, Fixed) or not index.known or index.tensor.ndim != 1 or index.tensor.is_floating_point():
        return None
    numbers = index.tensor.nonzero()[:, 0] if index.tensor.dtype == torch.bool else index.tensor % shape[dim]
    shape[dim] = len(numbers)
    return (dim, numbers.tolist()) if tuple(value.meta["val"].shape) == tuple(shape) else None
