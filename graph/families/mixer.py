"""MLP-Mixer."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    GELU,
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    Net,
    TokenMLP,
    ToTokens,
    chain,
    repeat,
    residual,
)

from ..architecture.architecture import Architecture
from .vit import count_patches

EPSILON = 1e-6  # of every LayerNorm


def mlp_mixer(
    classes: int = 1000,
    layers: int = 12,
    width: int = 768,
    hidden_tokens: int = 384,
    hidden: int = 3072,
    patch: int = 16,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
) -> Architecture:
    """An MLP-Mixer, Mixer-B/16 by default: 59,880,472 parameters.

    Mixer-S/16 is `mlp_mixer(layers=8, width=512, hidden_tokens=256, hidden=2048)`, 18,528,264 parameters.

    Args:
        classes: features of the output.
        layers: pairs of an MLP over the tokens and an MLP over the features, each behind a LayerNorm.
        width: features of the stream.
        hidden_tokens: hidden positions of the MLPs over the tokens.
        hidden: hidden features of the MLPs over the features.
        patch: side of a patch; images are cut by a convolution of that kernel and stride.
        space: height and width of the images.
        channels: channels of the images.

    Returns:
        The architecture.

    Raises:
        ShapeError: if patches do not divide.

    Source: Tolstikhin et al., *MLP-Mixer: An all-MLP Architecture for Vision* (2021), section 2 and table 1.
    """
    tokens = count_patches(space, patch)

    def layer() -> Net:
        mlp = chain(fc1=Linear(width, hidden), act=GELU(), fc2=Linear(hidden, width))
        return chain(
            tokens=residual(chain(norm1=LayerNorm(width, epsilon=EPSILON), mlp_tokens=TokenMLP(tokens, hidden_tokens))),
            channels=residual(chain(norm2=LayerNorm(width, epsilon=EPSILON), mlp_channels=mlp)),
        )

    net = chain(
        stem=chain(proj=Conv2d(channels, width, patch, patch), tokens=ToTokens()),
        blocks=repeat([layer() for _ in range(layers)]),
        norm=LayerNorm(width, epsilon=EPSILON),
        pool=GlobalAveragePool(),
        head=Linear(width, classes),
    )
    return Architecture(net, space=tuple(space))
