"""What calls make of sums of parameters: `(A + 2 B) x` is `A x + 2 B x`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node

from ..context import Context
from ..values import Combined, Value, Weight
from .arithmetic import as_stream
from .parameters import combined
from .shuffled import seen

# operations that are linear in a weight and take it apart themselves
LINEAR = frozenset({"linear", "conv1d", "conv2d", "conv3d", "add", "sub", "mul", "neg", "div", "matmul", "embedding"})


VIEWS = frozenset(
    {"transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "t", "contiguous", "clone", "slice", "select"}
    | {"flatten", "alias", "_unsafe_view", "movedim", "swapaxes", "narrow"}
)


def prepared(low: Context, node: Node, name: str, handler: Callable[..., Value], args: Sequence[Any]) -> Value | None:
    """What a view of a sum of parameters is: the sum of the views; None for other operations."""
    if name in VIEWS and args and isinstance(args[0], Combined):
        found = [(handler(low, node, w, *args[1:]), a) for w, a in args[0].terms]
        if all(isinstance(w, Weight) for w, _ in found):
            return combined(*found)
    return None


def opened(low: Context, node: Node, name: str, value: Any) -> Any:
    """An argument in which sums of parameters are streams, for operations that are not linear in them.

    Features in another order are put in that order where the operation sees it.
    """
    if isinstance(value, Combined) and name not in LINEAR:
        return as_stream(low, node, value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Combined) for v in value):
        return type(value)(opened(low, node, "", v) for v in value)
    return seen(low, node, name, value)
