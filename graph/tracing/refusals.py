"""What a forward may not do, and the sentences on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.fx import Graph, Node

from .errors import OpenError, TraceError
from .flatten import Flattener
from .places import place_of


def drawn_from(whose: str) -> str:
    """The sentence on a forward that draws random numbers that no graph holds."""
    return (
        f"the forward draws from the random numbers of {whose}, so it is another function "
        "at every call (LayerDrop); trace it in evaluation mode (module.eval()), or draw with torch"
    )


def moving_state(what: str) -> str:
    """The sentence on a forward whose outputs depend on something that it changes itself."""
    return (
        f"the forward changes {what} and its outputs depend on that, so it is another "
        "function at every call; keep it fixed (module.eval()), or pass it as an input"
    )


def refuse_writes(module: torch.nn.Module, flat: Flattener, names: Mapping[Node, str], inputs: Sequence[Node]) -> None:
    """A forward that changes its inputs or parameters has no gradient flow; buffers are its own."""
    kind = type(module).__name__
    for node, call in flat.written.items():
        if node in names:
            what = "its input" if node in inputs else "its parameter"
            raise TraceError(f"{kind} changes {what} {names[node]} in place ({place_of(call)}); let it work on a copy")
    for call in flat.hidden:
        raise TraceError(
            f"{kind} writes into a view whose elements overlap ({place_of(call)}); write into a copy (clone) of it"
        )


def refuse_open_shapes(module: torch.nn.Module, graph: Graph) -> None:
    """The shape of a tensor must not depend on values."""
    for node in graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and not all(type(n) is int for n in value.shape):
            raise OpenError(
                f"the forward of {type(module).__name__} makes a tensor whose shape depends on values "
                f"({place_of(node)}); keep the shape and use torch.where or a mask"
            )
