"""Calls whose value is known without running the network: folded numbers, fills of a shape, states of zeros."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node

from .context import names_of
from .felt import MAKERS
from .values import Data, Fixed, Lazy, Stream, Value, Weight


def tensors_of(values: Sequence[Any]) -> list[Any]:
    """The tensors among some arguments, as what they stand for."""
    found: list[Any] = []
    for v in values:
        if isinstance(v, (list, tuple)):
            found += tensors_of(v)
        elif isinstance(v, (Stream, Weight, Fixed, Data, Lazy)):
            found.append(v)
    return found


def filled(node: Node, kwargs: Mapping[str, Any]) -> Fixed | None:
    """What a call makes of the shape of a tensor alone: zeros, ones, or one number everywhere."""
    name = names_of(node)[1]
    example = node.meta.get("val")
    if name not in MAKERS or not isinstance(example, torch.Tensor):
        return None
    dtype = torch.float64 if example.is_floating_point() else example.dtype
    value = MAKERS[name]
    if value is None:
        value = kwargs.get("fill_value", node.args[-1])
        if not isinstance(value, (int, float, bool)):
            return None
    return Fixed(torch.full(tuple(int(n) for n in example.shape), value, dtype=dtype))


def by_zeros(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value | None:
    """A product with zeros, a sum with zeros of no other shape, a gain of ones; None for all else.

    Loops start from states of zeros, and gains that were folded are ones.
    """
    name, example = names_of(node)[1], node.meta.get("val")
    zeros = [isinstance(a, Fixed) and a.known and a.tensor.is_floating_point() and not a.tensor.any() for a in args]
    if len(args) != 2 or kwargs or not isinstance(example, torch.Tensor):
        return None
    gains = [isinstance(a, Fixed) and a.known and a.tensor.ndim == 1 and bool((a.tensor == 1).all()) for a in args]
    if name == "mul" and sum(gains) == 1 and isinstance(args[gains.index(False)], Stream):
        streamed: Stream = args[gains.index(False)]
        return streamed if streamed.shape == tuple(int(n) for n in example.shape) else None
    if sum(zeros) != 1:
        return None
    other = args[zeros.index(False)]
    if name in ("mul", "matmul", "mm", "bmm"):
        return Fixed(torch.zeros(tuple(int(n) for n in example.shape), dtype=torch.float64))
    if name == "add" and isinstance(other, Stream) and other.shape == tuple(int(n) for n in example.shape):
        return other
    return None


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Fixed):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(v, change) for v in value)
    return value


def _wrapped(value: Any) -> Value:
    if isinstance(value, torch.Tensor):
        return Fixed(value)
    if isinstance(value, (list, tuple)):
        return tuple(_wrapped(v) for v in value)
    return value


def folded(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Value:
    """The value of a call that depends on nothing."""
    fixed = [v.tensor for v in tensors_of((*args, *kwargs.values()))]
    plain = [_mapped(a, lambda v: v.tensor) for a in args]
    named = {k: _mapped(v, lambda t: t.tensor) for k, v in kwargs.items()}
    if "device" in named:
        named["device"] = "cpu"
    try:
        out = node.target(*plain, **named)  # type: ignore[operator]
    except (RuntimeError, NotImplementedError, TypeError):
        if not fixed:
            raise
        meta = [_mapped(a, lambda v: v.tensor.to("meta")) for a in args]
        named = {k: _mapped(v, lambda t: t.tensor.to("meta")) for k, v in kwargs.items()}
        if "device" in named:
            named["device"] = "meta"
        out = node.target(*meta, **named)  # type: ignore[operator]
    return _wrapped(out)
