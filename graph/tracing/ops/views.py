"""Operations that only look at a tensor in another way, or at a piece of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.theory.oracle.double import WIDE

from ..computed import inserted
from ..context import Context, handles
from ..layout import COPIES, Atom, merged, view
from ..purity import aten
from ..steps.broadcast import expanded
from ..steps.features import along_features, picked
from ..steps.pieces import _positions, piece
from ..steps.sinks import Sunk, keys_alone
from ..values import Data, NotUnderstood, Stream, Value


@handles("contiguous", "clone", "alias", "lift_fresh_copy", "lift_fresh", "positive", "_conj", "nan_to_num")
def same(low: Context, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """What changes nothing that a law sees; numbers that are none are seen by the comparison with the module."""
    return x


@handles("to", "_to_copy", "float", "double", "half", "bfloat16", "type_as")
def cast(low: Context, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Casts between types of real numbers; what is made of the inputs is cast by a call that reads no parameter."""
    out = node.meta["val"]
    if isinstance(x, Data):
        data = inserted(low, node, aten.to.dtype, x.node, WIDE.get(out.dtype, out.dtype))
        node.replace_all_uses_with(data.node)
        return data
    given = node.args[0].meta["val"] if isinstance(node.args[0], Node) else out
    if not out.is_floating_point():
        raise NotUnderstood("a cast to integers")
    if not given.is_floating_point() and isinstance(x, Stream):
        raise NotUnderstood("choices are used as numbers")
    return x


@handles(
    "view",
    "reshape",
    "_unsafe_view",
    "_reshape_alias",
    "view_as",
    "reshape_as",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
)
def reshape(low: Context, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Any reshape: the new sizes are those of the traced result."""
    return x.arranged(view(x.dims, [int(n) for n in node.meta["val"].shape]))


@handles("permute")
def permute(low: Context, node: Node, x: Value, order: Sequence[int]) -> Value:
    """Dimensions in another order."""
    return x.arranged(tuple(x.dims[i] for i in order))


@handles("transpose", "swapaxes", "swapdims")
def transpose(low: Context, node: Node, x: Value, a: int, b: int) -> Value:
    """Two dimensions change places."""
    dims = list(x.dims)
    dims[a], dims[b] = dims[b], dims[a]
    return x.arranged(tuple(dims))


@handles("t", "numpy_T", "mT")
def flipped(low: Context, node: Node, x: Value) -> Value:
    """The last two dimensions change places."""
    return x if len(x.dims) < 2 else transpose(low, node, x, -1, -2)


@handles("movedim.int", "moveaxis.int")
def movedim(low: Context, node: Node, x: Value, a: int, b: int) -> Value:
    """One dimension moves."""
    dims = list(x.dims)
    dim = dims.pop(a)
    dims.insert(b % len(x.dims), dim)
    return x.arranged(tuple(dims))


@handles("expand", "expand_as", "broadcast_to")
def expand(low: Context, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Dimensions of length 1 are repeated."""
    return expanded(x, [int(n) for n in node.meta["val"].shape])


@handles("broadcast_tensors")
def broadcast_tensors(low: Context, node: Node, tensors: Sequence[Value]) -> Value:
    """Tensors that are repeated to one shape."""
    return tuple(expanded(x, [int(n) for n in node.meta["val"][0].shape]) for x in tensors)


@handles("repeat")
def repeat(low: Context, node: Node, x: Value, times: Sequence[int]) -> Value:
    """Repeats as a whole: copies outside of every dimension."""
    dims = ((),) * (len(times) - len(x.dims)) + x.dims
    out = []
    for d, n in zip(dims, times, strict=True):
        out.append(merged(((Atom(COPIES, n),) if n > 1 else ()) + d))
    return x.arranged(tuple(out))


@handles("tile")
def tile(low: Context, node: Node, x: Value, times: Sequence[int]) -> Value:
    """The same, where the first dimensions may be left out."""
    return repeat(low, node, x, (*(1,) * (len(x.dims) - len(times)), *times))


@handles("repeat_interleave.self_int")
def repeat_interleave(low: Context, node: Node, x: Value, times: int, dim: int | None = None, **rest: Any) -> Value:
    """Repeats element by element: copies inside of a dimension."""
    if dim is None:
        raise NotUnderstood("a repeat over all dimensions")
    dims = list(x.dims)
    dims[dim] = (*dims[dim], Atom(COPIES, times))
    return x.arranged(tuple(dims))


@handles("select.int")
def select(low: Context, node: Node, x: Value, dim: int, index: int) -> Value:
    """One entry of a dimension."""
    n = x.shape[dim]
    return piece(low, node, x, dim, [1] * n, index % n, gone=True)


@handles("slice.Tensor", "narrow")
def slice_(
    low: Context, node: Node, x: Value, dim: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> Value:
    """A run of a dimension."""
    dim %= len(x.shape)
    n = x.shape[dim]
    if "narrow" in str(node.target):
        assert start is not None and stop is not None
        start, stop = start % n if start else 0, start + stop
    first, last, step = slice(start, stop, step).indices(n)
    if (first, last, step) == (0, n, 1):
        return x
    if isinstance(x, Sunk) and step == 1:
        return keys_alone(x, dim, first, last)
    if step != 1:
        if isinstance(x, Stream) and along_features(x, dim):
            return picked(low, node, x, dim, range(first, last, step))
        inside = isinstance(x, Stream) and any(a.axis == x.feature_axis for a in x.dims[dim])
        if inside and n % step == 0 and first < step and last == n:  # every second feature of a head
            rest = [int(k) for k in x.shape]
            cut = x.arranged(view(x.dims, [*rest[:dim], n // step, step, *rest[dim + 1 :]]))
            return piece(low, node, cut, dim + 1, [1] * step, first, gone=True)
        return _positions(low, node, x, dim, (first, last, step))
    widths = [w for w in (first, last - first, n - last) if w]
    return piece(low, node, x, dim, widths, 1 if first else 0, gone=False)


@handles(
    "chunk",
    "split.Tensor",
    "split_with_sizes",
    "unsafe_chunk",
    "unsafe_split.Tensor",
    "split.sizes",
    "tensor_split.sections",
)
def split(low: Context, node: Node, x: Value, pieces: Any, dim: int = 0) -> Value:
    """A dimension in pieces."""
    widths = [int(t.shape[dim]) for t in node.meta["val"]]
    return tuple(piece(low, node, x, dim, widths, i, gone=False) for i in range(len(widths)))


@handles("unbind.int")
def unbind(low: Context, node: Node, x: Value, dim: int = 0) -> Value:
    """A dimension entry by entry."""
    n = x.shape[dim]
    return tuple(piece(low, node, x, dim, [1] * n, i, gone=True) for i in range(n))
