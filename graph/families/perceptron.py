"""Multilayer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from lawful.blocks import (
    GELU,
    Abs,
    Identity,
    LeakyReLU,
    Linear,
    Net,
    Power,
    ReLU,
    ShapeError,
    Sigmoid,
    SiLU,
    Tanh,
    chain,
)

from ..architecture import Architecture

ACTIVATIONS: dict[str, Callable[[], Net]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "squared_relu": lambda: ReLU(power=2),
    "abs": Abs,
    "square": Power,
    "gelu": GELU,
    "silu": SiLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "linear": Identity,
}


def activation_named(name: str) -> Net:
    """A fresh activation block by name.

    Raises:
        ShapeError: for a name that is not in `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ShapeError(f"no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def mlp(widths: Sequence[int], activation: str = "relu", bias: bool = True) -> Architecture:
    """A multilayer perceptron.

    Args:
        widths: features of the input, of every hidden layer and of the output; at least two.
        activation: one of `relu`, `leaky_relu`, `squared_relu`, `abs`, `square`, `gelu`, `silu`, `tanh`, `sigmoid`,
            `linear`; between the layers, not after the last.
        bias: whether the layers have biases.

    Returns:
        The architecture; layer `i` is the node `fc{i}`.

    Raises:
        ShapeError: for fewer than two widths or an unknown activation.

    Source: Rosenblatt, *Principles of Neurodynamics* (1962); its laws: Du, Hu, Lee 2018, theorem 2.1.
    """
    if len(widths) < 2:
        raise ShapeError(f"an mlp needs the widths of its input and output, got {list(widths)}; give two or more")
    parts: dict[str, Net] = {}
    for i, (features, width) in enumerate(itertools.pairwise(widths), start=1):
        parts[f"fc{i}"] = Linear(features, width, bias)
        if i < len(widths) - 1:
            parts[f"act{i}"] = activation_named(activation)
    return Architecture(chain(**parts))
