"""Fixed moves of features: another order, copies, sums, features left out, numbers beside them, the mean removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch.fx import Node

from lawful.blocks import Centre, Concat, Reorder, RepeatFeatures, Scale, Split, SumFeatures

from ..arrange import exact
from ..layout import COPIES, Atom
from ..lowering import Lowering
from ..purity import name_of
from ..values import Fixed, NotUnderstood, Stream


def along_features(s: Stream, dim: int) -> bool:
    """Whether a dimension of a stream holds all of its features and nothing else."""
    return s.signal.features > 1 and s.feature_dims == [dim % len(s.dims)] and s.dims[dim] == s.feature_atoms


def opened(low: Lowering, node: Node, s: Stream, dim: int) -> Stream:
    """A stream whose feature axis is a dimension of the traced tensor, copies included.

    Raises:
        NotUnderstood: if something else than features lies there.
    """
    dim %= len(s.dims)
    if not dim:
        raise NotUnderstood("examples are moved")
    channels = s.signal.channels_first and dim == 1 and len(s.dims) > 2
    return exact(low, node, s, dim, first=channels)


def picked(low: Lowering, node: Node, s: Stream, dim: int, index: Sequence[int]) -> Stream:
    """Features by fixed indices, each any number of times.

    Args:
        low: the program.
        node: the call.
        s: the stream.
        dim: the dimension that holds its features.
        index: for every feature of the result the number of a feature.
    """
    s = opened(low, node, s, dim)
    n = s.signal.features
    times = Counter(index)
    order = sorted(range(n), key=lambda i: (-times[i], i))
    runs = [(k, sum(times[i] == k for i in range(n))) for k in sorted({times[i] for i in range(n)}, reverse=True)]
    y, parts = _ordered(low, node, s, order), []
    pieces = low.emit(node, Split(tuple(m for _, m in runs)), [y], label="split") if len(runs) > 1 else (y,)
    for (copies, _), piece in zip(runs, pieces, strict=True):
        if copies:
            parts.append(_repeated(low, node, piece, copies))
    (y,) = low.emit(node, Concat(), parts, label="cat") if len(parts) > 1 else parts
    written = [i for i in order for _ in range(times[i])]  # what stands where now
    places: dict[int, list[int]] = {}
    for at, i in enumerate(written):
        places.setdefault(i, []).append(at)
    y = _ordered(low, node, y, [places[i].pop(0) for i in index])
    return joined_features(s, y, dim)


def added(low: Lowering, node: Node, s: Stream, dim: int, index: Sequence[int], many: int) -> Stream:
    """Sums of features: what the transpose of `picked` does.

    Args:
        low: the program.
        node: the call.
        s: the stream.
        dim: the dimension that holds its features.
        index: for every feature of the stream the number of the sum that it is a term of.
        many: how many sums; each has a term.
    """
    s = opened(low, node, s, dim)
    times = Counter(index)
    sums = sorted(range(many), key=lambda i: (-times[i], i))
    terms = [j for i in sums for j, k in enumerate(index) if k == i]
    y, parts = _ordered(low, node, s, terms), []
    runs = [(k, sum(times[i] == k for i in range(many))) for k in sorted(set(times.values()), reverse=True)]
    widths = tuple(k * m for k, m in runs)
    pieces = low.emit(node, Split(widths), [y], label="split") if len(runs) > 1 else (y,)
    for (copies, _), piece in zip(runs, pieces, strict=True):
        parts.append(low.emit(node, SumFeatures(copies), [piece], label="sum")[0] if copies > 1 else piece)
    (y,) = low.emit(node, Concat(), parts, label="cat") if len(parts) > 1 else parts
    return joined_features(s, _ordered(low, node, y, [sums.index(i) for i in range(many)]), dim)


def total(low: Lowering, node: Node, s: Stream, dim: int, mean: bool) -> Stream:
    """The sum or the mean of all features, as one feature."""
    s = opened(low, node, s, dim)
    n = s.signal.features
    (y,) = low.emit(node, SumFeatures(n), [s], label="mean" if mean else "sum")
    if mean:
        (y,) = low.emit(node, Scale(1 / n), [y], label="scale")
    return joined_features(s, y, dim)


def padded(low: Lowering, node: Node, s: Stream, dim: int, before: int, after: int, value: float) -> Stream:
    """Fixed numbers beside the features."""
    from .joins import cat

    parts: list[Stream | Fixed] = [opened(low, node, s, dim)]
    for n, at in ((before, 0), (after, 2)):
        if n < 0:
            raise NotUnderstood("features are cut by a negative padding")
        if n:
            shape = [*s.shape]
            shape[dim] = n
            parts.insert(at, Fixed(torch.full(shape, value, dtype=torch.float64)))
    out = cat(low, node, parts, dim)
    assert isinstance(out, Stream)
    return out


def centred(low: Lowering, node: Node, x: Stream) -> Stream | None:
    """`x - x.mean(features)` as one block, None for any other difference."""
    mean = node.args[1]
    if not isinstance(mean, Node) or name_of(mean) != "mean" or mean.args[0] is not node.args[0] or len(mean.args) < 3:
        return None
    dims = mean.args[1]
    if not isinstance(dims, (list, tuple)) or len(dims) != 1 or not isinstance(dims[0], int) or not mean.args[2]:
        return None
    dim = dims[0] % len(x.dims)
    if not along_features(x, dim):
        return None
    s = opened(low, node, x, dim)
    (y,) = low.emit(node, Centre(), [s], label="centre")
    return y.arranged(s.dims)


def repeats_of(s: Stream, dim: int) -> tuple[int, int] | None:
    """How often the features along a dimension are repeated outside and inside, None for another arrangement."""
    atoms = s.dims[dim]
    own = [i for i, a in enumerate(atoms) if a.axis != COPIES]
    if tuple(atoms[i] for i in own) != s.feature_atoms or len(own) > 1:
        return None
    at = own[0] if own else len(atoms)
    outer, inner = 1, 1
    for i, a in enumerate(atoms):
        outer *= a.size if i < at else 1
        inner *= a.size if i > at else 1
    return outer, inner


def repeated(low: Lowering, node: Node, s: Stream, dim: int, first: bool) -> Stream:
    """A stream in which features that a view repeats are features of their own.

    Raises:
        NotUnderstood: where copies and something else than the whole of the features come together.
    """
    found = repeats_of(s, dim)
    if found is None:
        raise NotUnderstood("features are repeated")
    outer, inner = found
    plain = s.arranged((*s.dims[:dim], s.feature_atoms, *s.dims[dim + 1 :]))
    plain = exact(low, node, plain, dim, first=first)
    n = plain.signal.features
    y = _repeated(low, node, plain, outer * inner)
    order = [f * outer * inner + o * inner + i for o in range(outer) for f in range(n) for i in range(inner)]
    return joined_features(plain, _ordered(low, node, y, order), dim)


def _repeated(low: Lowering, node: Node, s: Stream, copies: int) -> Stream:
    return low.emit(node, RepeatFeatures(copies), [s], label="repeat")[0] if copies > 1 else s


def _ordered(low: Lowering, node: Node, s: Stream, order: Sequence[int]) -> Stream:
    if list(order) == list(range(len(order))):
        return s
    return low.emit(node, Reorder(tuple(order)), [s], label="order")[0]


def joined_features(s: Stream, y: Stream, dim: int) -> Stream:
    """What was made of a stream with other features, arranged as that is."""
    dim %= len(s.dims)
    n = y.signal.features
    dims = list(s.dims)
    dims[dim] = (Atom(y.feature_axis, n),) if n > 1 else ()
    return y.arranged(tuple(dims))
