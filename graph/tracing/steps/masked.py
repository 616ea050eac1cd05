"""Choices between tensors by a mask made of the inputs alone: products with its zeros and ones, and their sum."""

from __future__ import annotations

import math

import torch
from torch.fx import Node

from ..computed import inserted
from ..context import Context
from ..purity import aten
from ..values import Data, NotUnderstood, Stream, Value, Weight, number
from .arithmetic import add, mul, times


def by_data(low: Context, node: Node, mask: Data, a: Value, b: Value) -> Value:
    """The entries of one tensor where a mask says so, and those of another one elsewhere.

    Args:
        low: the program.
        node: the call.
        mask: booleans that are made of the inputs.
        a: what is taken where the mask is true: a stream, a parameter, something made of the inputs, or a number.
        b: what is taken elsewhere.

    Raises:
        NotUnderstood: for infinite numbers, and for what no product is made with.
    """
    here = inserted(low, node, aten.to.dtype, mask.node, torch.float64)
    there = inserted(
        low, node, aten.to.dtype, inserted(low, node, aten.logical_not.default, mask.node).node, torch.float64
    )
    terms = [t for t in (_kept(low, node, a, here), _kept(low, node, b, there)) if t is not None]
    if not terms:
        raise NotUnderstood("a choice between zeros")
    out = terms[0] if len(terms) == 1 else add(low, node, *terms)
    if not isinstance(out, Stream) or out.shape != tuple(node.meta["val"].shape):
        raise NotUnderstood("a choice between tensors that are repeated")
    return out


def _kept(low: Context, node: Node, value: Value, ones: Data) -> Value | None:
    """A tensor where the mask is one, and zeros elsewhere; None for zeros everywhere."""
    if isinstance(value, (Stream, Weight)):
        return mul(low, node, value, ones)
    if isinstance(value, Data):
        return inserted(low, node, aten.mul.Tensor, value.node, ones.node)
    c = number(value)
    if c is None or not math.isfinite(c):
        raise NotUnderstood("a choice between two tensors")
    return times(low, node, ones, c) if c else None


__all__ = ["by_data"]
