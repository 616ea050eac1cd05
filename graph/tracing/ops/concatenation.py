"""Tensors side by side, and on a new axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Node

from ..context import Context, handles
from ..layout import view
from ..steps.concatenation import cat
from ..steps.planes import halves_rotated
from ..steps.scans import selective_scan
from ..values import Stream, Value

handles("cat", "concat")(cat)


@handles("stack")
def stack(low: Context, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    """Tensors on a new axis."""
    rank = len(node.meta["val"].shape)
    dim %= rank
    scan = selective_scan(low, node, node.args[0], dim) if isinstance(node.args[0], (list, tuple)) else None
    if scan is not None:
        return scan
    turned = halves_rotated(low, node, list(node.args[0]), True) if dim == rank - 1 else None  # type: ignore[arg-type]
    if isinstance(turned, Stream):
        return turned.arranged(view(turned.dims, [int(n) for n in node.meta["val"].shape]))
    opened = [low.stream(v, node) for v in parts]
    opened = [s.arranged((*s.dims[:dim], (), *s.dims[dim:])) for s in opened]
    return cat(low, node, opened, dim)
