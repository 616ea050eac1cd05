"""Sums and products of whatever a call may hold: streams, parameters, numbers, scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.fx import Node

from lawful.blocks import Add, AddNumbers, Numbers, Product, Scale, TimesNumbers

from ..context import Context
from ..sources import source
from ..values import Combined, Data, Fixed, Moved, NotUnderstood, Rows, Scores, Stream, Value, Weight, number
from .broadcast import expanded, joined, one_for_all, plus_parameter, times_parameter, times_parameters, with_numbers
from .features import along_features
from .formed import Formed
from .norms import written_out
from .parameters import combined
from .pointwise import Positive, gated
from .rotary import rotated
from .scores import biased, scaled, scored


def add(low: Context, node: Node, a: Value, b: Value, alpha: float = 1) -> Value:
    """`a + alpha b`."""
    if isinstance(a, Scores) or isinstance(b, Scores):
        return biased(low, node, a, b, alpha) if isinstance(a, Scores) else biased(low, node, b, a, 1)
    if alpha != 1:
        b = mul(low, node, b, alpha)
    if not isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        a, b = b, a
    b = one_for_all(a, b) if isinstance(b, Fixed) else b
    if (c := number(b)) is not None:
        return plus(low, node, a, c)
    if isinstance(a, Fixed) and isinstance(b, Rows):
        a, b = b, a
    if isinstance(a, Rows) and isinstance(b, Fixed):
        return replace(a, masks=(*a.masks, b.tensor))
    turned = rotated(low, node)
    if turned is not None:
        return turned
    if isinstance(b, Fixed):
        return with_numbers(low, node, low.stream(a, node), b, AddNumbers)
    if isinstance(a, (Weight, Combined)) and isinstance(b, (Weight, Combined)):
        both = combined((a, 1.0), (b, 1.0))
        if both is not None:
            return both
        a = as_stream(low, node, a) if isinstance(a, Combined) else a
    if isinstance(b, Weight):
        return plus_parameter(low, node, low.stream(a, node, _first(b)), b)
    if isinstance(b, Combined):
        for w, c in b.terms:
            a = add(low, node, a, w if c == 1 else times(low, node, _beside(low, node, a, w), c))
        return a
    if isinstance(a, (Weight, Rows)) and isinstance(b, (Weight, Rows)):
        raise NotUnderstood("a sum of parameters")
    return joined(low, node, Add(), a, b)


def _beside(low: Context, node: Node, a: Value, w: Weight) -> Stream:
    """A parameter as a stream whose features are those of what it is added to (those of an image stand first)."""
    feature = [i - len(a.dims) for i in a.feature_dims] if isinstance(a, Stream) else []
    known = len(feature) == 1 and len(w.dims) + feature[0] >= 0
    return source(low, node, w, len(w.dims) + feature[0] if known else -1)


def plus(low: Context, node: Node, a: Value, c: float) -> Value:
    """`a + c` for a number."""
    if c == 0:
        return a
    a = as_stream(low, node, a) if isinstance(a, Combined) else a
    if isinstance(a, Weight):
        return Moved(weight=a, offset=c)
    s = low.stream(a, node)
    table = torch.full((1,) * len(s.signal.shape), c, dtype=torch.float64)
    (y,) = low.emit(node, AddNumbers(Numbers(table)), [s], label="add")
    return y.arranged(s.dims)


def _first(w: Weight) -> bool | None:
    """Whether a parameter that is added to an image speaks of channels first."""
    return True if len(w.shape) in (3, 4) and all(n == 1 for n in w.shape[-2:]) else None


def mul(low: Context, node: Node, a: Value, b: Value) -> Value:
    """`a b`."""
    if isinstance(a, Scores) or isinstance(b, Scores):
        scores, other = (a, b) if isinstance(a, Scores) else (b, a)
        try:
            return scaled(low, node, scores, other)
        except NotUnderstood:
            return _on_queries(low, node, scores, other)
    if not isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        a, b = b, a
    b = one_for_all(a, b) if isinstance(b, Fixed) else b
    a, b = (b, a) if isinstance(a, Fixed) and isinstance(b, Weight) else (a, b)
    if isinstance(a, (Weight, Stream)) and isinstance(b, Fixed) and b.known and bool((b.tensor == 1).all()):
        return expanded(a, [int(n) for n in node.meta["val"].shape])  # `ones_like(x) * w`
    if isinstance(b, Positive) and (gate := gated(low, node, a, b)) is not None:
        return gate
    if (c := number(b)) is not None:
        return times(low, node, a, c)
    if str(node.target).startswith("aten.mul") and isinstance(a, Stream):
        found = written_out(low, node)
        if found is not None:
            return found
    if isinstance(b, Fixed):
        return with_numbers(low, node, low.stream(a, node), b, TimesNumbers)
    if isinstance(b, Weight):
        return times_parameter(low, node, low.stream(a, node, _first(b)), b, 0.0)
    if isinstance(b, Combined) and not isinstance(a, (Weight, Combined)):
        return distributed(low, node, b, lambda w: mul(low, node, a, w))
    a, b = (as_stream(low, node, v) if isinstance(v, Combined) else v for v in (a, b))
    if isinstance(a, Stream) and isinstance(b, Formed) and len(b.shape) == 1 and along_features(a, len(a.dims) - 1):
        try:
            return times_parameters(low, node, a, b, len(a.dims) - 1)
        except NotUnderstood:
            pass
    if isinstance(b, Moved):
        return times_parameter(low, node, low.stream(a, node, _first(b.weight)), b.weight, b.offset)
    return joined(low, node, Product(), a, b)


def _on_queries(low: Context, node: Node, scores: Scores, other: Value) -> Scores:
    """Scores times what is the same for all keys, as a factor of the queries.

    Raises:
        NotUnderstood: for any other factor, and for scores that are weights already.
    """
    natural = scores.plain and scores.dims == scored(scores.q, scores.k)
    if not natural or not isinstance(other, (Weight, Stream)) or (other.shape and other.shape[-1] > 1):
        raise NotUnderstood("scores of attention are multiplied by something that is no number")
    q = joined(low, node, Product(), scores.q, low.stream(other, node))
    if scored(q, scores.k) != scores.dims:
        raise NotUnderstood("queries that are cut by their factor")
    return replace(scores, q=q)


def times(low: Context, node: Node, a: Value, c: float) -> Value:
    """`c a` for a number."""
    if c == 1:
        return a
    if c == 0 or not math.isfinite(c):
        raise NotUnderstood(f"a product with {c}")
    if isinstance(a, (Weight, Combined)):
        return combined((a, c))
    s = low.stream(a, node)
    (y,) = low.emit(node, Scale(c), [s], label="scale")
    return y.arranged(s.dims)


def as_stream(low: Context, node: Node, value: Combined) -> Stream:
    """A sum of parameters as a stream."""
    out: Value = None
    for w, a in value.terms:
        if out is not None and a == 1:
            out = add(low, node, out, w)
            continue
        s = times(low, node, low.stream(w, node), a)
        out = s if out is None else add(low, node, out, s)
    assert isinstance(out, Stream)
    return out


def distributed(low: Context, node: Node, value: Combined, call: Callable[[Weight], Value]) -> Value:
    """The sum of what a call that is linear in a parameter makes of the terms of a sum."""
    out: Value = None
    for w, a in value.terms:
        y = call(w)
        if not isinstance(y, Stream):
            raise NotUnderstood("a sum of parameters is used in an unusual way")
        y = times(low, node, y, a)
        out = y if out is None else add(low, node, out, y)
    return out
