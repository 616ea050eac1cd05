"""Fixed moves of features: another order, copies, sums, features left out, the mean removed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import (
    Centre,
    Concat,
    Conv1d,
    Conv2d,
    Conv3d,
    Linear,
    Pointwise,
    Scale,
    Softmax,
    Split,
    SumFeatures,
)

from ..arrange import each_repeated, exact, facing, focus, joined_features, reordered
from ..context import Context
from ..purity import name_of
from ..values import NotUnderstood, Stream

FOLLOW = (Centre, Conv1d, Conv2d, Conv3d, Linear)  # blocks that may write for a single reader in another order
MANY = 32  # runs of features that are taken one by one


def along_features(s: Stream, dim: int) -> bool:
    """Whether a dimension of a stream holds all of its features and nothing else."""
    return s.signal.features > 1 and s.feature_dims == [dim % len(s.dims)] and s.dims[dim] == s.feature_atoms


def opened(low: Context, node: Node, s: Stream, dim: int) -> Stream:
    """A stream whose feature axis is a dimension of the traced tensor, copies included.

    Raises:
        NotUnderstood: if something else than features lies there.
    """
    dim %= len(s.dims)
    if not dim:
        raise NotUnderstood("examples are moved")
    channels = s.signal.channels_first and dim == 1 and len(s.dims) > 2
    return exact(low, node, s, dim, first=channels)


def picked(low: Context, node: Node, s: Stream, dim: int, index: Sequence[int]) -> Stream:
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
    read = node.args[0] if node.args else None
    alone = isinstance(read, Node) and len(read.users) == 1
    ordered = alone and isinstance(low.builder.blocks.get(s.port[0]), FOLLOW)
    if not ordered and max(times.values()) == 1 and len(times) < n and len(cut := _runs(index)) <= MANY:
        return joined_features(s, _side_by_side(low, node, s, cut), dim)
    order = sorted(range(n), key=lambda i: (-times[i], i))
    runs = [(k, sum(times[i] == k for i in range(n))) for k in sorted({times[i] for i in range(n)}, reverse=True)]
    y, parts = reordered(low, node, s, order), []
    pieces = low.emit(node, Split(tuple(m for _, m in runs)), [y], label="split") if len(runs) > 1 else (y,)
    for (copies, _), piece in zip(runs, pieces, strict=True):
        if copies:
            parts.append(each_repeated(low, node, piece, copies))
    (y,) = low.emit(node, Concat(), parts, label="cat") if len(parts) > 1 else parts
    written = [i for i in order for _ in range(times[i])]  # what stands where now
    places: dict[int, list[int]] = {}
    for at, i in enumerate(written):
        places.setdefault(i, []).append(at)
    y = reordered(low, node, y, [places[i].pop(0) for i in index])
    return joined_features(s, y, dim)


def _runs(index: Sequence[int]) -> list[range]:
    """Numbers as runs of neighbours."""
    out: list[range] = []
    for i in index:
        if out and out[-1].stop == i:
            out[-1] = range(out[-1].start, i + 1)
        else:
            out.append(range(i, i + 1))
    return out


def _side_by_side(low: Context, node: Node, s: Stream, runs: Sequence[range]) -> Stream:
    """Some of the features, each once: runs of them side by side, where no other order is needed for the rest."""
    ends = sorted({0, s.signal.features, *(r.start for r in runs), *(r.stop for r in runs)})
    widths = tuple(b - a for a, b in itertools.pairwise(ends))
    pieces = low.emit(node, Split(widths), [s], label="split")
    parts = [p for r in runs for p, a in zip(pieces, ends, strict=False) if r.start <= a < r.stop]
    return low.emit(node, Concat(), parts, label="cat")[0] if len(parts) > 1 else parts[0]


def added(low: Context, node: Node, s: Stream, dim: int, index: Sequence[int], many: int) -> Stream:
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
    y, parts = reordered(low, node, s, terms), []
    runs = [(k, sum(times[i] == k for i in range(many))) for k in sorted(set(times.values()), reverse=True)]
    widths = tuple(k * m for k, m in runs)
    pieces = low.emit(node, Split(widths), [y], label="split") if len(runs) > 1 else (y,)
    for (copies, _), piece in zip(runs, pieces, strict=True):
        parts.append(low.emit(node, SumFeatures(copies), [piece], label="sum")[0] if copies > 1 else piece)
    (y,) = low.emit(node, Concat(), parts, label="cat") if len(parts) > 1 else parts
    return joined_features(s, reordered(low, node, y, [sums.index(i) for i in range(many)]), dim)


def total(low: Context, node: Node, s: Stream, dim: int, mean: bool) -> Stream:
    """The sum or the mean of all features, as one feature."""
    s = opened(low, node, s, dim)
    n = s.signal.features
    (y,) = low.emit(node, SumFeatures(n), [s], label="mean" if mean else "sum")
    if mean:
        (y,) = low.emit(node, Scale(1.0, n), [y], label="scale")
    return joined_features(s, y, dim)


def centred(low: Context, node: Node, x: Stream) -> Stream | None:
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


def softmax_along(low: Context, node: Node, s: Stream, dim: int, log: bool = False) -> Stream:
    """Softmax over a dimension, which becomes the features, or its logarithm.

    Raises:
        NotUnderstood: for a dimension that cannot become the features.
    """
    if dim % len(s.dims) not in s.feature_dims:
        s = facing(low, node, s, dim % len(s.dims))
        if dim % len(s.dims) not in s.feature_dims:
            raise NotUnderstood("a softmax over something that is no axis of its own")
    s = focus(low, node, s, dim)
    (y,) = low.emit(node, Softmax(), [s], label="softmax")
    if log:
        (y,) = low.emit(node, Pointwise("log"), [y], label="log")
    return y.arranged(s.dims)


def log_softmax(low: Context, node: Node, x: Stream) -> Stream | None:
    """`x - x.logsumexp(features)`, as distributions write it, None for any other difference."""
    total: Any = node.args[1]
    if not isinstance(total, Node) or name_of(total) != "logsumexp" or total.args[0] is not node.args[0]:
        return None
    dims: Any = total.args[1] if len(total.args) > 2 and total.args[2] else ()  # it keeps the dimension
    return softmax_along(low, node, x, dims[0], log=True) if len(dims) == 1 else None
