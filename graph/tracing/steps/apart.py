"""Features that lie apart (q of every head in a packed map): the maps that wrote them, for these features only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Affine, BatchNormCore, Block, Conv1d, Conv2d, Conv3d, FrozenBatchNorm, Linear, UnevenConv

from ...architecture.compile import Port
from ..context import Context
from ..layout import Atom, canonical
from ..values import NotUnderstood, Stream

MAPS = (Linear, Conv1d, Conv2d, Conv3d, UnevenConv)


SINGLE = (Affine, FrozenBatchNorm, BatchNormCore)  # blocks that treat every feature by itself


def apart(low: Context, node: Node, x: Stream, cut: Atom, runs: Sequence[int], which: int) -> Stream:
    """A run of one feature atom that is not the outermost one, as the output of maps of its own.

    Args:
        low: the program.
        node: the call.
        x: a stream that a linear map wrote, or what treats single features behind one.
        cut: the feature atom that is cut.
        runs: lengths of its pieces.
        which: the piece wanted.

    Returns:
        The stream in the arrangement of x, with the shorter atom.

    Raises:
        NotUnderstood: if something else wrote the features.
    """
    atoms = x.feature_atoms
    sizes = [a.size for a in atoms]
    at = atoms.index(cut)
    start = sum(runs[:which])
    index = ",".join(":" if i != at else f"{start}:{start + runs[which]}" for i in range(len(sizes)))
    port = _again(low, node, x.port, sizes, index)
    signal = low.builder.signals[port]
    left = [runs[which] if i == at else n for i, n in enumerate(sizes)]
    strides = [math.prod(left[i + 1 :]) for i in range(len(left))]
    own = Stream(port, signal, canonical((x.shape_batch, *signal.shape)))
    new = {a: Atom(own.feature_axis, n, st) for a, n, st in zip(atoms, left, strides, strict=True)}
    return own.arranged(tuple(tuple(b for b in (new.get(a, a) for a in d) if b.size > 1) for d in x.dims))


def _again(low: Context, node: Node, port: Port, sizes: Sequence[int], index: str) -> Port:
    """The block that wrote a port, and those before it up to a linear map, for some of their features."""
    builder = low.builder
    block = builder.blocks.get(port[0])
    names = builder.names.get(port[0], {})
    view = ",".join(map(str, sizes))
    if isinstance(block, MAPS):
        turned = isinstance(block, UnevenConv) and block.transposed
        if turned or (not isinstance(block, Linear) and block.groups > 1):
            raise NotUnderstood("features of a transposed or grouped map that lie apart")
        reads = builder.reads[port[0]]
    elif isinstance(block, SINGLE):
        reads = [_again(low, node, builder.reads[port[0]][0], sizes, index)]
    else:
        raise NotUnderstood("features that lie apart are used by themselves")
    own = {}
    for local, name in names.items():
        first, *rest = block.parameters[local].shape
        if isinstance(block, Linear) and block.transposed and rest:  # what it writes is the last axis
            own[local] = f"{name}.view({first},{view})[:,{index}]"
        else:
            own[local] = f"{name}.view({','.join([view, *map(str, rest)])})[{index}]"
    streams = [Stream(p, builder.signals[p], canonical((low.batch, *builder.signals[p].shape))) for p in reads]
    key = ("part", port, view, index)
    (out,) = low.emit(node, _narrower(block, sizes, index), streams, own, label="part", key=key)
    for statistic in ("running_mean", "running_var"):
        whole = builder.state.get(f"{port[0]}.{statistic}")
        if whole is not None:
            builder.state[f"{out.port[0]}.{statistic}"] = whole.reshape(*sizes)[_slices(index)].reshape(-1)
    return out.port


def _narrower(block: Block, sizes: Sequence[int], index: str) -> Block:
    """A block for fewer features."""
    width = int(torch.empty(tuple(sizes), device="meta")[_slices(index)].numel())
    field = "width" if isinstance(block, MAPS) else "features"
    options: dict[str, Any] = {field: width}
    return dataclasses.replace(block, **options)


def _slices(index: str) -> tuple[slice, ...]:
    out = []
    for text in index.split(","):
        start, _, stop = text.partition(":")
        out.append(slice(int(start), int(stop)) if start else slice(None))
    return tuple(out)
