"""Sums of parameters as weights, biases and gains: `(A + 2 B) x` is `A x + 2 B x`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node

from ..lowering import Lowering
from ..sources import source
from ..values import Combined, NotUnderstood, Stream, Value, Weight

# operations that are linear in a weight and take it apart themselves
LINEAR = frozenset({"linear", "conv1d", "conv2d", "conv3d", "add", "sub", "mul", "neg", "div", "matmul", "embedding"})
VIEWS = frozenset(
    {"transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "t", "contiguous", "clone", "slice", "select"}
    | {"flatten", "alias", "_unsafe_view", "movedim", "swapaxes", "narrow"}
)


def combined(*parts: tuple[Value, float]) -> Combined | None:
    """The sum of parameters and of such sums, with factors; None where shapes differ or nothing is left."""
    factors: dict[Weight, float] = {}
    for value, c in parts:
        for w, a in value.terms if isinstance(value, Combined) else ((value, 1.0),):
            factors[w] = factors.get(w, 0.0) + a * c
    terms = tuple((w, a) for w, a in factors.items() if a)
    if not terms or len({w.shape for w in factors}) > 1:
        return None
    return Combined(terms=terms)


def prepared(low: Lowering, node: Node, name: str, handler: Callable[..., Value], args: Sequence[Any]) -> Value | None:
    """What a view of a sum of parameters is: the sum of the views; None for other operations."""
    if name in VIEWS and args and isinstance(args[0], Combined):
        found = [(handler(low, node, w, *args[1:]), a) for w, a in args[0].terms]
        if all(isinstance(w, Weight) for w, _ in found):
            return combined(*found)
    return None


def opened(low: Lowering, node: Node, name: str, value: Any) -> Any:
    """An argument in which sums of parameters are streams, for operations that are not linear in them."""
    if isinstance(value, Combined) and name not in LINEAR:
        return as_stream(low, node, value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Combined) for v in value):
        return type(value)(opened(low, node, "", v) for v in value)
    return value


def as_stream(low: Lowering, node: Node, value: Combined) -> Stream:
    """A sum of parameters as a stream."""
    from .joins import add, times

    out: Value = None
    for w, a in value.terms:
        if out is not None and a == 1:
            out = add(low, node, out, w)
            continue
        s = times(low, node, source(low, node, w), a)
        out = s if out is None else add(low, node, out, s)
    assert isinstance(out, Stream)
    return out


def distributed(low: Lowering, node: Node, value: Combined, call: Callable[[Weight], Value]) -> Value:
    """The sum of what a call that is linear in a parameter makes of the terms of a sum."""
    from .joins import add, times

    out: Value = None
    for w, a in value.terms:
        y = call(w)
        if not isinstance(y, Stream):
            raise NotUnderstood("a sum of parameters is used in an unusual way")
        y = times(low, node, y, a)
        out = y if out is None else add(low, node, out, y)
    return out
