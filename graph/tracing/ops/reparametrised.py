"""Parameters that are made of others: normalised weights, vectors written over."""

from __future__ import annotations

from torch.fx import Node

from ..context import Context, handles
from ..steps.parameters import piece_of
from ..steps.reparametrised import Directed, Joined
from ..values import Fixed, NotUnderstood, Value, Weight


@handles("slice_scatter")
def written_over(
    low: Context, node: Node, w: Value, x: Value, dim: int = 0, start: int = 0, stop: int | None = None, step: int = 1
) -> Value:
    """A parameter a run of which was overwritten by fixed numbers (Swin v2 has no bias for keys)."""
    if not isinstance(w, Weight) or not isinstance(x, Fixed) or len(w.shape) != 1 or dim or step != 1:
        raise NotUnderstood("a run of a tensor is overwritten")
    first, last, _ = slice(start, stop).indices(w.shape[0])
    ends = [piece_of(w, 0, a, b) for a, b in ((0, first), (last, w.shape[0])) if b > a]
    return Joined(parts=(*ends[: int(first > 0)], x, *ends[int(first > 0) :]))


@handles("_weight_norm_interface", "_weight_norm")
def weight_norm(low: Context, node: Node, v: Value, g: Value, dim: int = 0) -> Value:
    """A weight with the length of every row as a parameter of its own."""
    if not isinstance(v, Weight) or not isinstance(g, Weight) or dim != 0 or len(v.shape) != 2:
        raise NotUnderstood("normalised weights of another shape than a matrix by rows")
    found = Directed(v=v, g=g)
    return (found, None) if isinstance(node.meta["val"], (tuple, list)) else found
