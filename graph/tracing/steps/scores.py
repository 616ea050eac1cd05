"""Scores of attention: products of queries and keys, and what is done to them before they are weights."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.fx import Node

from ..arrange import each_repeated, facing
from ..context import Context
from ..layout import COPIES, Atom, Dim, Dims, size
from ..purity import name_of
from ..sources import source
from ..values import Bias, Data, Fixed, NotUnderstood, Rows, Scores, Stream, Value, Weight, number
from .temperature import computed_bias, temperature

SMALL = -1e29  # what is added to hide a key
LOW = -1e4  # what a score is replaced by to hide a key: its weight is 0 in every type of numbers


def product(low: Context, node: Node, a: Value, b: Value) -> Value:
    """`a b` for queries a and transposed keys b.

    Raises:
        NotUnderstood: if they are not that.
    """
    if not isinstance(a, (Stream, Data)) or not isinstance(b, (Stream, Data)):
        raise NotUnderstood("a product of tensors that are no features of streams")
    if isinstance(a, Data) and isinstance(b, Data):
        raise NotUnderstood("a product of inputs")
    q, k = low.stream(a, node, False), low.stream(b, node, False)
    k = k.arranged((*k.dims[:-2], k.dims[-1], k.dims[-2]))
    if leads_to_softmax(node):
        q, k = facing(low, node, q, -1), facing(low, node, k, -1)
    for s in (q, k):
        own, every = s.dims[-1], s.feature_atoms
        if not own or any(x.axis != s.feature_axis for x in own) or own != every[-len(own) :]:
            raise NotUnderstood("a product of two streams over something that is no head")
    heads = heads_of(q)
    if size(heads) * size(q.dims[-1]) != q.signal.features or len(q.dims) < 3:
        raise NotUnderstood("queries whose features are not all there")
    return Scores(q=q, k=k, dims=scored(q, k))


def leads_to_softmax(node: Node) -> bool:
    """Whether a softmax reads a product of two tensors, after what is done to scores before."""
    steps = {
        "mul",
        "div",
        "add",
        "sub",
        "masked_fill",
        "where",
        "to",
        "_to_copy",
        "clone",
        "view",
        "reshape",
        "unsqueeze",
    }
    for _ in range(8):
        names = {name_of(user) for user in node.users}
        if names & {"softmax", "_softmax"}:
            return True
        following = [user for user in node.users if name_of(user) in steps]
        if not following:
            return False
        node = following[0]
    return False


def heads_of(s: Stream) -> Dim:
    """The feature atoms outside of the last dimension."""
    return tuple(a for d in s.dims[:-1] for a in d if a.axis in (s.feature_axis,))


def scored(q: Stream, k: Stream) -> Dims:
    """Dimensions of scores, in the axes 0: batch and windows, 1: heads, 2: queries, 3: keys."""
    n, m = q.shape[-2], k.shape[-2]
    heads = size(heads_of(q))
    batch = size(tuple(x for d in q.dims[:-2] for x in d if x.axis != q.feature_axis))
    out: list[Dim] = []
    left_b, left_h = batch, heads
    for d in q.dims[:-2]:
        atoms: list[Atom] = []
        for a in d:
            if a.axis == q.feature_axis:
                left_h //= a.size
                atoms.append(Atom(1, a.size, left_h))
            else:
                left_b //= a.size
                atoms.append(Atom(0, a.size, left_b))
        out.append(tuple(atoms))
    return (*out, (Atom(2, n),) if n > 1 else (), (Atom(3, m),) if m > 1 else ())


def order_of(scores: Scores) -> list[int]:
    """Where the dimensions of scores stand in their natural order: batch and windows, heads, queries, keys.

    Raises:
        NotUnderstood: if they are more than put in another order.
    """
    natural = scored(scores.q, scores.k)
    left = list(range(len(natural)))
    order = []
    for d in scores.dims:
        found = next((i for i in left if natural[i] == d), None)
        if found is None:
            raise NotUnderstood("scores of attention are cut or joined")
        left.remove(found)
        order.append(found)
    if left:
        raise NotUnderstood("scores of attention are cut or joined")
    return order


def with_bias(scores: Scores, bias: Bias) -> Scores:
    """Scores with one more sum."""
    return replace(scores, biases=(*scores.biases, bias))


def hidden_keys(scores: Scores, mask: Value, fill: float | None, hides: bool) -> Scores | None:
    """Scores of which a mask of booleans replaces some by a number that hides these keys.

    Args:
        scores: the scores.
        mask: the mask.
        fill: the number.
        hides: whether the mask is true where it is put.

    Returns:
        None for numbers that hide nothing.
    """
    weights = fill == 0 and (scores.done or scores.plain or scores.factors)
    if weights and isinstance(mask, Fixed) and mask.known:
        return _weighed(scores, (mask.tensor != hides).to(torch.float64))
    if fill is None or fill > LOW or scores.done or scores.factors:
        return None
    if isinstance(mask, Data):
        return with_bias(scores, Bias(data=mask, hides=hides))
    if isinstance(mask, Fixed) and mask.known:
        t = torch.zeros(mask.tensor.shape).masked_fill(mask.tensor == hides, -math.inf)
        return with_bias(scores, Bias(fixed=fixed_bias(scores, t)))
    return None


def scaled(low: Context, node: Node, scores: Scores, other: Value) -> Value:
    """Scores times a number, before anything is added."""
    c = number(other)
    warmed = None if scores.done or c is not None else temperature(low, node, scores)
    if warmed is not None:
        return warmed
    factor = (
        torch.tensor(c, dtype=torch.float64) if c is not None else other.tensor if isinstance(other, Fixed) else None
    )
    if scores.done or c is None:
        return _weighed(scores, factor)
    if any(b.fixed is None or not bool(((b.fixed == 0) | (b.fixed == -math.inf)).all()) for b in scores.biases):
        raise NotUnderstood("scores of attention are scaled after a sum")
    return replace(scores, scale=scores.scale * c, cap=scores.cap * c)


def _weighed(scores: Scores, factor: torch.Tensor | None) -> Scores:
    """Weights times fixed numbers, or scores that are the weights themselves.

    Raises:
        NotUnderstood: for factors that depend on something, and for scores that are no weights yet.
    """
    if factor is None or factor.device.type == "meta" or not (scores.done or not (scores.biases or scores.cap)):
        raise NotUnderstood("scores of attention are multiplied by something that is no number")
    t = fixed_bias(scores, factor.to(torch.float64))
    if t.shape[0] > 1:
        raise NotUnderstood("weights of attention are multiplied by numbers that differ between windows")
    return replace(scores, factors=(*scores.factors, t[0]))


def on_scores(low: Context, node: Node, scores: Scores) -> Value:
    """A function of single scores: a soft cap, or weights without softmax."""
    name = str(node.target).split(".")[1]
    if scores.factors:
        raise NotUnderstood("a function of weights of attention")
    if name == "tanh" and not scores.biases and not scores.cap:
        return replace(scores, cap=1.0)
    if name in ("relu", "sigmoid") and not scores.done and not scores.biases:
        return replace(scores, done=name)
    raise NotUnderstood(f"{name} of the scores of attention")


def biased(low: Context, node: Node, scores: Scores, other: Value, alpha: float) -> Value:
    """Scores plus a mask or a bias."""
    if alpha != 1 or scores.done or scores.factors:
        raise NotUnderstood("a sum with the weights of attention")
    return masked(low, node, scores, other)


def masked(low: Context, node: Node, scores: Scores, mask: Value) -> Scores:
    """Scores with a mask: of booleans (what is seen) or of numbers."""
    if isinstance(mask, (int, float)):
        return scores if mask == 0 else with_bias(scores, Bias(fixed=torch.tensor(float(mask))))
    if isinstance(mask, Fixed):
        t = mask.tensor
        if t.dtype == torch.bool:
            t = torch.zeros(t.shape).masked_fill(~t, -math.inf) if mask.known else torch.zeros(t.shape, device="meta")
        elif mask.known:
            t = t.masked_fill(t < SMALL, -math.inf)
        return with_bias(scores, Bias(fixed=fixed_bias(scores, t)))
    if isinstance(mask, Data):
        return with_bias(scores, Bias(data=mask))
    if isinstance(mask, (Stream, Weight)):
        return with_bias(scores, computed_bias(low, node, scores, mask))
    if isinstance(mask, Rows):
        for t in mask.masks:
            scores = with_bias(scores, Bias(fixed=fixed_bias(scores, t)))
        return with_bias(scores, _relative(low, node, scores, mask))
    raise NotUnderstood("scores of attention plus something that is computed")


def fixed_bias(scores: Scores, t: torch.Tensor) -> torch.Tensor:
    """A fixed bias as `(windows, heads, queries, keys)`, each of its full length or 1.

    Raises:
        NotUnderstood: if it differs between examples.
    """
    rank = len(scores.dims)
    if t.ndim > rank:
        t = t.reshape(tuple(t.shape)[t.ndim - rank :])
    t = t.reshape((1,) * (rank - t.ndim) + tuple(t.shape))
    every: list[Dim] = []
    apart: list[int] = []
    for n, d in zip(t.shape, scores.dims[:-2], strict=False):  # one axis may hold examples and heads together
        both = n > 1 and len({a.axis == 0 for a in d}) > 1 and math.prod(a.size for a in d) == n
        every += [(a,) for a in d] if both else [d]
        apart += [a.size for a in d] if both else [n]
    t = t.reshape(*apart, *t.shape[-2:])
    known = t.device.type != "meta"
    windows = 1
    lead: list[int] = []
    for i, d in enumerate(every):
        if t.shape[i] == 1:
            continue
        if all(a.axis == 1 for a in d):
            lead.append(i)
        elif all(a.axis == 0 for a in d) and known and bool((t == t.select(i, 0).unsqueeze(i)).all()):
            t = t.narrow(i, 0, 1)
        elif all(a.axis == 0 for a in d) and not known:
            t = t.narrow(i, 0, 1)
        elif all(a.axis == 0 for a in d):
            # windows inside of an example: the inner atoms of the batch and windows
            inner = t.shape[i]
            whole = math.prod(a.size for e in scores.dims[:-2] for a in e if a.axis == 0)
            if d[-1].stride != 1 or whole % inner:
                raise NotUnderstood("a mask that differs between examples")
            windows = inner
            lead.insert(0, i)
        else:
            raise NotUnderstood("a mask over batch and heads together")
    heads = math.prod(t.shape[i] for i in lead) // windows
    return t.reshape(windows, heads, *t.shape[-2:])


def _relative(low: Context, node: Node, scores: Scores, rows: Rows) -> Bias:
    """Biases that rows of a table give to pairs of positions."""
    atoms = [a for d in rows.dims for a in d if a.axis != COPIES]
    pairs = [a for d in rows.dims[-2:] for a in d]
    heads = [a for a in atoms if a.axis == 1]
    if any(a.axis != 0 for a in pairs) or len(pairs) > 2 or math.prod(a.size for a in pairs) != rows.index.numel():
        raise NotUnderstood("relative biases that are no table over pairs of positions")
    many, wide = size(heads_of(scores.q)), rows.weight.shape[1]
    if math.prod(a.size for a in heads) != wide or wide not in (1, many):
        raise NotUnderstood("relative biases for some heads only")
    n, m = scores.shape[-2:]
    index = rows.index.reshape(-1)
    strides = [a.stride for a in pairs]
    if strides != sorted(strides, reverse=True):
        raise NotUnderstood("relative biases of keys and queries in the other order")
    table = each_repeated(low, node, source(low, node, rows.weight), many if wide < many else 1)
    return Bias(table=table, rows=index.reshape(n, m))


def softmaxed(low: Context, node: Node, scores: Scores, dim: int) -> Value:
    """Softmax over the keys."""
    if scores.done or scores.factors or (scores.dims[dim] != (Atom(3, scores.shape[dim]),) and scores.shape[dim] > 1):
        raise NotUnderstood("a softmax of scores over something that is no key")
    return replace(scores, done="softmax")
