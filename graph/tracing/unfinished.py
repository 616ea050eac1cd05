"""Values that wait for what is done to them, and turn out to be used in another way: streams after all."""

from __future__ import annotations

from torch.fx import Node

from lawful.blocks import L2Norm

from .arrange import focus
from .context import Context
from .layout import Tangled
from .opaque import opaque_call
from .purity import name_of
from .sources import source
from .steps.applied import as_vector
from .steps.arithmetic import add, as_stream
from .steps.attention import shown
from .steps.contraction import products_of
from .steps.formed import Formed, Unit
from .steps.parameters import is_repeated
from .steps.reparametrised import Joined
from .steps.shuffled import Shuffled, straightened
from .values import Combined, Lazy, NotUnderstood, Rows, Scores, Stream, Value


def finished(low: Context, node: Node, value: Value) -> Stream:
    """What depends on no data, and what is lazy, as a stream; an opaque block of its call where nothing else is known.

    Args:
        low: the program.
        node: the call that needs it.
        value: the value.

    Raises:
        NotUnderstood: if it has no such form.
    """
    vector = _vector(low, node, value)
    if vector is not None:
        return vector
    if isinstance(value, Combined):
        return as_stream(low, node, value)
    if isinstance(value, Shuffled):
        return straightened(low, node, value)
    if isinstance(value, Unit) and len(value.shape) == 2:  # rows of a table, which are normalised as features are
        rows = focus(low, node, source(low, node, value.v), -1)
        (y,) = low.emit(node, L2Norm(rows.signal.features), [rows])
        return y.arranged(rows.dims)
    if isinstance(value, Scores) and value.done:
        try:
            return shown(low, node, value)
        except (NotUnderstood, Tangled):
            return _unknown(low, value)
    if isinstance(value, Scores):
        try:
            return products_of(low, node, value) if value.plain else _with_bias(low, value)
        except (NotUnderstood, Tangled):
            return _unknown(low, value)
    if isinstance(value, Lazy) and value.origin is not None and not isinstance(value, Rows):
        return _unknown(low, value)
    return source(low, node, value)


def _with_bias(low: Context, scores: Scores) -> Stream:
    """Products of queries and keys and what was added to them last.

    Raises:
        NotUnderstood: for anything else that was done to them, and for another order of dimensions.
    """
    call, args, kwargs = scores.origin or (None, (), {})
    if call is None or name_of(call) != "add" or kwargs or len(args) != 2:
        raise NotUnderstood("scores of attention are used as numbers")
    one, other = args[:: 1 if isinstance(args[0], Scores) else -1]
    if not isinstance(one, Scores) or one.dims != scores.dims:
        raise NotUnderstood("scores of attention are used as numbers")
    y = add(low, call, low.stream(one, call), other)
    if not isinstance(y, Stream) or y.shape != scores.shape:
        raise NotUnderstood("scores of attention are used as numbers")
    return y


def _vector(low: Context, node: Node, value: Value) -> Stream | None:
    """A vector that is made of parameters by fixed moves, None for anything else."""
    inside = is_repeated(value) and len(value.shape) == 1 and len(value.dims[0]) > 1
    if not inside and (not isinstance(value, (Formed, Joined)) or len(value.shape) > 2):
        return None
    try:
        return as_vector(low, node, value)
    except (NotUnderstood, Tangled):
        return None


def _unknown(low: Context, value: Lazy) -> Stream:
    """Something lazy as an opaque block of the call that it comes from."""
    if value.origin is not None:
        origin, args, kwargs = value.origin
        out = opaque_call(low, origin, args, kwargs, "what it gives is used in a way that no rule covers")
        if isinstance(out, Stream):
            return out
    raise NotUnderstood(f"a {type(value).__name__.lower()} is used as a tensor")
