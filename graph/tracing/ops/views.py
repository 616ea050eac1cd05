"""Operations that only look at a tensor in another way, and pieces of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import Concat, Positions, SelectToken, Split

from ..arrange import exact, relength, straight
from ..layout import COPIES, Atom, Dim, Dims, canonical, merged, size, view
from ..lowering import Lowering, handles
from ..values import Combined, NotUnderstood, Stacked, Stream, Value, Weight
from .apart import apart
from .features import along_features, picked


@handles("contiguous", "clone", "alias", "lift_fresh_copy", "lift_fresh", "positive", "type_as", "_conj")
def same(low: Lowering, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """What changes nothing that a law sees."""
    return x


@handles("to", "_to_copy", "float", "double", "half", "bfloat16")
def cast(low: Lowering, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Casts between types of real numbers."""
    out = node.meta["val"]
    if not out.is_floating_point():
        raise NotUnderstood("a cast to integers")
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
def reshape(low: Lowering, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Any reshape: the new sizes are those of the traced result."""
    return x.arranged(view(x.dims, [int(n) for n in node.meta["val"].shape]))


@handles("permute")
def permute(low: Lowering, node: Node, x: Value, order: Sequence[int]) -> Value:
    """Dimensions in another order."""
    return x.arranged(tuple(x.dims[i] for i in order))


@handles("transpose", "swapaxes", "swapdims")
def transpose(low: Lowering, node: Node, x: Value, a: int, b: int) -> Value:
    """Two dimensions change places."""
    dims = list(x.dims)
    dims[a], dims[b] = dims[b], dims[a]
    return x.arranged(tuple(dims))


@handles("t", "numpy_T", "mT")
def flipped(low: Lowering, node: Node, x: Value) -> Value:
    """The last two dimensions change places."""
    return x if len(x.dims) < 2 else transpose(low, node, x, -1, -2)


@handles("movedim.int", "moveaxis.int")
def movedim(low: Lowering, node: Node, x: Value, a: int, b: int) -> Value:
    """One dimension moves."""
    dims = list(x.dims)
    dim = dims.pop(a)
    dims.insert(b % len(x.dims), dim)
    return x.arranged(tuple(dims))


@handles("expand", "expand_as", "broadcast_to")
def expand(low: Lowering, node: Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Dimensions of length 1 are repeated."""
    lengths = [int(n) for n in node.meta["val"].shape]
    dims = ((),) * (len(lengths) - len(x.dims)) + x.dims
    return x.arranged(tuple(d if size(d) == n else (Atom(COPIES, n),) for d, n in zip(dims, lengths, strict=True)))


@handles("repeat")
def repeat(low: Lowering, node: Node, x: Value, times: Sequence[int]) -> Value:
    """Repeats as a whole: copies outside of every dimension."""
    dims = ((),) * (len(times) - len(x.dims)) + x.dims
    out = []
    for d, n in zip(dims, times, strict=True):
        out.append(merged(((Atom(COPIES, n),) if n > 1 else ()) + d))
    return x.arranged(tuple(out))


@handles("repeat_interleave.self_int")
def repeat_interleave(low: Lowering, node: Node, x: Value, times: int, dim: int | None = None, **rest: Any) -> Value:
    """Repeats element by element: copies inside of a dimension."""
    if dim is None:
        raise NotUnderstood("a repeat over all dimensions")
    dims = list(x.dims)
    dims[dim] = (*dims[dim], Atom(COPIES, times))
    return x.arranged(tuple(dims))


@handles("select.int")
def select(low: Lowering, node: Node, x: Value, dim: int, index: int) -> Value:
    """One entry of a dimension."""
    n = x.shape[dim]
    return piece(low, node, x, dim, [1] * n, index % n, gone=True)


@handles("slice.Tensor", "narrow")
def slice_(
    low: Lowering, node: Node, x: Value, dim: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> Value:
    """A run of a dimension."""
    n = x.shape[dim]
    if "narrow" in str(node.target):
        assert start is not None and stop is not None
        start, stop = start % n if start else 0, start + stop
    first, last, step = slice(start, stop, step).indices(n)
    if (first, last, step) == (0, n, 1):
        return x
    if step != 1:
        if isinstance(x, Stream) and along_features(x, dim):
            return picked(low, node, x, dim, range(first, last, step))
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
def split(low: Lowering, node: Node, x: Value, pieces: Any, dim: int = 0) -> Value:
    """A dimension in pieces."""
    widths = [int(t.shape[dim]) for t in node.meta["val"]]
    return tuple(piece(low, node, x, dim, widths, i, gone=False) for i in range(len(widths)))


@handles("unbind.int")
def unbind(low: Lowering, node: Node, x: Value, dim: int = 0) -> Value:
    """A dimension entry by entry."""
    n = x.shape[dim]
    return tuple(piece(low, node, x, dim, [1] * n, i, gone=True) for i in range(n))


def piece(low: Lowering, node: Node, x: Value, dim: int, widths: list[int], which: int, gone: bool) -> Value:
    """One of the pieces that a dimension is cut into.

    Args:
        low: the program.
        node: the call.
        x: a stream or a parameter.
        dim: the dimension.
        widths: lengths of all pieces.
        which: the piece wanted.
        gone: whether the dimension is dropped.
    """
    dim %= len(x.dims)
    if isinstance(x, Stacked) and dim == 0 and gone:
        return x.parts[which]
    if len(widths) == 1:
        return x.arranged(x.dims[:dim] + x.dims[dim + 1 :]) if gone else x
    atoms = x.dims[dim]
    if all(a.axis == COPIES for a in atoms):
        rest: Dim = () if widths[which] == 1 else (Atom(COPIES, widths[which]),)
        return x.arranged(x.dims[:dim] + (() if gone else (rest,)) + x.dims[dim + 1 :])
    if isinstance(x, Weight):
        return _part(x, dim, widths, which, gone)
    if not isinstance(x, Stream):
        raise NotUnderstood("a piece of scores")
    if any(a.axis == x.feature_axis for a in atoms):
        return _features(low, node, x, dim, widths, which, gone)
    start = sum(widths[:which])
    if any(a.axis == 0 for a in atoms) and size(atoms) > 1:
        raise NotUnderstood("single examples of a batch are used")
    if widths[which] == 1 and len(x.signal.space) == 1 and not x.signal.channels_first and len(x.dims) == 3:
        s = exact(low, node, x, 2)
        (y,) = low.emit(node, SelectToken(start), [s], label="token")
        return y if gone else y.arranged((y.dims[0], (), y.dims[1]))
    out = _positions(low, node, x, dim, (start, start + widths[which], 1))
    return out.arranged(out.dims[:dim] + out.dims[dim + 1 :]) if gone else out


def _positions(low: Lowering, node: Node, x: Value, dim: int, run: tuple[int, int, int]) -> Stream:
    """A slice of positions."""
    if not isinstance(x, Stream):
        raise NotUnderstood("every second entry of a parameter is used")
    dim %= len(x.dims)
    axis = straight(x, dim)
    if axis is not None:
        (out,) = low.emit(node, Positions("slice", run, axis), [x], label="slice")
        return relength(x, out, dim)
    found = x.feature_dims
    if dim in found:
        raise NotUnderstood("every second feature is used")
    feature = found[0] if len(found) == 1 else len(x.dims) - 1
    s = exact(low, node, x, feature, first=x.signal.channels_first and feature == 1)
    if len(s.dims[dim]) != 1:
        raise NotUnderstood("positions and examples are cut together")
    axis = s.dims[dim][0].axis
    axes = [i for i in range(1, len(s.signal.shape) + 1) if i != s.feature_axis]
    (out,) = low.emit(node, Positions("slice", run, axes.index(axis)), [s], label="slice")
    left = (Atom(axis, out.signal.space[axes.index(axis)]),)
    return out.arranged((*s.dims[:dim], left if left[0].size > 1 else (), *s.dims[dim + 1 :]))


def _features(low: Lowering, node: Node, x: Stream, dim: int, widths: list[int], which: int, gone: bool) -> Stream:
    """A run of features: an output of a split, or of a map of its own where they do not lie together."""
    atoms, every = x.dims[dim], x.feature_atoms
    first = atoms[0]
    if first.axis != x.feature_axis:
        raise NotUnderstood("positions and features are cut together")
    inner = math.prod(a.size for a in atoms) // first.size  # what of the dimension lies inside of its outer atom
    if any(w % inner for w in widths):
        raise NotUnderstood("features are cut across their pieces")
    runs = [w // inner for w in widths]
    if first == every[0]:
        parts = tuple(r * first.stride for r in runs)
        streams = _joined(low, x, parts) or low.emit(
            node, Split(parts), [x], label="split", key=("split", x.port, parts)
        )
        s = streams[which]
        kept = _without(x, first, runs[which])
        dims = kept[:dim] + kept[dim + 1 :] if gone else kept
        moved = tuple(
            tuple(Atom(s.feature_axis if a.axis == x.feature_axis else a.axis, a.size, a.stride) for a in d)
            for d in dims
        )
        return s.arranged(moved)
    out = apart(low, node, x, first, runs, which)
    return out.arranged(out.dims[:dim] + out.dims[dim + 1 :]) if gone else out


def _joined(low: Lowering, x: Stream, parts: tuple[int, ...]) -> tuple[Stream, ...] | None:
    """The streams that a concatenation put side by side, where these are the pieces wanted."""
    if not isinstance(low.builder.blocks.get(x.port[0]), Concat):
        return None
    ports = low.builder.reads[x.port[0]]
    signals = [low.builder.signals[p] for p in ports]
    if tuple(s.features for s in signals) != parts:
        return None
    return tuple(Stream(p, s, canonical((x.shape_batch, *s.shape))) for p, s in zip(ports, signals, strict=True))


def _without(x: Stream, cut: Atom, left: int) -> Dims:
    """The dimensions of a stream whose outer feature atom is shorter."""
    return tuple(
        tuple(Atom(a.axis, left, a.stride) if a == cut else a for a in d if a != cut or left > 1) for d in x.dims
    )


def _part(w: Weight, dim: int, widths: list[int], which: int, gone: bool) -> Weight:
    """A slice of a parameter, as a parameter with a name of its own."""
    flat = [a for d in w.dims for a in d if a.axis != COPIES]
    memory = sorted(flat, key=lambda a: (a.axis, -a.stride))
    cut = w.dims[dim][0]
    inner = size(w.dims[dim]) // cut.size
    if any(n % inner for n in widths) or math.prod(a.size for a in memory) != math.prod(w.full):
        raise NotUnderstood("a parameter is cut across its axes")
    start, stop = sum(widths[:which]) // inner, (sum(widths[:which]) + widths[which]) // inner
    at = memory.index(cut)
    index = ",".join([*[":"] * at, f"{start}:{stop}"])
    sizes = tuple(a.size for a in memory)
    plain = sizes == tuple(w.full)
    name = f"{w.name}{'' if plain else '.view(' + ','.join(map(str, sizes)) + ')'}[{index}]"
    full = tuple(stop - start if i == at else n for i, n in enumerate(sizes))
    new = {a: Atom(i, n) for i, (a, n) in enumerate(zip(memory, full, strict=True))}
    dims = tuple(tuple(b for b in (new.get(a, a) for a in d) if b.size > 1) for d in w.dims)
    return Weight(name, w.base, full, dims[:dim] + dims[dim + 1 :] if gone else dims)


def piece_of(w: Weight, dim: int, start: int, stop: int) -> Weight:
    """A run of one dimension of a parameter."""
    widths = [start, stop - start, w.shape[dim] - stop]
    kept = [n for n in widths if n]
    return _part(w, dim, kept, 1 if start else 0, gone=False)


def unsqueezed(low: Lowering, node: Node, value: Value, count: int) -> Value:
    """A parameter, a sum of some, or what is made of them, with so many dimensions of length 1 behind its own."""
    if isinstance(value, Combined):
        return Combined(terms=tuple((unsqueezed(low, node, w, count), a) for w, a in value.terms))
    s = value if isinstance(value, Weight) else low.stream(value, node)
    return s.arranged((*s.dims, *[()] * count))
