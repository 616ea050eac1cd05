"""Transformers on images."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    ClassToken,
    Conv2d,
    LayerNorm,
    LearnedPosition,
    Linear,
    SelectToken,
    ShapeError,
    ToTokens,
    TransformerLayer,
    chain,
    repeat,
)

from ..architecture import Architecture


def vit(
    classes: int = 1000,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    hidden: int = 3072,
    patch: int = 16,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
) -> Architecture:
    """A vision transformer, ViT-B/16 by default: 86,567,656 parameters.

    Args:
        classes: features of the output.
        layers: pre-LayerNorm layers of attention and a GELU MLP.
        width: features of the stream.
        heads: attention heads.
        hidden: hidden features of the MLPs.
        patch: side of a patch; images are cut by a convolution of that kernel and stride.
        space: height and width of the images.
        channels: channels of the images.

    Returns:
        The architecture.

    Raises:
        ShapeError: if patches or heads do not divide.

    Source: Dosovitskiy et al., *An Image is Worth 16x16 Words* (2021), section 3.1.
    """
    if any(n % patch for n in space):
        raise ShapeError(f"patches of {patch} do not divide images of {tuple(space)}; change one of the two")
    if width % heads:
        raise ShapeError(f"{heads} heads do not divide a width of {width}; change one of the two")
    tokens = (space[0] // patch) * (space[1] // patch) + 1
    net = chain(
        patches=Conv2d(channels, width, patch, patch),
        tokens=ToTokens(),
        class_token=ClassToken(width),
        position=LearnedPosition(tokens, width),
        layers=repeat([TransformerLayer(width, heads, hidden, epsilon=1e-6) for _ in range(layers)]),
        norm=LayerNorm(width, epsilon=1e-6),
        select=SelectToken(0),
        head=Linear(width, classes),
    )
    return Architecture(net, space=tuple(space))
