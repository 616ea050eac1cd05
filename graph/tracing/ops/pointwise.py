"""Activations and other maps of single numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import (
    CELU,
    ELU,
    SELU,
    Abs,
    Block,
    Dropout,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Identity,
    Larger,
    LeakyReLU,
    Pointwise,
    Power,
    PReLU,
    ReLU,
    ReLU6,
    Scale,
)

from ..context import Context, handles
from ..steps.arithmetic import plus, times
from ..steps.broadcast import joined
from ..steps.entrywise import entrywise
from ..steps.features import softmax_along
from ..steps.parameters import bias_name, combined
from ..steps.pointwise import mapped
from ..steps.routed import Kept, chosen_sigmoid, chosen_softmax, softmax_of_chosen
from ..steps.scores import on_scores, softmaxed
from ..steps.sinks import Sunk, dropped, sink_softmax
from ..values import Combined, NotUnderstood, Scores, Stream, Value, Weight, number

_PLAIN: dict[str, Block] = {
    "relu": ReLU(),
    "relu6": ReLU6(),
    "silu": Pointwise("silu"),
    "tanh": Pointwise("tanh"),
    "sigmoid": Pointwise("sigmoid"),
    "mish": Pointwise("mish"),
    "exp": Pointwise("exp"),
    "log_sigmoid": Pointwise("logsigmoid"),
    "hardswish": HardSwish(),
    "hardsigmoid": HardSigmoid(),
    "selu": SELU(),
    "abs": Abs(),
    "square": Power(2),
    "erf": Pointwise("erf"),
    "sin": Pointwise("sin"),
    "cos": Pointwise("cos"),
    "log": Pointwise("log"),
    "rsqrt": Pointwise("rsqrt"),
    "sqrt": Pointwise("sqrt"),
    "reciprocal": Pointwise("reciprocal"),
    "log1p": Pointwise("log1p"),
    "expm1": Pointwise("expm1"),
}


LARGEST = torch.finfo(torch.float32).max  # what no bound of a clamp is beyond


@handles(*_PLAIN)
def plain(low: Context, node: Node, x: Value) -> Value:
    """Activations without options."""
    if isinstance(x, Scores):
        return on_scores(low, node, x)
    if isinstance(x, Kept) and "sigmoid" in str(node.target):
        return chosen_sigmoid(low, node, x)
    return mapped(low, node, x, _PLAIN[str(node.target).split(".")[1]])


@handles("neg")
def neg(low: Context, node: Node, x: Value) -> Value:
    """`-x`."""
    if isinstance(x, (Weight, Combined)):
        return combined((x, -1.0))
    return mapped(low, node, x, Scale(-1.0), "neg")


@handles("gelu")
def gelu(low: Context, node: Node, x: Value, approximate: str = "none") -> Value:
    """GELU."""
    return mapped(low, node, x, Pointwise("gelu" if approximate == "none" else "gelu_tanh"))


@handles("leaky_relu")
def leaky_relu(low: Context, node: Node, x: Value, slope: float = 0.01) -> Value:
    """LeakyReLU."""
    return mapped(low, node, x, LeakyReLU(slope))


@handles("hardtanh")
def hardtanh(low: Context, node: Node, x: Value, least: float = -1.0, most: float = 1.0) -> Value:
    """Clamping."""
    block = ReLU6() if (least, most) == (0, 6) else HardTanh(float(least), float(most))
    return mapped(low, node, x, block)


@handles("clamp", "clip")
def clamp(low: Context, node: Node, x: Value, least: Any = None, most: Any = None) -> Value:
    """Clamping; a bound that no number of 32 bits is beyond is none."""
    least = None if isinstance(least, (int, float)) and least <= -LARGEST else least
    most = None if isinstance(most, (int, float)) and most >= LARGEST else most
    if least is None and most is None:
        return mapped(low, node, x, Identity())
    if most is None and least == 0:
        return mapped(low, node, x, ReLU())
    if least is None or most is None or not isinstance(least, (int, float)) or not isinstance(most, (int, float)):
        return _one_sided(low, node, x, least, most)
    return hardtanh(low, node, x, least, most)


def _one_sided(low: Context, node: Node, x: Value, least: Any, most: Any) -> Value:
    """A function of single numbers; a ReLU between two shifts for bounds far away, and for all experts at once."""
    try:
        return entrywise(low, node, x, least, most)
    except NotUnderstood:
        bound, sign = (least, 1.0) if most is None else (most, -1.0)
        if not isinstance(x, Stream) or not isinstance(bound, (int, float)):
            raise
        above = plus(low, node, times(low, node, x, sign), -sign * bound)
        return times(low, node, plus(low, node, mapped(low, node, above, ReLU()), sign * bound), sign)


@handles("clamp.Tensor")
def clamped(low: Context, node: Node, x: Value, least: Any = None, most: Any = None) -> Value:
    """Clamping between tensors: the larger of it and one, the smaller of that and the other."""
    bounds = [None if v is None else number(v) for v in (least, most)]
    if [v is None for v in bounds] == [v is None for v in (least, most)]:
        return clamp(low, node, x, *bounds)
    if least is not None:
        x = joined(low, node, Larger(), x, least)
    return x if most is None else joined(low, node, Larger(smaller=True), x, most)


@handles("clamp_min.Tensor")
def clamped_below(low: Context, node: Node, x: Value, least: Value) -> Value:
    """The larger of two tensors."""
    return joined(low, node, Larger(), x, least)


@handles("clamp_max.Tensor")
def clamped_above(low: Context, node: Node, x: Value, most: Value) -> Value:
    """The smaller of two tensors."""
    return joined(low, node, Larger(smaller=True), x, most)


@handles("clamp_min")
def clamp_min(low: Context, node: Node, x: Value, least: Any) -> Value:
    """ReLU written as a maximum."""
    return clamp(low, node, x, least)


@handles("elu")
def elu(low: Context, node: Node, x: Value, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Value:
    """ELU."""
    if scale != 1 or rate != 1:
        return entrywise(low, node, x, alpha, scale, rate)
    return mapped(low, node, x, ELU(float(alpha)))


@handles("celu")
def celu(low: Context, node: Node, x: Value, alpha: float = 1.0) -> Value:
    """CELU."""
    return mapped(low, node, x, CELU(float(alpha)))


@handles("softplus")
def softplus(low: Context, node: Node, x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """Softplus."""
    if beta != 1:
        return entrywise(low, node, x, beta, threshold)
    return mapped(low, node, x, Pointwise("softplus"))


@handles("rrelu")
def rrelu(
    low: Context, node: Node, x: Value, least: float = 1 / 8, most: float = 1 / 3, training: bool = False, *rest: Any
) -> Value:
    """LeakyReLU with a slope that is drawn in training, and the middle of its range in evaluation."""
    if training and least != most:
        raise NotUnderstood("a slope that is drawn")
    return mapped(low, node, x, LeakyReLU((least + most) / 2))


@handles("prelu")
def prelu(low: Context, node: Node, x: Value, weight: Value) -> Value:
    """ReLU with a trained slope."""
    if not isinstance(weight, Weight):
        raise NotUnderstood("a slope that is computed")
    s = low.stream(x, node, channels_first=len(node.meta["val"].shape) > 2)
    slopes = weight.shape[0]
    (y,) = low.emit(node, PReLU(slopes), [s], {"weight": bias_name(weight, slopes)["bias"]})
    return y.arranged(s.dims)


@handles("pow.Tensor_Scalar")
def power(low: Context, node: Node, x: Value, n: Any) -> Value:
    """A fixed power."""
    if n == 1:
        return x
    if isinstance(n, (int, float)) and n == int(n) and n > 1:
        return mapped(low, node, x, Power(int(n)), "power")
    if isinstance(n, (int, float)) and 2 * n == int(2 * n) and n:  # x^(-3/2) = rsqrt(x)^3
        root = {(True, True): "rsqrt", (True, False): "reciprocal", (False, True): "sqrt"}[n < 0, n != int(n)]
        y = mapped(low, node, x, Pointwise(root), root)
        times = round(abs(n) * (2 if n != int(n) else 1))
        return y if times == 1 else mapped(low, node, y, Power(times), "power")
    return entrywise(low, node, x, n)


@handles("dropout", "feature_dropout")
def dropout(low: Context, node: Node, x: Value, probability: float, training: bool) -> Value:
    """Dropout: nothing in evaluation."""
    if not training or not probability:
        return x
    if isinstance(x, Scores):
        if not x.done or x.dropout:
            raise NotUnderstood("dropout of the scores of attention before their softmax, or twice")
        return replace(x, dropout=probability)
    if isinstance(x, Sunk):
        return dropped(x, probability)
    if "feature" in str(node.target):
        raise NotUnderstood("dropout of whole channels")
    return mapped(low, node, x, Dropout(probability))


@handles("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(low: Context, node: Node, x: Value, dim: int, *rest: Any, **options: Any) -> Value:
    """Softmax: over the keys of attention, or over features."""
    log = "log" in str(node.target)
    weights: Value | None = None
    if isinstance(x, Scores):
        weights = softmaxed(low, node, x, dim)
    elif isinstance(x, Sunk):
        weights = sink_softmax(x, dim)
    elif isinstance(x, Kept):
        weights = chosen_softmax(low, node, x, dim)
    if weights is not None:
        return mapped(low, node, low.stream(weights, node), Pointwise("log"), "log") if log else weights
    chosen = None if log else softmax_of_chosen(low, node)
    if chosen is not None:
        return chosen
    return softmax_along(low, node, low.stream(x, node), dim, log)
