"""What a forward may not do, and the sentences on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.fx import Graph, Node

from .errors import OpenError, TraceError
from .flatten import Flattener
from .places import place_of

MOST = 3  # tensors that a sentence names


def drawn_from(whose: str) -> str:
    """The sentence on a forward that draws random numbers that no graph holds."""
    return (
        f"the forward draws from the random numbers of {whose}, so that it is another function at every call "
        "(LayerDrop): laws are those of the draw that was traced, as far as other draws did not refute them"
    )


def moving_state(what: str) -> str:
    """The sentence on a forward whose outputs depend on something that it changes itself."""
    return (
        f"the forward changes {what} and its outputs depend on that, so that it is another function at every call: "
        "laws are those of a call from the state that was handed over (as after a reset), as far as later calls did "
        "not refute them"
    )


def no_parameters(names: Sequence[str]) -> Iterator[str]:
    """The sentence on tensors that take gradients and that no module has as parameters; none where there are none."""
    if names:
        own = sorted(names)
        more = f" and {len(own) - MOST} more" if len(own) > MOST else ""
        yield (
            f"{', '.join(own[:MOST])}{more}: tensors that take gradients and are no parameters of the module; no "
            "optimizer gets them, and here they are constants (use nn.ModuleList, nn.ModuleDict, nn.ParameterList)"
        )


def refuse_writes(module: torch.nn.Module, flat: Flattener, names: Mapping[Node, str]) -> None:
    """A forward that changes its parameters has no gradient flow; inputs and buffers are its own."""
    kind = type(module).__name__
    for node, call in flat.written.items():
        if node in names:
            raise TraceError(
                f"{kind} changes its parameter {names[node]} in place ({place_of(call)}); let it work on a copy"
            )
    for call in flat.hidden:
        raise TraceError(
            f"{kind} writes into a view whose elements overlap ({place_of(call)}); write into a copy (clone) of it"
        )


def refuse_open_shapes(module: torch.nn.Module, graph: Graph) -> None:
    """The shape of a tensor must not depend on values."""
    for node in graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            raise TraceError(
                f"the forward of {type(module).__name__} takes a number out of a tensor ({place_of(node)}); keep it a "
                "tensor"
            )
        if isinstance(value, torch.Tensor) and not all(type(n) is int for n in value.shape):
            raise OpenError(
                f"the forward of {type(module).__name__} makes a tensor whose shape depends on values "
                f"({place_of(node)}); keep the shape and use torch.where or a mask"
            )
