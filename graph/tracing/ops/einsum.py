"""Contractions written as `einsum`: maps by a parameter, scores of attention, values mixed by its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from ..context import Context, handles
from ..layout import COPIES, Atom, Dim, Dims, Tangled, size, view
from ..steps.attention import mixed
from ..steps.contraction import mixed_positions, reordered_dims, same_order, spelled, summed_alone, written_product
from ..steps.maps import dense
from ..steps.scores import product
from ..steps.selected import chosen_rows
from ..steps.side_by_side import every_expert, stacked, summed_stack, weighed_sum
from ..values import Data, Fixed, NotUnderstood, Scores, Stream, Value, Weight


@handles("einsum")
def einsum(low: Context, node: Node, equation: str, operands: Sequence[Value], **options: object) -> Value:
    """A contraction of any number of tensors, two by two from the left.

    Raises:
        NotUnderstood: for diagonals, and where no rule covers one of the steps.
    """
    if any(isinstance(v, Fixed) for v in operands) and (rows := chosen_rows(low, node)) is not None:
        return rows
    names, out = spelled(equation, [len(v.shape) for v in operands])
    values = list(operands)
    for k, letters in enumerate(names):
        if len(values) > 1:
            values[k], names[k] = summed_alone(low, node, values[k], letters, out + "".join(names[:k] + names[k + 1 :]))
    if len(values) == 1:
        return same_order(low, node, values[0], names[0], out)
    y, letters, alone = values[0], names[0], len(values) == 2
    for k in range(1, len(values)):
        left = out + "".join(names[k + 1 :])
        kept = "".join(c for c in dict.fromkeys(letters + names[k]) if c in left) if k < len(values) - 1 else out
        y, letters = _pair(low, node, y, values[k], letters, names[k], kept, alone), kept
    return y


def _pair(low: Context, node: Node, a: Value, b: Value, i: str, j: str, out: str, alone: bool) -> Value:
    """A contraction of two tensors.

    Args:
        low: the program.
        node: the call.
        a: a tensor.
        b: another one.
        i: letters of the first.
        j: letters of the second.
        out: letters of the result.
        alone: whether these two are all that the call reads.
    """
    if isinstance(a, Weight) or (isinstance(b, Scores) and not isinstance(a, Scores)):
        (a, b), (i, j) = (b, a), (j, i)
    gone = [k for k in i if k in j and k not in out]
    if not gone:
        return written_product(low, node, a, b, (i, j), out)
    try:
        return _contracted(low, node, a, b, i, j, out, gone, alone)
    except NotUnderstood as error:
        for step in (mixed_positions, written_product):
            try:
                return step(low, node, a, b, (i, j), out)
            except (NotUnderstood, Tangled):
                continue
        raise error from None


def _contracted(
    low: Context, node: Node, a: Value, b: Value, i: str, j: str, out: str, gone: list[str], alone: bool
) -> Value:
    """A map by a parameter, scores of attention, values mixed by its weights, or a sum over experts."""
    if isinstance(b, Weight) and isinstance(a, (Stream, Data)):
        return _map(low, node, a, b, i, j, out, gone)
    summed = _weighed(low, node, a, b, i, j, out, gone) if alone else None
    if summed is not None:
        return summed
    if isinstance(a, (Stream, Data)) and isinstance(b, (Stream, Data)):
        return _scores(low, node, a, b, i, j, out, gone)
    if isinstance(a, Scores) and a.done:
        return _mix(low, node, a, b, i, j, out, gone)
    raise NotUnderstood(f"the contraction {i},{j}->{out}")


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
    flat = view(reordered_dims(x.dims, i, "".join(kept) + inner), [*(lengths[k] for k in kept), wide])
    rows = math.prod(lengths[k] for k in new)
    matrix = w.arranged(view(reordered_dims(w.dims, j, "".join(new) + inner), [rows, wide]))
    y = dense(low, node, x.arranged(flat), matrix, None, out=0, inn=1)
    cut = view(y.dims, [*(lengths[k] for k in kept), *(lengths[k] for k in new)])
    return y.arranged(reordered_dims(cut, "".join([*kept, *new]), out))


def _by_experts(
    low: Context, node: Node, a: Stream | Data, w: Weight, i: str, j: str, out: str, gone: list[str]
) -> Value:
    """A map of its own for every expert."""
    shared, new = [k for k in j if k in i and k not in gone], [k for k in j if k not in i]
    if len(shared) != 1 or len(new) != 1 or len(gone) != 1:
        raise NotUnderstood("a map of its own for every position or head")
    x = low.stream(a, node, channels_first=False)
    rest = "".join(k for k in i if k not in (*shared, *gone))
    given = x.arranged(reordered_dims(x.dims, i, shared[0] + rest + gone[0]))
    matrices = w.arranged(reordered_dims(w.dims, j, shared[0] + gone[0] + new[0]))
    y = every_expert(low, node, given, matrices, inn=1, out=2)
    return y.arranged(reordered_dims(y.dims, shared[0] + rest + new[0], out))


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
    values = a.arranged(reordered_dims(a.dims, i, out + gone[0]))
    weights = b.arranged(tuple(b.dims[j.index(k)] if k in j else () for k in out + gone[0]))
    parts = stacked(low, sources[0], i.index(gone[0]))
    if parts:
        kept = i.replace(gone[0], "")
        return summed_stack(
            low, node, [p.arranged(reordered_dims(p.dims, kept, out)) for p in parts], weights, len(out)
        )
    return weighed_sum(low, node, values, weights, len(out))


def _scores(
    low: Context, node: Node, a: Stream | Data, b: Stream | Data, i: str, j: str, out: str, gone: list[str]
) -> Value:
    """Queries with keys: one dimension is contracted, one of each side is left, all others are shared.

    One head of keys may serve all heads of queries, which have an axis more then.
    """
    own, other = [k for k in i if k not in j], [k for k in j if k not in i]
    if len(gone) != 1 or len(own) not in (1, 2) or len(other) != 1 or isinstance(a, Data) or isinstance(b, Data):
        raise NotUnderstood("a product of two streams that is no attention")
    if len(own) == 2:
        b, j, own = _for_all_heads(a.dims, b, i, j, own, a.feature_axis)
    lead = "".join(k for k in out if k in i and k in j)
    q = a.arranged(reordered_dims(a.dims, i, lead + own[0] + gone[0]))
    k = b.arranged(reordered_dims(b.dims, j, lead + gone[0] + other[0]))
    s = product(low, node, q, k)
    return s.arranged(reordered_dims(s.dims, lead + own[0] + other[0], out))


def _for_all_heads(dims: Dims, b: Stream, i: str, j: str, own: list[str], axis: int) -> tuple[Stream, str, list[str]]:
    """One head of keys or values as copies of it, one for every head of the other side.

    Args:
        dims: of the other side.
        b: the one head.
        i: letters of the other side.
        j: letters of the one head.
        own: the letters that only the other side has.
        axis: the axis of the atoms that are heads.

    Returns:
        The copies, their letters, and the letters that only the other side has now.

    Raises:
        NotUnderstood: unless one of these letters is that of heads.
    """
    heads = [k for k in own if dims[i.index(k)] and all(a.axis == axis for a in dims[i.index(k)])]
    if len(heads) != 1:
        raise NotUnderstood("a product of two streams that is no attention")
    many: Dim = (Atom(COPIES, size(dims[i.index(heads[0])])),)
    return b.arranged((many, *b.dims)), heads[0] + j, [k for k in own if k not in heads]


def _mix(low: Context, node: Node, a: Scores, b: Value, i: str, j: str, out: str, gone: list[str]) -> Value:
    """Values mixed by the weights of attention."""
    if len(gone) != 1:
        raise NotUnderstood("weights of attention that are contracted twice")
    v = low.stream(b, node, channels_first=False)
    rows = [k for k in i if k not in j]
    if len(rows) == 2:
        v, j, rows = _for_all_heads(a.dims, v, i, j, rows, 1)
    lead = "".join(k for k in i if k in j and k != gone[0])
    features = [k for k in j if k not in i]
    if len(rows) != 1 or len(features) != 1:
        raise NotUnderstood("weights of attention with other dimensions")
    weights = a.arranged(reordered_dims(a.dims, i, lead + rows[0] + gone[0]))
    y = mixed(low, node, weights, v.arranged(reordered_dims(v.dims, j, lead + gone[0] + features[0])))
    return y.arranged(reordered_dims(y.dims, lead + rows[0] + features[0], out))
