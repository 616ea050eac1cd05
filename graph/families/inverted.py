"""Inverted residuals: the block of MobileNets and EfficientNets."""

from __future__ import annotations

from collections.abc import Callable

from lawful.blocks import Add, BatchNorm, Conv2d, Net, Sigmoid, SqueezeExcite, StochasticDepth, Wiring, repeat

Activation = Callable[[], Net]


def divisible(n: float, by: int = 8) -> int:
    """The nearest multiple, at least one of them and not below 90 % of the number."""
    near = max(by, int(n + by / 2) // by * by)
    return near + by if near < 0.9 * n else near


def conv_norm(
    channels: int,
    width: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    epsilon: float = 1e-5,
) -> list[Net]:
    """A convolution that keeps the positions but for its stride, BatchNorm, and an activation if one is given."""
    convolution = Conv2d(channels, width, kernel, stride, kernel // 2, groups, bias=False)
    return [convolution, BatchNorm(width, epsilon=epsilon), *([activation()] if activation else [])]


def inverted_residual(
    channels: int,
    hidden: int,
    width: int,
    kernel: int,
    stride: int,
    activation: Activation,
    *,
    squeeze: int = 0,
    squeeze_activation: Activation | None = None,
    gate: Activation = Sigmoid,
    epsilon: float = 1e-5,
    drop: float = 0.0,
    name: str = "block",
    flat: bool = False,
) -> Net:
    """1x1 convolution to `hidden` channels, depthwise convolution, squeeze and excitation, 1x1 convolution.

    Args:
        channels: of the input.
        hidden: of the depthwise convolution; the first convolution is left out if the input has as many.
        width: channels of the output.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution; with 1 and as many channels out as in, the input is added.
        activation: after the first two convolutions.
        squeeze: channels between the two maps of squeeze and excitation; 0 leaves it out.
        squeeze_activation: between these two maps.
        gate: after them.
        epsilon: of every BatchNorm.
        drop: probability that the branch is dropped; 0 leaves the block out.
        name: of the branch.
        flat: whether the last convolution and its norm are children of the branch themselves.
    """
    parts: list[Net] = []
    if hidden != channels:
        parts.append(repeat(conv_norm(channels, hidden, 1, activation=activation, epsilon=epsilon)))
    parts.append(repeat(conv_norm(hidden, hidden, kernel, stride, hidden, activation, epsilon)))
    if squeeze:
        parts.append(SqueezeExcite(hidden, squeeze, squeeze_activation and squeeze_activation(), gate()))
    last = conv_norm(hidden, width, 1, epsilon=epsilon)
    branch = repeat(parts + last if flat else [*parts, repeat(last)])
    if stride != 1 or channels != width:
        return Wiring({name: branch}, {name: ("input",)}, (name,))
    nodes: dict[str, Net] = {name: branch, "add": Add()}
    reads: dict[str, tuple[str, ...]] = {name: ("input",), "add": ("input", name)}
    if drop:
        nodes["stochastic_depth"], reads["stochastic_depth"] = StochasticDepth(drop), (name,)
        reads["add"] = ("input", "stochastic_depth")
    return Wiring(nodes, reads, ("add",))
