"""Parameters that are made of others: normalised weights."""

from __future__ import annotations

from torch.fx import Node

from ..context import Context, handles
from ..steps.reparametrised import Directed
from ..values import NotUnderstood, Value, Weight


@handles("_weight_norm_interface", "_weight_norm")
def weight_norm(low: Context, node: Node, v: Value, g: Value, dim: int = 0) -> Value:
    """A weight with the length of every row as a parameter of its own."""
    if not isinstance(v, Weight) or not isinstance(g, Weight) or dim != 0 or len(v.shape) < 2:
        raise NotUnderstood("normalised weights along another axis than that of the rows")
    found = Directed(v=v, g=g)
    return (found, None) if isinstance(node.meta["val"], (tuple, list)) else found
