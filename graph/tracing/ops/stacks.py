"""Tensors on a new axis, and sums over that axis: members of an ensemble, results of a loop."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from ..lowering import Lowering, handles
from ..purity import name_of
from ..values import Stream, Value
from .joins import add, cat, times


@handles("stack")
def stack(low: Lowering, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    """Tensors on a new axis."""
    rank = len(node.meta["val"].shape)
    dim %= rank
    from .scans import selective_scan

    scan = selective_scan(low, node, node.args[0], dim) if isinstance(node.args[0], (list, tuple)) else None
    if scan is not None:
        return scan
    opened = [low.stream(v, node) for v in parts]
    opened = [s.arranged((*s.dims[:dim], (), *s.dims[dim:])) for s in opened]
    return cat(low, node, opened, dim)


def summed_stack(low: Lowering, node: Node, dims: Sequence[int] | None, keep: bool) -> Stream | None:
    """A sum or mean over the axis of a stack, as the sum of what was stacked; None for any other sum.

    Args:
        low: the program.
        node: the call of the sum.
        dims: what is summed.
        keep: whether the axis stays, with length 1.
    """
    whole = node.args[0]
    if not isinstance(whole, Node) or name_of(whole) != "stack" or not dims or len(dims) != 1:
        return None
    rank = len(whole.meta["val"].shape)
    at = int(whole.args[1] if len(whole.args) > 1 else whole.kwargs.get("dim", 0)) % rank  # type: ignore[arg-type]
    parts = low.value(whole.args[0])
    if at != dims[0] % rank or not all(isinstance(p, Stream) for p in parts):
        return None
    y = parts[0]
    for part in parts[1:]:
        y = add(low, node, y, part)
    if name_of(node) == "mean":
        y = times(low, node, y, 1 / len(parts))
    return y.arranged((*y.dims[:at], (), *y.dims[at:])) if keep else y
