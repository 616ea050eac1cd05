"""Windows of images side by side (`unfold`), and images that overlapping windows add up to (`fold`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.fx import Node

from ..along import along
from ..arguments import restored
from ..context import Context, handles
from ..layout import view
from ..values import NotUnderstood, Stream, Value

Windows = Sequence[int]


@handles("im2col")
def unfold(low: Context, node: Node, x: Value, kernel: Windows, *options: Windows) -> Stream:
    """`(batch, channels, height, width)` to `(batch, channels taps, windows)`: the channels stay, positions move."""
    s = low.stream(x, node)
    if len(s.shape) != 4:
        raise NotUnderstood("windows of a single image")
    channels, taps = s.shape[1], math.prod(kernel)

    def call(t: torch.Tensor) -> torch.Tensor:
        columns: torch.Tensor = torch.ops.aten.im2col(t, kernel, *options)
        return columns.unflatten(1, (channels, taps))

    y = _along(low, node, s, call, node.meta["val"].unflatten(1, (channels, taps)))
    batch, own, inner, windows = y.dims
    return y.arranged((batch, own + inner, windows))


@handles("col2im")
def fold(low: Context, node: Node, x: Value, size: Windows, kernel: Windows, *options: Windows) -> Stream:
    """`(batch, channels taps, windows)` to `(batch, channels, height, width)`: overlapping taps are added up."""
    s = low.stream(x, node)
    if len(s.shape) != 3:
        raise NotUnderstood("windows of a single image")
    taps = math.prod(kernel)
    heads = [a.size for a in s.dims[1] if a.axis == s.feature_axis]
    if math.prod(heads) * taps != s.shape[1]:
        raise NotUnderstood("windows that join features with taps")
    apart = s.arranged(view(s.dims, (s.shape[0], *heads, taps, s.shape[2])))

    def call(t: torch.Tensor) -> torch.Tensor:
        columns = t.flatten(1, len(heads) + 1)
        image: torch.Tensor = torch.ops.aten.col2im(columns, size, kernel, *options)
        return image.unflatten(1, heads)

    y = _along(low, node, apart, call, node.meta["val"].unflatten(1, heads))
    own = sum(y.dims[1 : 1 + len(heads)], ())
    return y.arranged((y.dims[0], own, *y.dims[1 + len(heads) :]))


def _along(
    low: Context, node: Node, s: Stream, call: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor
) -> Stream:
    """A call that mixes positions and does the same to every channel, by what it does to numbers."""
    whole = restored(s.dims, (s.shape_batch, *s.signal.shape), batch=True)
    y = along(low, node, s, lambda t: call(whole(t)), example)
    if y is None:
        raise NotUnderstood("it does not do the same to every channel")
    return y
