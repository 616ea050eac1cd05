"""Convolutions and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import Block, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, UnevenConv
from lawful.theory.parts import viewed

from ..arrange import exact
from ..context import Context, handles
from ..sources import arranged_name
from ..steps.applied import apply
from ..steps.arithmetic import distributed
from ..steps.formed import Formed, Unit
from ..steps.maps import dense, plus_bias
from ..steps.parameters import bias_name, is_repeated, unsqueezed
from ..steps.positions import beside, padded, per_axis, rejoined
from ..steps.reparametrised import Directed, Standard, directed_conv, standard_conv
from ..values import Combined, Lazy, NotUnderstood, Stream, Value, Weight

_CONVS: dict[tuple[int, bool], type[Block]] = {
    (1, False): Conv1d,
    (2, False): Conv2d,
    (3, False): Conv3d,
    (1, True): ConvTranspose1d,
    (2, True): ConvTranspose2d,
    (3, True): ConvTranspose3d,
}


@handles("conv1d", "conv2d", "conv3d")
def conv(
    low: Context,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    """A convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, 0, groups, dilation, False)


@handles("convolution")
def convolution(
    low: Context,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> Value:
    """Any convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, extra, groups, dilation, transposed)


@handles("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input")
def conv_transpose(
    low: Context,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Any = 1,
    padding: Any = 0,
    extra: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """The transpose of a convolution."""
    return _conv(low, node, x, weight, bias, stride, padding, extra, groups, dilation, True)


def _conv(
    low: Context,
    node: Node,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Any,
    padding: Any,
    extra: Any,
    groups: int,
    dilation: Any,
    transposed: bool,
) -> Stream:
    apart = isinstance(bias, Lazy) or is_repeated(bias)
    if isinstance(weight, Combined) or apart:
        kept = bias if not apart and not isinstance(weight, Combined) else None
        geometry = (stride, padding, extra, groups, dilation, transposed)
        parts = weight if isinstance(weight, Combined) else Combined(terms=((weight, 1.0),))
        y = distributed(low, node, parts, lambda w: _conv(low, node, x, w, kept, *geometry))
        if bias is None or kept is not None:
            return y
        return plus_bias(low, node, y, unsqueezed(low, node, bias, len(weight.shape) - 2))
    if (isinstance(weight, Formed) and not isinstance(weight, Unit)) or is_repeated(weight):
        return _formed_conv(low, node, x, weight, bias, (stride, padding, extra, groups, dilation, transposed))
    made = isinstance(weight, (Standard, Directed, Unit))
    if not (isinstance(weight, Weight) or made) or (made and transposed):
        raise NotUnderstood("a convolution whose kernel is computed")
    shape = weight.shape
    rank = len(shape) - 2
    channels = shape[0] if transposed else shape[1] * groups
    width = shape[1] * groups if transposed else shape[0]
    step, hole = per_axis(stride, rank), per_axis(dilation, rank)
    kernel = shape[2:]
    before = x
    if isinstance(padding, str):
        around, padding = _named_padding(padding, kernel, hole)
        if around is not None:
            before = padded(low, node, low.stream(x, node, channels_first=True), around)
    border, more = per_axis(padding, rank), per_axis(extra, rank)
    if isinstance(weight, Weight) and isinstance(before, Stream) and groups == 1 and len(before.dims[0]) > 1:
        if set(kernel) == set(step) == {1} and not (any(border) or any(more) or transposed):
            return _pixelwise(low, node, before, weight, bias)
    s = exact(low, node, low.stream(before, node, channels_first=True), 1, first=True)
    if isinstance(weight, Standard):
        return standard_conv(low, node, s, weight, bias, (step, border, hole), groups)
    if isinstance(weight, (Directed, Unit)):
        return directed_conv(low, node, s, weight, bias, (step, border, hole), groups)
    name = arranged_name(weight, [a for d in weight.dims for a in d])
    extra = beside(s, rank)
    if extra:  # windows of one pixel along them
        rank, kernel, step, hole = rank + extra, (1,) * extra + kernel, (1,) * extra + step, (1,) * extra + hole
        border, more = (0,) * extra + border, (0,) * extra + more
        name = viewed(name, (*shape[:2], *kernel))
    names = {"weight": name} | bias_name(bias, width)
    even = all(len(set(t)) == 1 for t in (kernel, step, hole, border, more))
    block: Block
    if even:
        options: dict[str, Any] = {"output_padding": more[0]} if transposed and more[0] else {}
        block = _CONVS[rank, transposed](  # type: ignore[call-arg]
            channels, width, kernel[0], step[0], border[0], groups, "bias" in names, hole[0], **options
        )
    else:
        block = UnevenConv(
            channels, width, kernel, step, border, hole, groups, "bias" in names, transposed, more if transposed else ()
        )
    (y,) = low.emit(node, block, [s], names)
    if extra:
        return rejoined(s, y, extra)
    return y.arranged((s.dims[0], *y.dims[1:]))  # what is made of numbers alone is the same for every example


def _pixelwise(low: Context, node: Node, s: Stream, weight: Weight, bias: Value) -> Stream:
    """A kernel of one pixel where examples and windows share an axis: a linear map of the channels."""
    y = dense(low, node, s.arranged((s.dims[0], *s.dims[2:], s.dims[1])), weight.arranged(weight.dims[:2]), bias, 0, 1)
    return y.arranged((y.dims[0], y.dims[-1], *y.dims[1:-1]))


def _formed_conv(low: Context, node: Node, x: Value, weight: Value, bias: Value, geometry: tuple[Any, ...]) -> Stream:
    """A convolution whose kernels are made of parameters by moves of their channels."""
    groups, transposed = geometry[3], geometry[5]
    if groups != 1 or transposed:
        raise NotUnderstood("a grouped convolution whose kernel is computed")

    def leaf(z: Stream, w: Weight | Unit, turned: bool) -> Stream:
        if turned:
            raise NotUnderstood("a convolution by turned kernels")
        return _conv(low, node, z, w, None, *geometry)

    y = apply(low, node, low.stream(x, node, channels_first=True), weight, leaf, 1)
    if bias is None:
        return y
    return plus_bias(low, node, y, unsqueezed(low, node, bias, len(weight.shape) - 2))


def _named_padding(
    name: str, kernel: Sequence[int], hole: Sequence[int]
) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Padding `same` or `valid`: zeros that are put around first where the two sides differ, and the even rest."""
    if name == "valid":
        return None, (0,) * len(kernel)
    total = [d * (k - 1) for k, d in zip(kernel, hole, strict=True)]
    if all(n % 2 == 0 for n in total):
        return None, tuple(n // 2 for n in total)
    around = [m for n in reversed(total) for m in (n // 2, n - n // 2)]
    return tuple(around), (0,) * len(kernel)
