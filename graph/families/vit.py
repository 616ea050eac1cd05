"""Transformers on patches of images."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    Add,
    ClassToken,
    Conv2d,
    LayerNorm,
    LearnedPosition,
    Linear,
    Net,
    Scale,
    SelectToken,
    ShapeError,
    ToTokens,
    TransformerLayer,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture

EPSILON = 1e-6  # of every LayerNorm


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

    ViT-L/16 is `vit(layers=24, width=1024, heads=16, hidden=4096)`, 304,326,632 parameters.

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

    Source: Dosovitskiy et al., *An Image is Worth 16x16 Words* (2021), section 3.1 and table 1.
    """
    tokens = count_patches(space, patch) + 1
    body = _encoder(layers, width, heads, hidden, tokens, {"class_token": ClassToken(width)})
    net = chain(
        patches=Conv2d(channels, width, patch, patch),
        tokens=ToTokens(),
        **body,
        select=SelectToken(0),
        head=Linear(width, classes),
    )
    return Architecture(net, space=tuple(space))


def deit(
    classes: int = 1000,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    hidden: int = 3072,
    patch: int = 16,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    averaged: bool = False,
) -> Architecture:
    """A distilled vision transformer, DeiT-B with its distillation token by default: 87,338,192 parameters.

    DeiT-Ti is `deit(width=192, heads=3, hidden=768)`, 5,910,800 parameters, and DeiT-S
    `deit(width=384, heads=6, hidden=1536)`, 22,436,432.

    Args:
        classes: features of each output.
        layers: as in `vit`.
        width: as in `vit`.
        heads: as in `vit`.
        hidden: as in `vit`.
        patch: as in `vit`.
        space: as in `vit`.
        channels: as in `vit`.
        averaged: whether the output is the mean of both heads (as at test time) and not one output for the class token
            and one for the distillation token (as in training, each with a loss of its own).

    Returns:
        The architecture; its outputs are `head` and `head_dist`, or `mean`.

    Raises:
        ShapeError: if patches or heads do not divide.

    Source: Touvron et al., *Training data-efficient image transformers & distillation through attention* (2021),
    section 4 and table 1.
    """
    tokens = count_patches(space, patch) + 2
    first: dict[str, Net] = {"dist_token": ClassToken(width), "class_token": ClassToken(width)}
    nodes: dict[str, Net] = {"patches": Conv2d(channels, width, patch, patch), "tokens": ToTokens()}
    nodes |= _encoder(layers, width, heads, hidden, tokens, first)
    reads: dict[str, tuple[str, ...]] = {}
    previous = "input"
    for name in nodes:
        reads[name] = (previous,)
        previous = name
    for i, head in enumerate(("head", "head_dist")):
        nodes[f"select{i}"], reads[f"select{i}"] = SelectToken(i), (previous,)
        nodes[head], reads[head] = Linear(width, classes), (f"select{i}",)
    ends: tuple[str, ...] = ("head", "head_dist")
    if averaged:
        nodes |= {"add": Add(), "mean": Scale(1.0, 2)}
        reads |= {"add": ends, "mean": ("add",)}
        ends = ("mean",)
    return Architecture(Wiring(nodes, reads, ends), space=tuple(space))


def count_patches(space: Sequence[int], patch: int) -> int:
    """Number of patches of an image.

    Raises:
        ShapeError: if they do not divide it.
    """
    if any(n % patch for n in space):
        raise ShapeError(f"patches of {patch} do not divide images of {tuple(space)}; change one of the two")
    return (space[0] // patch) * (space[1] // patch)


def _encoder(layers: int, width: int, heads: int, hidden: int, tokens: int, first: dict[str, Net]) -> dict[str, Net]:
    """Learned tokens, positions, layers and the last norm.

    Raises:
        ShapeError: if the heads do not divide the width.
    """
    if width % heads:
        raise ShapeError(f"{heads} heads do not divide a width of {width}; change one of the two")
    return {
        **first,
        "position": LearnedPosition(tokens, width),
        "layers": repeat([TransformerLayer(width, heads, hidden, epsilon=EPSILON) for _ in range(layers)]),
        "norm": LayerNorm(width, epsilon=EPSILON),
    }
