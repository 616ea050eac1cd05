"""Contractions written as `einsum`: maps by a parameter, scores of attention, values mixed by its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from ..context import Context, handles
from ..layout import Dims, view
from ..steps.attention import mixed
from ..steps.maps import dense
from ..steps.scores import product
from ..steps.side_by_side import every_expert, stacked, summed_stack, weighed_sum
from ..values import Data, NotUnderstood, Scores, Stream, Value, Weight


@handles("einsum")
def einsum(low: Context, node: Node, equation: str, operands: Sequence[Value], **options: object) -> Value:
    """A contraction of two tensors.

    Raises:
        NotUnderstood: for more tensors, diagonals, and contractions that are neither a map nor attention.
    """
    left, _, out = equation.replace(" ", "").partition("->")
    names = left.split(",")
    if len(operands) != 2 or not out or "." in equation or any(len(set(n)) < len(n) for n in (*names, out)):
        raise NotUnderstood(f"the contraction {equation}")
    (a, b), (i, j) = operands, names
    if isinstance(a, Weight) or (isinstance(b, Scores) and not isinstance(a, Scores)):
        (a, b), (i, j) = (b, a), (j, i)
    gone = [k for k in i if k in j and k not in out]
    if not gone or any(k not in out and k not in gone for k in (*i, *j)):
        raise NotUnderstood(f"the contraction {equation}")
    if isinstance(b, Weight) and isinstance(a, (Stream, Data)):
        return _map(low, node, a, b, i, j, out, gone)
    summed = _weighed(low, node, a, b, i, j, out, gone)
    if summed is not None:
        return summed
    if isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        return _scores(low, node, a, b, i, j, out, gone)
    if isinstance(a, Scores) and a.done:
        return _mix(low, node, a, b, i, j, out, gone)
    raise NotUnderstood(f"the contraction {equation}")


def _sorted(dims: Dims, names: str, wanted: str) -> Dims:
    """The dimensions in another order."""
    return tuple(dims[names.index(k)] for k in wanted)


def _map(low: Context, node: Node, a: Stream | Data, w: Weight, i: str, j: str, out: str, gone: list[str]) -> Value:
    """A linear map: what is contracted are the features, what only the parameter has is new."""
    new = [k for k in j if k not in gone]
    if any(k in i for k in new):
        return _by_experts(low, node, a, w, i, j, out, gone)
    x = low.stream(a, node, channels_first=False)
    kept = [k for k in i if k not in gone]
    inner = "".join(gone)
    lengths = {k: n for names, v in ((i, x), (j, w)) for k, n in zip(names, v.shape, strict=True)}
    wide = math.prod(lengths[k] for k in gone)
    flat = view(_sorted(x.dims, i, "".join(kept) + inner), [*(lengths[k] for k in kept), wide])
    rows = math.prod(lengths[k] for k in new)
    matrix = w.arranged(view(_sorted(w.dims, j, "".join(new) + inner), [rows, wide]))
    y = dense(low, node, x.arranged(flat), matrix, None, out=0, inn=1)
    cut = view(y.dims, [*(lengths[k] for k in kept), *(lengths[k] for k in new)])
    return y.arranged(_sorted(cut, "".join([*kept, *new]), out))


def _by_experts(
    low: Context, node: Node, a: Stream | Data, w: Weight, i: str, j: str, out: str, gone: list[str]
) -> Value:
    """A map of its own for every expert."""
    shared, new = [k for k in j if k in i and k not in gone], [k for k in j if k not in i]
    if len(shared) != 1 or len(new) != 1 or len(gone) != 1:
        raise NotUnderstood("a map of its own for every position or head")
    x = low.stream(a, node, channels_first=False)
    rest = "".join(k for k in i if k not in (*shared, *gone))
    given = x.arranged(_sorted(x.dims, i, shared[0] + rest + gone[0]))
    matrices = w.arranged(_sorted(w.dims, j, shared[0] + gone[0] + new[0]))
    y = every_expert(low, node, given, matrices, inn=1, out=2)
    return y.arranged(_sorted(y.dims, shared[0] + rest + new[0], out))


def _weighed(low: Context, node: Node, a: Value, b: Value, i: str, j: str, out: str, gone: list[str]) -> Value:
    """What experts give, summed with their weights; None for anything else."""
    if len(gone) != 1 or not isinstance(a, Stream) or not isinstance(b, Stream):
        return None
    whole: Any = node.args[1]
    sources = list(whole)
    if len(j) > len(i):
        (a, b), (i, j) = (b, a), (j, i)
        sources.reverse()
    sources = sources if low.env.get(sources[0]) is a else sources[::-1]
    if set(out) | set(gone) != set(i) or not set(j) <= set(i):
        return None
    values = a.arranged(_sorted(a.dims, i, out + gone[0]))
    weights = b.arranged(tuple(b.dims[j.index(k)] if k in j else () for k in out + gone[0]))
    parts = stacked(low, sources[0], i.index(gone[0]))
    if parts:
        kept = i.replace(gone[0], "")
        return summed_stack(low, node, [p.arranged(_sorted(p.dims, kept, out)) for p in parts], weights, len(out))
    return weighed_sum(low, node, values, weights, len(out))


def _scores(
    low: Context, node: Node, a: Stream | Data, b: Stream | Data, i: str, j: str, out: str, gone: list[str]
) -> Value:
    """Queries with keys: one dimension is contracted, one of each side is left, all others are shared."""
    own, other = [k for k in i if k not in j], [k for k in j if k not in i]
    if len(gone) != 1 or len(own) != 1 or len(other) != 1 or isinstance(a, Data) or isinstance(b, Data):
        raise NotUnderstood("a product of two streams that is no attention")
    lead = "".join(k for k in out if k in i and k in j)
    q = a.arranged(_sorted(a.dims, i, lead + own[0] + gone[0]))
    k = b.arranged(_sorted(b.dims, j, lead + gone[0] + other[0]))
    s = product(low, node, q, k)
    return s.arranged(_sorted(s.dims, lead + own[0] + other[0], out))


def _mix(low: Context, node: Node, a: Scores, b: Value, i: str, j: str, out: str, gone: list[str]) -> Value:
    """Values mixed by the weights of attention."""
    if len(gone) != 1:
        raise NotUnderstood("weights of attention that are contracted twice")
    lead = "".join(k for k in i if k in j and k != gone[0])
    rows = [k for k in i if k not in j]
    features = [k for k in j if k not in i]
    if len(rows) != 1 or len(features) != 1:
        raise NotUnderstood("weights of attention with other dimensions")
    weights = a.arranged(_sorted(a.dims, i, lead + rows[0] + gone[0]))
    v = low.stream(b, node, channels_first=False)
    y = mixed(low, node, weights, v.arranged(_sorted(v.dims, j, lead + gone[0] + features[0])))
    return y.arranged(_sorted(y.dims, lead + rows[0] + features[0], out))
