"""Multilayer perceptrons, deep linear networks and autoencoders."""

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
    Tie,
    chain,
)

from ..architecture.architecture import Architecture

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
    return Architecture(chain(**_layers(widths, activation, bias)))


def deep_linear(widths: Sequence[int] = (100, 100, 100, 100), bias: bool = False) -> Architecture:
    """A product of matrices: linear layers with nothing between them; 30,000 parameters by default.

    Every hidden wire has the full symmetric matrix of laws `U^T U - V V^T`.

    Args:
        widths: features of the input, of every hidden layer and of the output; at least two.  By default the deep
            matrix factorisation of Arora et al., three matrices of 100 x 100.
        bias: whether the layers have biases.

    Returns:
        The architecture; layer `i` is the node `fc{i}`.

    Raises:
        ShapeError: for fewer than two widths.

    Source: Saxe, McClelland, Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks* (2014), section 1; Arora, Cohen, Hu, Luo, *Implicit Regularization in Deep Matrix Factorization* (2019),
    section 2; its laws: Arora, Cohen, Hazan 2018, theorem 1.
    """
    return Architecture(chain(**_layers(widths, "", bias)))


def autoencoder(
    widths: Sequence[int] = (784, 1000, 500, 250, 30), activation: str = "relu", bias: bool = True, tied: bool = False
) -> Architecture:
    """An encoder to a linear code and its mirror image as decoder; 2,837,314 parameters by default.

    Args:
        widths: features of the input, of every hidden layer of the encoder and of the code; at least two.  By default
            those of the autoencoder of digits.
        activation: as in `mlp`; the code and the reconstruction are linear.
        bias: whether the layers have biases.
        tied: whether layer `i` of the decoder reads the weight of its mirror image transposed.

    Returns:
        The architecture; layers are the nodes `encoder.fc{i}` and `decoder.fc{i}`.

    Raises:
        ShapeError: for fewer than two widths or an unknown activation.

    Source: Hinton, Salakhutdinov, *Reducing the Dimensionality of Data with Neural Networks* (2006), figure 1.
    """
    encoder = _layers(widths, activation, bias)
    decoder = _layers(widths[::-1], activation, bias)
    if tied:
        last = len(widths)
        for i in range(1, last):
            mirror = encoder[f"fc{last - i}"]
            assert isinstance(mirror, Linear)
            decoder[f"fc{i}"] = Linear(mirror.width, mirror.features, bias, Tie(mirror, transposed=True))
    return Architecture(chain(encoder=chain(**encoder), decoder=chain(**decoder)))


def _layers(widths: Sequence[int], activation: str, bias: bool) -> dict[str, Net]:
    """Linear layers with an activation between them, none if it has no name."""
    if len(widths) < 2:
        raise ShapeError(f"a network needs the widths of its input and output, got {list(widths)}; give two or more")
    parts: dict[str, Net] = {}
    for i, (features, width) in enumerate(itertools.pairwise(widths), start=1):
        parts[f"fc{i}"] = Linear(features, width, bias)
        if activation and i < len(widths) - 1:
            parts[f"act{i}"] = activation_named(activation)
    return parts
