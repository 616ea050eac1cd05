"""Operations of torch written in simpler ones, so that few are left to be evaluated in high precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..aten import window_counts, window_places

aten = torch.ops.aten
Tensor = torch.Tensor


def _layer_norm(x: Tensor, shape: Sequence[int], weight: Any, bias: Any, epsilon: float) -> tuple[Tensor, ...]:
    axes = list(range(x.ndim - len(shape), x.ndim))
    mean = x.mean(axes, True)
    off = x - mean
    scale = torch.rsqrt((off * off).mean(axes, True) + epsilon)
    y = off * scale
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, scale


def _group_norm(
    x: Tensor, weight: Any, bias: Any, n: int, channels: int, size: int, groups: int, epsilon: float
) -> tuple[Tensor, ...]:
    cut = x.reshape(n, groups, channels // groups * size)
    y, mean, scale = _layer_norm(cut, cut.shape[2:], None, None, epsilon)
    y = y.reshape(x.shape)
    own = (1, channels, *[1] * (x.ndim - 2))
    y = y if weight is None else y * weight.reshape(own)
    return (y if bias is None else y + bias.reshape(own)), mean.reshape(n, groups), scale.reshape(n, groups)


def _softmax(x: Tensor, axis: int, half: bool) -> Tensor:
    e = torch.exp(x - x.amax(axis, True).detach())
    return e / e.sum(axis, True)


def _log_softmax(x: Tensor, axis: int, half: bool) -> Tensor:
    off = x - x.amax(axis, True).detach()
    return off - off.exp().sum(axis, True).log()


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    return torch.where(x > 0, x * scale, (torch.exp(x * input_scale) - 1) * (alpha * scale))


def _clamp(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    x = x if low is None else torch.where(x < low, low, x)
    return x if high is None else torch.where(x > high, high, x)


def _windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, Tensor, list[int]]:
    """The padded input, the places that each window reads in its flat space, and how many windows there are."""
    padded = torch.constant_pad_nd(x, [q for p in reversed(padding) for q in (p, p)])
    space = padded.shape[2:]
    sizes = window_counts(space, kernel, stride, dilation)
    places = window_places(space, sizes, kernel, stride, [0] * len(space), dilation)
    return padded, torch.from_numpy(places), sizes


def _forward(x: Tensor, weight: Tensor, options: tuple[Any, ...]) -> Tensor:
    """A convolution as products of windows and weights."""
    stride, padding, dilation, groups = options
    n, out = x.shape[0], weight.shape[0]
    padded, places, sizes = _windows(x, weight.shape[2:], stride, padding, dilation)
    cut = padded.reshape(n, x.shape[1], -1)[:, :, places]  # (n, channels, kernel, windows)
    cut = cut.reshape(n * groups, -1, places.shape[1])
    rows = weight.reshape(groups, out // groups, -1).repeat(n, 1, 1)
    return torch.bmm(rows, cut).reshape(n, out, *sizes)


def _gradients(y: Tensor, x: Tensor, weight: Tensor, options: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """What a convolution sends back to its input and to its weights."""
    stride, padding, dilation, groups = options
    n, channels, out = x.shape[0], x.shape[1], weight.shape[0]
    padded, places, _ = _windows(x, weight.shape[2:], stride, padding, dilation)
    back = y.reshape(n * groups, out // groups, -1)
    cut = padded.reshape(n, channels, -1)[:, :, places].reshape(n * groups, -1, places.shape[1])
    to_weight = torch.bmm(back, cut.transpose(1, 2)).reshape(n, *weight.shape).sum(0)
    rows = weight.reshape(groups, out // groups, -1).repeat(n, 1, 1)
    spread = torch.bmm(rows.transpose(1, 2), back).reshape(n, channels, *places.shape)
    flat = torch.zeros_like(padded).reshape(n, channels, -1)
    flat = torch.index_put(flat.permute(2, 0, 1), (places,), spread.permute(2, 3, 0, 1), True).permute(1, 2, 0)
    inner = tuple(slice(p, p + m) for p, m in zip(padding, x.shape[2:], strict=True))
    return flat.reshape(padded.shape)[(slice(None), slice(None), *inner)], to_weight


def _shaped(bias: Tensor, y: Tensor) -> Tensor:
    return bias.reshape(1, -1, *[1] * (y.ndim - 2))


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    if transposed or x.shape[0] == 0:
        return NotImplemented
    y = _forward(x, weight, (stride, padding, dilation, groups))
    return y if bias is None else y + _shaped(bias, y)


def _convolution_backward(
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> Any:
    if transposed:
        return NotImplemented
    to_x, to_weight = _gradients(y, x, weight, (stride, padding, dilation, groups))
    return to_x, to_weight, y.sum([0, *range(2, y.ndim)])


def table() -> dict[Any, Callable[..., Any]]:
    """Operations and what they are made of, for `make_fx`."""
    own = {
        aten.native_layer_norm.default: _layer_norm,
        aten.native_group_norm.default: _group_norm,
        aten._softmax.default: _softmax,
        aten._log_softmax.default: _log_softmax,
        aten.gelu.default: _gelu,
        aten.elu.default: _elu,
        aten.clamp.default: _clamp,
        aten.relu.default: lambda x: torch.where(x > 0, x, 0.0),
        aten.leaky_relu.default: lambda x, slope=0.01: torch.where(x > 0, x, x * slope),
        aten.convolution.default: _convolution,
        aten.convolution_backward.default: _convolution_backward,
    }
    return {**torch.export.default_decompositions(), **own}
