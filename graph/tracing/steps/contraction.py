"""The equation of an `einsum`, with every letter spelled out, and the plain steps that it is made of."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from torch.fx import Node

from lawful.blocks import Concat, InnerProducts

from ..arrange import exact
from ..context import Context
from ..layout import Atom, Dim, Dims, Tangled, size
from ..values import Data, NotUnderstood, Scores, Stream, Value, Weight
from .arithmetic import mul, times
from .pieces import piece
from .positions import reduced
from .scores import order_of
from .weighed import weighed

MANY = 16  # heads whose products are written out one by one
LARGEST = 10**6  # numbers of an example in a product that is written out before it is summed


def spelled(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of every operand and of the result: `...` stands for letters of its own.

    Args:
        equation: as `torch.einsum` reads it.
        ranks: number of dimensions of every operand.

    Raises:
        NotUnderstood: for diagonals.
    """
    left, arrow, out = equation.replace(" ", "").partition("->")
    names = left.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    lengths = [rank - len(n.replace("...", "")) for n, rank in zip(names, ranks, strict=True) if "..." in n]
    rest = "".join(free[: max(lengths, default=0)])
    if len(set(lengths)) > 1:
        raise NotUnderstood(f"the contraction {equation}, whose operands have other numbers of further axes")
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        out = ("..." if lengths else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    names, out = [n.replace("...", rest) for n in names], out.replace("...", rest)
    if any(len(set(n)) < len(n) for n in (*names, out)):
        raise NotUnderstood(f"the diagonal in the contraction {equation}")
    return names, out


def reordered_dims(dims: Dims, names: str, wanted: str) -> Dims:
    """The dimensions in another order; letters that they lack have length 1."""
    return tuple(dims[names.index(k)] if k in names else () for k in wanted)


def summed_alone(low: Context, node: Node, a: Value, names: str, others: str) -> tuple[Value, str]:
    """An operand without the letters that neither another one nor the result has: sums along its own axes."""
    gone = [i for i, k in enumerate(names) if k not in others]
    if not gone:
        return a, names
    if not isinstance(a, (Stream, Data)):
        raise NotUnderstood("a sum over an axis of a parameter")
    y = reduced(low, node, low.stream(a, node, channels_first=False), gone, False, False)
    return y, "".join(k for i, k in enumerate(names) if i not in gone)


def written_product(low: Context, node: Node, a: Value, b: Value, names: tuple[str, str], out: str) -> Value:
    """A product whose operands are repeated along the axes that they lack, and its sum along those that go.

    Raises:
        NotUnderstood: for products that are too large to be written out, and for what no product reads.
    """
    i, j = names
    if not all(isinstance(v, (Stream, Data, Weight)) for v in (a, b)):
        raise NotUnderstood("a product with scores of attention")
    gone = [k for k in dict.fromkeys((*i, *j)) if k not in out]
    lengths = {k: n for letters, v in ((i, a), (j, b)) for k, n in zip(letters, v.shape, strict=True)}
    if gone and math.prod(lengths.values()) > LARGEST * low.batch:
        raise NotUnderstood("a product of two streams that is no attention")
    order = out + "".join(gone)
    x, y = (_placed(low, node, v, letters, order) for v, letters in ((a, i), (b, j)))
    z = mul(low, node, x, y)
    if not gone:
        return z
    return reduced(low, node, z, list(range(len(out), len(order))), False, False)


def mixed_positions(low: Context, node: Node, a: Value, b: Value, names: tuple[str, str], out: str) -> Stream:
    """A product of two streams that mixes positions of one with weights that the other gives, for every example.

    Raises:
        NotUnderstood: for parameters, and for further axes.
    """
    i, j = names
    gone = [k for k in i if k in j and k not in out]
    lead = [k for k in i if k in j and k in out]
    own, other = [k for k in i if k not in j], [k for k in j if k not in i]
    if len(lead) == 2:
        return _mixed_by_heads(low, node, a, b, names, out, lead)
    if not all(len(found) == 1 for found in (gone, lead, own, other)) or not isinstance(a, (Stream, Data)):
        raise NotUnderstood("a product of two streams that is no attention")
    refusal: NotUnderstood | None = None
    for (x, m, row), (y, n, column) in (((a, i, own[0]), (b, j, other[0])), ((b, j, other[0]), (a, i, own[0]))):
        if not isinstance(x, (Stream, Data)) or not isinstance(y, (Stream, Data)):
            raise NotUnderstood("a product of a stream with a parameter")
        try:
            left = x.arranged(reordered_dims(x.dims, m, lead[0] + row + gone[0]))
            right = y.arranged(reordered_dims(y.dims, n, lead[0] + gone[0] + column))
            z = weighed(low, node, left, right)
        except NotUnderstood as error:
            refusal = refusal or error
            continue
        return z.arranged(reordered_dims(z.dims, lead[0] + row + column, out))
    assert refusal is not None
    raise refusal


def any_product(low: Context, node: Node, a: Value, b: Value) -> Value:
    """A product of matrices, one for every example, head or window, as a contraction like any other.

    Raises:
        NotUnderstood: for parameters, and for products that no step takes.
    """
    rank = max(len(a.shape), len(b.shape))
    if not all(isinstance(v, (Stream, Data)) for v in (a, b)) or min(len(a.shape), len(b.shape)) < 2:
        raise NotUnderstood("a product of two tensors that mixes no positions alone")
    lead = string.ascii_letters[: rank - 2]
    values, names = [], []
    for v, last in ((a, "yx"), (b, "xz")):
        v = low.stream(v, node, channels_first=False)
        letters = lead[rank - len(v.dims) :] + last
        kept = [i for i, n in enumerate(v.shape) if n > 1 or letters[i] in last or i == 0]
        values.append(v.arranged(tuple(v.dims[i] for i in kept)))
        names.append("".join(letters[i] for i in kept))
    out = f"{lead}yz"
    if size(values[0].dims[-1]) == 1:  # an outer product
        return written_product(low, node, values[0], values[1], (names[0], names[1]), out)
    for step in (mixed_positions, written_product):
        try:
            return step(low, node, values[0], values[1], (names[0], names[1]), out)
        except (NotUnderstood, Tangled):
            continue
    raise NotUnderstood("a product of two tensors that mixes no positions alone")


def _mixed_by_heads(
    low: Context, node: Node, a: Value, b: Value, names: tuple[str, str], out: str, lead: Sequence[str]
) -> Stream:
    """The same for every head, with the heads as groups of features behind it."""
    a, b = (low.stream(v, node, False) if isinstance(v, (Stream, Data)) else v for v in (a, b))
    i, j = names
    if not isinstance(a, Stream) or not isinstance(b, Stream):
        raise NotUnderstood("a product of a stream with a parameter")
    dims = [a.dims[i.index(k)] for k in lead]
    batch = [k for k, d in zip(lead, dims, strict=True) if any(atom.axis == 0 for atom in d)]
    heads = [k for k in lead if k not in batch]
    if len(heads) != 1 or (many := size(dims[lead.index(heads[0])])) > MANY:
        raise NotUnderstood("a product of two streams for many windows")
    rest = [letters.replace(heads[0], "") for letters in (i, j, out)]
    parts = []
    for e in range(many):
        x, y = (piece(low, node, v, n.index(heads[0]), [1] * many, e, gone=True) for v, n in ((a, i), (b, j)))
        z = mixed_positions(low, node, x, y, (rest[0], rest[1]), rest[2])
        parts.append(exact(low, node, z, z.feature_home[0]))
    if many == 1:
        y = parts[0]
        return y.arranged(reordered_dims(y.dims, rest[2], out))
    home, width = parts[0].feature_home[0], parts[0].signal.features
    if any(p.dims != parts[0].dims for p in parts):
        raise NotUnderstood("heads of a product that lie differently")
    (y,) = low.emit(node, Concat(), parts, label="cat")
    kept = {k: d for k, d in zip(rest[2], parts[0].dims, strict=True)}
    kept[rest[2][home]] = (Atom(y.feature_axis, width),) if width > 1 else ()
    kept[heads[0]] = (Atom(y.feature_axis, many, width),)
    return y.arranged(tuple(kept[k] for k in out))


def products_of(low: Context, node: Node, scores: Scores) -> Stream:
    """Products of queries and keys that no attention reads, head by head.

    Raises:
        NotUnderstood: for scores with masks, biases or caps, for windows, and for many heads.
    """
    q, k, order = scores.q, scores.k, order_of(scores)
    heads = [i for i, d in enumerate(q.dims[:-2]) if any(a.axis == q.feature_axis for a in d)]
    batch = [i for i, d in enumerate(q.dims[:-2]) if any(a.axis == 0 for a in d)]
    many = math.prod(size(q.dims[i]) for i in heads)
    if not scores.plain or len(k.dims) != len(q.dims) or len(heads) > 1 or len(batch) != 1 or many > MANY:
        raise NotUnderstood("scores of attention are used as numbers")
    if any(q.dims[i] or k.dims[i] for i in range(len(q.dims) - 2) if i not in (*heads, *batch)):
        raise NotUnderstood("scores of attention in windows are used as numbers")
    parts = []
    for e in range(many):
        pair = [piece(low, node, s, heads[0], [1] * many, e, gone=False) if heads else s for s in (q, k)]
        flat = [exact(low, node, s.arranged((s.dims[batch[0]], *s.dims[-2:])), 2) for s in pair]
        parts.append(low.emit(node, InnerProducts(), flat, label="products")[0])
    y = times(low, node, parts[0] if many == 1 else low.emit(node, Concat(), parts, label="cat")[0], scores.scale)
    assert isinstance(y, Stream)
    found: list[Dim] = [()] * (len(q.dims) - 2)
    found[batch[0]] = y.dims[0]
    if heads:
        found[heads[0]] = (Atom(y.feature_axis, many),) if many > 1 else ()
    dims = (*found, *(((),) if len(y.signal.space) == 1 else ()), *y.dims[1 : 1 + len(y.signal.space)])  # one query
    return y.arranged(tuple(dims[i] for i in order))


def _placed(low: Context, node: Node, value: Value, letters: str, order: str) -> Value:
    """An operand with the axes of the product; an input becomes a stream."""
    if isinstance(value, Data):
        value = low.stream(value, node, channels_first=False)
    return value.arranged(reordered_dims(value.dims, letters, order))


def same_order(low: Context, node: Node, a: Value, names: str, out: str) -> Value:
    """An `einsum` of one operand: a sum of some axes, the others in another order."""
    a, names = summed_alone(low, node, a, names, out)
    if isinstance(a, Data):
        a = low.stream(a, node, channels_first=False)
    if not isinstance(a, (Stream, Weight, Scores)):
        raise NotUnderstood("the order of axes of something that is computed")
    return a.arranged(reordered_dims(a.dims, names, out))


__all__ = [
    "mixed_positions",
    "products_of",
    "reordered_dims",
    "same_order",
    "spelled",
    "summed_alone",
    "written_product",
]
