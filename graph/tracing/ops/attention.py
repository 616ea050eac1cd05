"""Attention: fused, or as products, masks, softmax and products."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import DotProductAttention, Given, Numbers, Signal

from ..arrange import exact
from ..layout import COPIES, Atom, Dim, Dims, Tangled, shape, size, view
from ..lowering import Lowering, handles
from ..values import Bias, Combined, Data, Fixed, NotUnderstood, Rows, Scores, Stream, Value, Weight
from .combined import as_stream
from .formed import Formed
from .gates import Positive, chosen
from .maps import dense
from .temperature import computed_bias, temperature

LARGEST = 10**7  # numbers in the values that show the weights of attention
SMALL = -1e29  # what is added to hide a key


@handles("scaled_dot_product_attention")
def fused(
    low: Lowering,
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
    scores = product(low, node, q, k.arranged(tuple(k.dims[i] for i in dims)))
    if not isinstance(scores, Scores):
        raise NotUnderstood("attention whose queries and keys are no features")
    scores = replace(scores, scale=scale if scale is not None else q.shape[-1] ** -0.5)
    if causal:
        n, m = scores.shape[-2:]
        hidden = torch.ones(n, m, dtype=torch.bool).triu(1)
        scores = with_bias(scores, Bias(fixed=torch.zeros(n, m).masked_fill(hidden, -math.inf)))
    if mask is not None:
        scores = _masked(low, node, scores, mask)
    return mixed(low, node, replace(scores, done="softmax", dropout=dropout), v)


@handles("matmul", "bmm")
def matmul(low: Lowering, node: Node, a: Value, b: Value) -> Value:
    """A product of two tensors: a linear map, scores, or values mixed by weights."""
    if isinstance(a, Combined) or (isinstance(b, Combined) and isinstance(a, (Scores, Weight))):
        a, b = (as_stream(low, node, v) if isinstance(v, Combined) else v for v in (a, b))
    if isinstance(b, (Weight, Combined, Formed)) and len(b.shape) == 2 and not isinstance(a, (Scores, Weight)):
        return dense(low, node, a, b, None, out=1, inn=0)
    if isinstance(a, Weight) and len(a.dims) == 2 and isinstance(b, Stream) and len(b.dims) == 3:
        rows = [2] if len(b.feature_dims) != 1 else b.feature_dims
        if rows == [1] or (b.signal.features == 1 and not b.dims[1]):
            y = dense(low, node, b.arranged((b.dims[0], b.dims[2], b.dims[1])), a, None, out=0, inn=1)
            return y.arranged((y.dims[0], y.dims[2], y.dims[1]))
    if isinstance(a, Scores) and a.done and not isinstance(b, Scores):
        return mixed(low, node, a, b)
    return product(low, node, a, b)


@handles("baddbmm")
def baddbmm(low: Lowering, node: Node, c: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1) -> Value:
    """Scores with a mask."""
    out = product(low, node, a, b)
    if not isinstance(out, Scores):
        raise NotUnderstood("a sum with a product of two tensors")
    out = replace(out, scale=out.scale * alpha)
    return out if beta == 0 else _masked(low, node, out, c)


def product(low: Lowering, node: Node, a: Value, b: Value) -> Value:
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
    for s in (q, k):
        own, every = s.dims[-1], s.feature_atoms
        if not own or any(x.axis != s.feature_axis for x in own) or own != every[-len(own) :]:
            raise NotUnderstood("a product of two streams over something that is no head")
    heads = _heads(q)
    if size(heads) * size(q.dims[-1]) != q.signal.features or len(q.dims) < 3:
        raise NotUnderstood("queries whose features are not all there")
    n, m = q.shape[-2], k.shape[-2]
    lead = size(tuple(x for d in q.dims[:-2] for x in d if x.axis != q.feature_axis))
    return Scores(q=q, k=k, dims=_scored(q, k, lead, n, m))


def _heads(s: Stream) -> Dim:
    """The feature atoms outside of the last dimension."""
    return tuple(a for d in s.dims[:-1] for a in d if a.axis in (s.feature_axis,))


def _scored(q: Stream, k: Stream, lead: int, n: int, m: int) -> Dims:
    """Dimensions of scores, in the axes 0: batch and windows, 1: heads, 2: queries, 3: keys."""
    heads, batch = size(_heads(q)), lead
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


def with_bias(scores: Scores, bias: Bias) -> Scores:
    """Scores with one more sum."""
    return replace(scores, biases=(*scores.biases, bias))


def scaled(low: Lowering, node: Node, scores: Scores, other: Value) -> Value:
    """Scores times a number, before anything is added."""
    from .joins import number

    c = number(other)
    warmed = None if scores.done or c is not None else temperature(low, node, scores)
    if warmed is not None:
        return warmed
    if scores.done or c is None:
        raise NotUnderstood("scores of attention are multiplied by something that is no number")
    if any(b.fixed is None or not bool(((b.fixed == 0) | (b.fixed == -math.inf)).all()) for b in scores.biases):
        raise NotUnderstood("scores of attention are scaled after a sum")
    return replace(scores, scale=scores.scale * c, cap=scores.cap * c)


def on_scores(low: Lowering, node: Node, scores: Scores) -> Value:
    """A function of single scores: a soft cap, or weights without softmax."""
    name = str(node.target).split(".")[1]
    if name == "tanh" and not scores.biases and not scores.cap:
        return replace(scores, cap=1.0)
    if name in ("relu", "sigmoid") and not scores.done and not scores.biases:
        return replace(scores, done=name)
    raise NotUnderstood(f"{name} of the scores of attention")


def biased(low: Lowering, node: Node, scores: Scores, other: Value, alpha: float) -> Value:
    """Scores plus a mask or a bias."""
    if alpha != 1 or scores.done:
        raise NotUnderstood("a sum with the weights of attention")
    return _masked(low, node, scores, other)


def _masked(low: Lowering, node: Node, scores: Scores, mask: Value) -> Scores:
    """Scores with a mask: of booleans (what is seen) or of numbers."""
    if isinstance(mask, (int, float)):
        return scores if mask == 0 else with_bias(scores, Bias(fixed=torch.tensor(float(mask))))
    if isinstance(mask, Fixed):
        t = mask.tensor
        if t.dtype == torch.bool:
            t = torch.zeros(t.shape).masked_fill(~t, -math.inf) if mask.known else torch.zeros(t.shape, device="meta")
        elif mask.known:
            t = t.masked_fill(t < SMALL, -math.inf)
        return with_bias(scores, Bias(fixed=_squared(scores, t)))
    if isinstance(mask, Data):
        return with_bias(scores, Bias(data=mask))
    if isinstance(mask, (Stream, Weight)):
        return with_bias(scores, computed_bias(low, node, scores, mask))
    if isinstance(mask, Rows):
        for t in mask.masks:
            scores = with_bias(scores, Bias(fixed=_squared(scores, t)))
        return with_bias(scores, _relative(low, node, scores, mask))
    raise NotUnderstood("scores of attention plus something that is computed")


def _squared(scores: Scores, t: torch.Tensor) -> torch.Tensor:
    """A fixed bias as `(windows, heads, queries, keys)`, each of its full length or 1.

    Raises:
        NotUnderstood: if it differs between examples.
    """
    rank = len(scores.dims)
    if t.ndim > rank:
        t = t.reshape(tuple(t.shape)[t.ndim - rank :])
    t = t.reshape((1,) * (rank - t.ndim) + tuple(t.shape))
    known = t.device.type != "meta"
    windows = 1
    lead: list[int] = []
    for i, d in enumerate(scores.dims[:-2]):
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


def _relative(low: Lowering, node: Node, scores: Scores, rows: Rows) -> Bias:
    """Biases that rows of a table give to pairs of positions."""
    from ..sources import source

    atoms = [a for d in rows.dims for a in d if a.axis != COPIES]
    pairs = [a for d in rows.dims[-2:] for a in d]
    heads = [a for a in atoms if a.axis == 1]
    if any(a.axis != 0 for a in pairs) or len(pairs) > 2 or math.prod(a.size for a in pairs) != rows.index.numel():
        raise NotUnderstood("relative biases that are no table over pairs of positions")
    if math.prod(a.size for a in heads) != rows.weight.shape[1]:
        raise NotUnderstood("relative biases for some heads only")
    n, m = scores.shape[-2:]
    index = rows.index.reshape(-1)
    strides = [a.stride for a in pairs]
    if strides != sorted(strides, reverse=True):
        raise NotUnderstood("relative biases of keys and queries in the other order")
    return Bias(table=source(low, node, rows.weight), rows=index.reshape(n, m))


@handles("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(low: Lowering, node: Node, x: Value, mask: Value, value: Value) -> Value:
    """Scores without the keys that a mask hides."""
    from .joins import number

    c = number(value)
    if isinstance(x, Rows) and isinstance(mask, Fixed) and mask.known and c is not None and c < SMALL:
        hidden = torch.zeros(mask.tensor.shape).masked_fill(mask.tensor, -math.inf)
        return replace(x, masks=(*x.masks, hidden))
    if isinstance(x, Stream) and isinstance(mask, Fixed) and mask.known and c is not None and (c == 0 or c < SMALL):
        from .joins import add, mul

        kept = torch.zeros(mask.tensor.shape, dtype=torch.float64).masked_fill(mask.tensor, -math.inf)
        return mul(low, node, x, Fixed((kept == 0).to(kept))) if c == 0 else add(low, node, x, Fixed(kept))
    if not isinstance(x, Scores) or not isinstance(mask, Fixed) or c is None or c > SMALL or not mask.known:
        raise NotUnderstood("some entries are replaced")
    t = torch.zeros(mask.tensor.shape).masked_fill(mask.tensor, -math.inf)
    return with_bias(x, Bias(fixed=_squared(x, t)))


@handles("where.self", "where.ScalarOther")
def where(low: Lowering, node: Node, mask: Value, a: Value, b: Value) -> Value:
    """Scores without the keys that a mask hides."""
    from .joins import number

    if isinstance(mask, Positive):
        return chosen(low, node, mask, a, b)
    c = number(b)
    if isinstance(a, Rows) and isinstance(mask, Fixed) and mask.known and c is not None and c < SMALL:
        hidden = torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -math.inf)
        return replace(a, masks=(*a.masks, hidden))
    if not isinstance(a, Scores) or not isinstance(mask, Fixed) or c is None or c > SMALL or not mask.known:
        raise NotUnderstood("a choice between two tensors")
    t = torch.zeros(mask.tensor.shape).masked_fill(~mask.tensor, -math.inf)
    return with_bias(a, Bias(fixed=_squared(a, t)))


def weights(low: Lowering, node: Node, scores: Scores, dim: int) -> Value:
    """Softmax over the keys."""
    if scores.done or (scores.dims[dim] != (Atom(3, scores.shape[dim]),) and scores.shape[dim] > 1):
        raise NotUnderstood("a softmax of scores over something that is no key")
    return replace(scores, done="softmax")


def mixed(low: Lowering, node: Node, scores: Scores, value: Value) -> Stream:
    """Values mixed by the weights of attention: the block itself.

    Raises:
        NotUnderstood: if heads and positions of queries, keys and values do not fit each other.
    """
    v = low.stream(value, node, False)
    q, k = scores.q, scores.k
    own, every = v.dims[-1], v.feature_atoms
    if not own or any(x.axis != v.feature_axis for x in own) or own != every[-len(own) :]:
        raise NotUnderstood("values whose features are no heads")
    heads = size(_heads(q))
    if scores.shape[-1] != v.shape[-2]:
        raise NotUnderstood("values at other positions than the keys")
    if math.prod(scores.shape) != math.prod((*shape(q.dims[:-1]), k.shape[-2])):
        raise NotUnderstood("scores of attention were cut or repeated")
    q3, (k3, groups), (v3, same) = (
        _tokens(low, node, q, heads)[0],
        _tokens(low, node, k, heads),
        _tokens(low, node, v, heads),
    )
    if groups != same or heads % groups:
        raise NotUnderstood("heads of keys and values that differ")
    block, reads = _block(low, node, scores, heads, groups, q3)
    (y,) = low.emit(node, block, [q3, k3, v3, *reads], label="attention")
    width = y.signal.features // heads
    # the traced tensor: the dimensions of the scores, with the features of a head for the keys
    outer: list[Dim] = []
    axis = y.feature_axis
    positions = [Atom(i, n) for i, n in enumerate((low.batch, *y.signal.space))]
    lead = _cut(positions[:-1])
    for d in scores.dims[:-1]:
        atoms: list[Atom] = []
        for a in d:
            if a.axis == 1:
                atoms.append(Atom(axis, a.size, a.stride * width))
            elif a.axis == 0:
                atoms += lead.take(a)
            else:
                atoms.append(Atom(len(y.signal.space), a.size, a.stride))
        outer.append(tuple(x for x in atoms if x.size > 1))
    return y.arranged((*outer, (Atom(axis, width),) if width > 1 else ()))


def shown(low: Lowering, node: Node, scores: Scores) -> Stream:
    """The weights of attention themselves: what mixes values that tell every key apart.

    Raises:
        NotUnderstood: for so many keys that such values would not fit into memory.
    """
    m, heads = scores.shape[-1], size(_heads(scores.q))
    if m * m * heads > LARGEST or m < 2:
        raise NotUnderstood("the weights of attention over that many keys are an output")
    table = torch.eye(m, dtype=torch.float64).repeat(1, heads)
    (v,) = low.emit(node, Given(Numbers(table), Signal(heads * m, (m,))), [], label="keys")
    outer: Dim = (Atom(v.feature_axis, heads, m),) if heads > 1 else ()
    return mixed(low, node, scores, v.arranged(((), outer, (Atom(1, m),), (Atom(v.feature_axis, m),))))


class _cut:
    """The batch and the windows of attention as runs of the axes of its output."""

    def __init__(self, axes: list[Atom]) -> None:
        self.axes = [a for a in axes if a.size > 1]

    def take(self, run: Atom) -> list[Atom]:
        """The run of the axes that an atom of all of them stands for."""
        inner, out = 1, []
        for a in reversed(self.axes):
            low, high = max(run.stride, inner), min(run.stride * run.size, inner * a.size)
            if high > low:
                if low % inner or (high // low) * low != high:
                    raise Tangled("windows and examples are cut together")
                out.append(Atom(a.axis, high // low, low // inner))
            inner *= a.size
        return out[::-1]


def _tokens(low: Lowering, node: Node, s: Stream, heads: int) -> tuple[Stream, int]:
    """Queries, keys or values as a stream of tokens with heads as features, and the number of heads."""
    if s.shape_batch == 1 and s.dims[0] and all(a.axis == COPIES for a in s.dims[0]):
        s = s.arranged(((), *s.dims[1:]))  # learned queries are the same for every example
    lead = [a for d in s.dims[:-2] for a in d]
    copies = [a for a in lead if a.axis == COPIES]
    inside = [a for a in lead if a.axis == s.feature_axis]
    if inside != sorted(inside, key=lambda a: -a.stride):
        raise NotUnderstood("heads are permuted")
    if copies:
        # every key head is repeated for the queries that share it: copies stand inside of the heads
        at = lead.index(copies[0])
        if len(copies) > 1 or any(a.axis == s.feature_axis for a in lead[at:] if a is not copies[0]):
            raise NotUnderstood("keys are repeated in another way than for groups of queries")
    groups = size(tuple(inside))
    if groups * (size(tuple(copies)) if copies else 1) != heads:
        raise NotUnderstood("queries and keys in different numbers of heads")
    batch = tuple(a for a in lead if a.axis not in (s.feature_axis, COPIES))
    dims: Dims = (batch, s.dims[-2], (*inside, *s.dims[-1]))
    flat = s.arranged(dims)
    merged = flat.arranged((*dims[:2], view((dims[2],), [size(dims[2])])[0]))

    return exact(low, node, merged, 2), groups


def _block(
    low: Lowering, node: Node, scores: Scores, heads: int, groups: int, q: Stream
) -> tuple[DotProductAttention, list[Stream]]:
    """The block of attention and what it reads besides queries, keys and values."""
    n, m = scores.shape[-2:]
    options: dict[str, Any] = {}
    reads: list[Stream] = []
    total: torch.Tensor | None = None
    for bias in scores.biases:
        if bias.fixed is not None:
            total = bias.fixed if total is None else total + bias.fixed
        if bias.table is not None:
            assert bias.rows is not None
            if "index" in options:
                raise NotUnderstood("two tables of relative biases")
            reads.append(bias.table)
            options |= {"relative": "given", "index": Numbers(bias.rows), "rows": bias.table.signal.space[0]}
    data = [b.data for b in scores.biases if b.data is not None]
    if len(data) > 1:
        raise NotUnderstood("two masks that depend on the data")
    if data:
        reads.append(_data_mask(low, data[0], n, m))
        options["masked"] = True
    if total is not None:
        options |= _fixed_mask(total, n, m, q)
    weights = {"softmax": "softmax", "relu": "relu", "sigmoid": "sigmoid", "": "linear"}[scores.done]
    scale = scores.scale if scores.scale != 1 else 1.0
    options |= {"scale": scale, "cap": scores.cap, "dropout": scores.dropout}
    return DotProductAttention(heads, groups, scores=weights, **options), reads


def _fixed_mask(t: torch.Tensor, n: int, m: int, q: Stream) -> dict[str, Any]:
    """A fixed mask as an option of attention."""
    t = t.reshape((1,) * (4 - t.ndim) + tuple(t.shape)) if t.ndim < 4 else t
    if t.device.type == "meta":
        raise NotUnderstood("a mask whose numbers are on the meta device")
    windows = t.shape[0]
    t = t.expand(t.shape[0], t.shape[1], n, m)
    if windows == 1 and t.shape[1] == 1:
        table = t[0, 0]
        if not bool(table.any()):
            return {}
        hidden = torch.ones(n, m, dtype=torch.bool).triu(1 + m - n)
        causal = torch.zeros(n, m).masked_fill(hidden, -math.inf).to(table)
        if torch.equal(table, causal):
            return {"causal": True}
        return {"mask": Numbers(table)}
    if windows > 1 and (len(q.signal.space) != 2 or q.signal.space[0] != windows):
        raise NotUnderstood("a mask that differs between windows")
    return {"mask": Numbers(t if windows > 1 else t[0])}


def _data_mask(low: Lowering, mask: Data, n: int, m: int) -> Stream:
    """A mask that depends on the inputs, as one more input: numbers that are added to the scores."""
    s = mask.shape
    if mask.base is not None:
        own = [a for d in mask.dims for a in d if a.axis != COPIES]
        kept = [size(tuple(a for a in d if a.axis not in (0, COPIES))) for d in mask.dims]
        whole = math.prod(int(k) for k in mask.base.meta["val"].shape)
        at_heads = len(s) == 4 and any(a.axis != COPIES for a in mask.dims[1])
        ordered = own == sorted(own, key=lambda a: (a.axis, -a.stride)) and math.prod(a.size for a in own) == whole
        if ordered and not at_heads and own[:1] == [Atom(0, low.batch)] and own[0] in mask.dims[0] and kept[-1] == m:
            return low.add_input(mask.base, Signal(m, (kept[-2] if len(s) > 2 else 1,)), "mask")
    if s[-2:] == (n, m) and math.prod(s) == n * m and s[0] != low.batch:
        return low.add_input(mask.node, Signal(m, (n,)), "mask of all")
    if s[0] != low.batch or len(s) not in (2, 3, 4) or s[-1] != m or (len(s) == 4 and s[1] != 1):
        raise NotUnderstood("a mask that is not the same for all heads of an example")
    rows = s[-2] if len(s) > 2 else 1
    return low.add_input(mask.node, Signal(m, (rows,)), "mask")


__all__ = ["biased", "fused", "mixed"]
