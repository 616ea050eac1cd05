"""Attention: fused, or as products of its queries, keys and values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from ..context import Context, handles
from ..layout import COPIES, Atom, Tangled
from ..steps.arithmetic import as_stream
from ..steps.attention import mixed
from ..steps.contraction import any_product
from ..steps.formed import Formed
from ..steps.maps import dense
from ..steps.scores import masked, product, with_bias
from ..steps.shuffled import matched
from ..steps.side_by_side import every_expert
from ..steps.weighed import weighed
from ..values import Bias, Combined, Data, Fixed, NotUnderstood, Scores, Stream, Value, Weight


@handles("scaled_dot_product_attention")
def fused(
    low: Context,
    node: Node,
    q: Value,
    k: Value,
    v: Value,
    mask: Value = None,
    dropout: float = 0.0,
    causal: bool = False,
    *rest: Any,
    scale: float | None = None,
    enable_gqa: bool = False,
    **options: Any,
) -> Value:
    """Fused attention."""
    if enable_gqa:
        times = q.shape[-3] // k.shape[-3]
        k, v = (t.arranged((*t.dims[:-3], (*t.dims[-3], Atom(COPIES, times)), *t.dims[-2:])) for t in (k, v))
    dims = list(range(len(k.shape)))
    dims[-1], dims[-2] = dims[-2], dims[-1]
    q, k = matched(low, node, q, k.arranged(tuple(k.dims[i] for i in dims)))
    scores = product(low, node, q, k)
    if not isinstance(scores, Scores):
        raise NotUnderstood("attention whose queries and keys are no features")
    scores = replace(scores, scale=scale if scale is not None else q.shape[-1] ** -0.5)
    if causal:
        n, m = scores.shape[-2:]
        hidden = torch.ones(n, m, dtype=torch.bool).triu(1)
        scores = with_bias(scores, Bias(fixed=torch.zeros(n, m).masked_fill(hidden, -math.inf)))
    if mask is not None:
        scores = masked(low, node, scores, mask)
    blank = all(b.data is None for b in scores.biases)
    return mixed(low, node, replace(scores, done="softmax", dropout=dropout, blank=blank), v)


@handles("matmul", "bmm", "mm")
def matmul(low: Context, node: Node, a: Value, b: Value) -> Value:
    """A product of two tensors: a linear map, scores, or values mixed by weights."""
    a, b = matched(low, node, a, b)
    if isinstance(a, Combined) or (isinstance(b, Combined) and isinstance(a, (Scores, Weight))):
        a, b = (as_stream(low, node, v) if isinstance(v, Combined) else v for v in (a, b))
    if isinstance(b, (Weight, Combined, Formed)) and len(b.shape) == 2 and not isinstance(a, (Scores, Weight)):
        return dense(low, node, a, b, None, out=1, inn=0)
    if isinstance(b, Weight) and len(b.dims) == 3 and isinstance(a, (Stream, Data)) and len(a.shape) >= 3:
        return _every_matrix(low, node, a, b)
    if isinstance(a, Weight) and len(a.dims) == 2 and isinstance(b, Stream) and len(b.dims) == 3:
        y = dense(low, node, b.arranged((b.dims[0], b.dims[2], b.dims[1])), a, None, out=0, inn=1)
        return y.arranged((y.dims[0], y.dims[2], y.dims[1]))
    if isinstance(a, Scores) and not isinstance(b, (Scores, Weight)):
        return mixed(low, node, a, b)
    if isinstance(b, Scores) and b.done and isinstance(a, (Stream, Data)):  # `v^T a^T` is `(a v)^T`
        try:
            return _transposed(mixed(low, node, _transposed(b), _transposed(low.stream(a, node, channels_first=False))))
        except (NotUnderstood, Tangled):
            pass
    if isinstance(a, Fixed):
        return weighed(low, node, a, b)
    if isinstance(b, Fixed) and isinstance(a, Stream):
        return _turned_mix(low, node, b, a)
    if (
        isinstance(a, (Data, Stream))
        and isinstance(b, (Data, Stream))
        and not (isinstance(a, Data) and isinstance(b, Data))
    ):
        for step in (product, weighed) if a.shape[-1] > 1 else ():
            try:
                return step(low, node, a, b)
            except NotUnderstood:
                continue
        return any_product(low, node, a, b)
    return product(low, node, a, b)


def _transposed(value: Value) -> Value:
    """A value whose last two dimensions have changed places."""
    return value.arranged((*value.dims[:-2], value.dims[-1], value.dims[-2]))


def _every_matrix(low: Context, node: Node, a: Stream | Data, w: Weight) -> Value:
    """A matrix of its own for every index of the axis before the last two, whatever stands before it."""
    s = low.stream(a, node, channels_first=False)
    at = len(s.dims) - 3
    y = every_expert(low, node, s.arranged((s.dims[at], *s.dims[:at], *s.dims[at + 1 :])), w, inn=1, out=2)
    return y.arranged((*y.dims[1 : at + 1], y.dims[0], *y.dims[at + 1 :]))


def _turned_mix(low: Context, node: Node, b: Fixed, a: Stream) -> Value:
    """`x B` for numbers: a fixed map of the features, or of the positions of the transposed tensor."""
    if b.tensor.ndim == 2 and a.feature_dims == [len(a.dims) - 1]:
        return dense(low, node, a, b, None, out=1, inn=0)
    if b.tensor.ndim != 2 or len(a.dims) != 3:
        raise NotUnderstood("a product with numbers that mixes no positions alone")
    y = weighed(low, node, Fixed(b.tensor.t()), a.arranged((a.dims[0], a.dims[2], a.dims[1])))
    return y.arranged((y.dims[0], y.dims[2], y.dims[1]))


@handles("baddbmm")
def baddbmm(low: Context, node: Node, c: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1) -> Value:
    """Scores with a mask."""
    out = product(low, node, *matched(low, node, a, b))
    if not isinstance(out, Scores):
        raise NotUnderstood("a sum with a product of two tensors")
    out = replace(out, scale=out.scale * alpha)
    return out if beta == 0 else masked(low, node, out, c)
