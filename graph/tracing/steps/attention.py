"""Values mixed by the weights of attention: the block itself, and what it reads."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import DotProductAttention, Given, Numbers, Signal

from ..arrange import exact, facing
from ..context import Context
from ..layout import COPIES, Atom, Dim, Dims, Tangled, shape, size, view
from ..values import HIDES, MASK, OF_ALL, Bias, NotUnderstood, Scores, Stream, Value
from .scores import heads_of, order_of, scored
from .sinks import sink_options

LARGEST = 10**7  # numbers in the values that show the weights of attention


def mixed(low: Context, node: Node, scores: Scores, value: Value) -> Stream:
    """Values mixed by the weights of attention: the block itself.

    Raises:
        NotUnderstood: if heads and positions of queries, keys and values do not fit each other.
    """
    v = facing(low, node, low.stream(value, node, False), -1)
    q, k = scores.q, scores.k
    own, every = v.dims[-1], v.feature_atoms
    if not own or any(x.axis != v.feature_axis for x in own) or own != every[-len(own) :]:
        raise NotUnderstood("values whose features are no heads")
    heads = size(heads_of(q))
    if scores.shape[-1] != v.shape[-2]:
        raise NotUnderstood("values at other positions than the keys")
    if math.prod(scores.shape) != math.prod((*shape(q.dims[:-1]), k.shape[-2])):
        raise NotUnderstood("scores of attention were cut or repeated")
    q3, (k3, groups), (v3, same) = (
        _tokens(low, node, q, heads)[0],
        _tokens(low, node, _for_heads(k, q), heads),
        _tokens(low, node, _for_heads(v, q), heads),
    )
    if groups != same or heads % groups:
        raise NotUnderstood("heads of keys and values that differ")
    block, reads = _block(low, node, scores, heads, groups, q3)
    (y,) = low.emit(node, block, [q3, k3, v3, *reads], sink_options(scores)[1], label="attention")
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


def shown(low: Context, node: Node, scores: Scores) -> Stream:
    """The weights of attention themselves: what mixes values that tell every key apart, in any order of dimensions.

    Raises:
        NotUnderstood: for so many keys that such values would not fit into memory.
    """
    order, natural = order_of(scores), scores.arranged(scored(scores.q, scores.k))
    m, heads = natural.shape[-1], size(heads_of(scores.q))
    if m * m * heads > LARGEST or m < 2:
        raise NotUnderstood("the weights of attention over that many keys are an output")
    table = torch.eye(m, dtype=torch.float64).repeat(1, heads)
    (v,) = low.emit(node, Given(Numbers(table), Signal(heads * m, (m,))), [], label="keys")
    outer: Dim = (Atom(v.feature_axis, heads, m),) if heads > 1 else ()
    y = mixed(low, node, natural, v.arranged(((), outer, (Atom(1, m),), (Atom(v.feature_axis, m),))))
    return y.arranged(tuple(y.dims[i] for i in order))


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


def _for_heads(s: Stream, q: Stream) -> Stream:
    """Keys or values with a copy for every head of the queries that broadcasting gives them to."""
    if len(s.dims) != len(q.dims):
        return s
    lead = zip(s.dims[:-2], q.dims[:-2], strict=True)
    shared = [
        (Atom(COPIES, size(h)),) if not d and h and {a.axis for a in h} == {q.feature_axis} else d for d, h in lead
    ]
    return s.arranged((*shared, *s.dims[-2:]))


def _tokens(low: Context, node: Node, s: Stream, heads: int) -> tuple[Stream, int]:
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
    low: Context, node: Node, scores: Scores, heads: int, groups: int, q: Stream
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
    data = [b for b in scores.biases if b.data is not None]
    if len(data) > 1:
        raise NotUnderstood("two masks that depend on the data")
    if data:
        reads.append(_data_mask(low, data[0], n, m))
        options["masked"] = True
    if total is not None:
        options |= _fixed_mask(total, n, m, q)
    softmaxed = {"softmax": "softmax", "relu": "relu", "sigmoid": "sigmoid", "": "linear"}[scores.done]
    scale = scores.scale if scores.scale != 1 else 1.0
    options |= sink_options(scores)[0]
    options |= {"scale": scale, "cap": scores.cap, "dropout": scores.dropout}
    if scores.blank and "mask" in options:
        options["blank"] = True
    if scores.factors:
        options["factors"] = Numbers(math.prod(scores.factors[1:], start=scores.factors[0]).expand(-1, n, m))
    return DotProductAttention(heads, groups, scores=softmaxed, **options), reads


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


def _data_mask(low: Context, bias: Bias, n: int, m: int) -> Stream:
    """A mask that depends on the inputs, as one more input: numbers that are added to the scores."""
    mask, kind = bias.data, MASK + HIDES * bias.hides
    assert mask is not None
    s = mask.shape
    if mask.base is not None:
        own = [a for d in mask.dims for a in d if a.axis != COPIES]
        kept = [size(tuple(a for a in d if a.axis not in (0, COPIES))) for d in mask.dims]
        whole = math.prod(int(k) for k in mask.base.meta["val"].shape)
        at_heads = len(s) == 4 and any(a.axis != COPIES for a in mask.dims[1])
        ordered = own == sorted(own, key=lambda a: (a.axis, -a.stride)) and math.prod(a.size for a in own) == whole
        if ordered and not at_heads and own[:1] == [Atom(0, low.batch)] and own[0] in mask.dims[0] and kept[-1] == m:
            return low.add_input(mask.base, Signal(m, (kept[-2] if len(s) > 2 else 1,)), kind)
    if s[-2:] == (n, m) and math.prod(s) == n * m and s[0] != low.batch:
        return low.add_input(mask.node, Signal(m, (n,)), kind + OF_ALL)
    if s[0] != low.batch or len(s) not in (2, 3, 4) or s[-1] != m or (len(s) == 4 and s[1] != 1):
        raise NotUnderstood("a mask that is not the same for all heads of an example")
    rows = s[-2] if len(s) > 2 else 1
    return low.add_input(mask.node, Signal(m, (rows,)), kind)
