"""Maps of all experts at once, by weights with an axis of experts, and sums of what they give, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import Concat, Linear

from ..arrange import exact, focus
from ..context import Context
from ..layout import COPIES, Atom, size
from ..purity import name_of
from ..sources import arranged_name
from ..values import Data, NotUnderstood, Stream, Value, Weight
from .arithmetic import add, mul
from .maps import dense
from .patterns import plain
from .pieces import piece

MANY = 64  # positions with a map of their own that are written out one by one


def every_expert(low: Context, node: Node, x: Value, w: Weight, inn: int, out: int) -> Stream:
    """`y[e, ..., o] = sum_i x[e, ..., i] w[e, i, o]`: what experts make of one input, or each of its group or position.

    Args:
        low: the program.
        node: the call.
        x: with experts on the first dimension, whole or copied, and what is contracted on the last one.
        w: with experts on the first dimension.
        inn: the dimension of the parameter that is contracted.
        out: the other one.

    Raises:
        NotUnderstood: if experts are neither copies nor groups of features nor positions, or too many positions.
    """
    if not isinstance(x, (Stream, Data)) or len(w.dims) != 3:
        raise NotUnderstood("a map of its own for every position or head")
    s = low.stream(x, node, False)
    many, width = size(w.dims[0]), size(w.dims[out])
    if all(a.axis == COPIES for a in s.dims[0]):
        s = focus(low, node, s.arranged(s.dims[1:]), -1)
        name = arranged_name(w, [*w.dims[0], *w.dims[out], *w.dims[inn]])
        (y,) = low.emit(node, Linear(size(w.dims[inn]), many * width, False), [s], {"weight": name})
        rest = s.dims[:-1]
    else:
        apart = {a.axis for a in s.dims[0]}.isdisjoint({0, s.feature_axis})
        if not _outer(s, 0) and not (apart and 1 < many <= MANY and len(s.dims) > 2):
            raise NotUnderstood("a map of its own for every position or head")
        parts = []
        for e in range(many):
            own = piece(low, node, s, 0, [1] * many, e, gone=True)
            matrix = piece(low, node, w, 0, [1] * many, e, gone=True)
            part = dense(low, node, own, matrix, None, out=out - 1, inn=inn - 1)
            parts.append(exact(low, node, part, len(part.dims) - 1))
        rest = parts[0].dims[:-1]
        (y,) = low.emit(node, Concat(), parts, label="cat")
    axis = y.feature_axis
    outer = (Atom(axis, many, width),) if many > 1 else ()
    return y.arranged((outer, *rest, (Atom(axis, width),) if width > 1 else ()))


def stacked(low: Context, node: Any, dim: int) -> list[Stream] | None:
    """What a call put on top of each other along a dimension, if it is a stack of streams."""
    node = plain(node)
    if not isinstance(node, Node) or name_of(node) != "stack":
        return None
    rank = len(node.meta["val"].shape)
    at = int(node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) % rank  # type: ignore[arg-type]
    parts = low.value(node.args[0])
    return list(parts) if at == dim % rank and all(isinstance(v, Stream) for v in parts) else None


def summed_stack(low: Context, node: Node, parts: Sequence[Stream], weights: Value, dim: int) -> Stream | None:
    """The sum of a stack times a weight for each part; None for weights that are no features there.

    Args:
        low: the program.
        node: the call.
        parts: what was stacked.
        weights: with a dimension more than the parts, of as many features as there are parts.
        dim: that dimension.
    """
    many = len(parts)
    if not isinstance(weights, Stream) or size(weights.dims[dim]) != many or weights.feature_dims != [dim]:
        return None
    if weights.dims[dim] != weights.feature_atoms or many < 2:
        return None
    total: Value = None
    for e, one in enumerate(parts):
        term = mul(low, node, one, piece(low, node, weights, dim, [1] * many, e, gone=True))
        total = term if total is None else add(low, node, total, term)
    return total if isinstance(total, Stream) else None


def weighed_sum(low: Context, node: Node, values: Value, weights: Value, dim: int) -> Stream | None:
    """The sum over experts of what they give times a weight for each; None for any other sum of products.

    Args:
        low: the program.
        node: the call.
        values: with experts as groups of features on a dimension.
        weights: with experts as features on the same dimension, and none besides.
        dim: the dimension, which is summed.
    """
    if not isinstance(values, Stream) or not isinstance(weights, Stream) or len(values.dims) != len(weights.dims):
        return None
    many = size(values.dims[dim])
    if many < 2 or not _outer(values, dim) or len(values.feature_dims) < 2:
        return None
    parts = [piece(low, node, values, dim, [1] * many, e, gone=True) for e in range(many)]
    return summed_stack(low, node, parts, weights, dim)


def _outer(s: Stream, dim: int) -> bool:
    """Whether a dimension runs over whole groups of the features."""
    atoms = s.feature_atoms
    return bool(atoms) and s.dims[dim] == atoms[:1] and len(atoms) > 1
