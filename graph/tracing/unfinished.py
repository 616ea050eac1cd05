"""Values that wait for what is done to them, and turn out to be used in another way: a stream after all."""

from __future__ import annotations

from torch.fx import Node

from .context import Context
from .layout import Tangled
from .opaque import opaque_call
from .steps.arithmetic import as_stream
from .steps.attention import shown
from .values import Combined, Lazy, NotUnderstood, Scores, Stream


def finished(low: Context, node: Node, value: Lazy) -> Stream:
    """A lazy value as a stream: what it is where that is known, else an opaque block of the call that it comes from.

    Args:
        low: the program.
        node: the call that needs it.
        value: the value.

    Raises:
        NotUnderstood: if it has no such form.
    """
    if isinstance(value, Combined):
        return as_stream(low, node, value)
    if isinstance(value, Scores) and value.done:
        try:
            return shown(low, node, value)
        except (NotUnderstood, Tangled):
            return _unknown(low, value)
    return _unknown(low, value)


def _unknown(low: Context, value: Lazy) -> Stream:
    """Something lazy as an opaque block of the call that it comes from."""
    if value.origin is not None:
        origin, args, kwargs = value.origin
        out = opaque_call(low, origin, args, kwargs, "what it gives is used in a way that no rule covers")
        if isinstance(out, Stream):
            return out
    raise NotUnderstood(f"a {type(value).__name__.lower()} is used as a tensor")
