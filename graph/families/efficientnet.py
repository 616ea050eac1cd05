"""EfficientNet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lawful.blocks import Dropout, GlobalAveragePool, Linear, Net, SiLU, chain, repeat

from ..architecture.architecture import Architecture
from .inverted import conv_norm, divisible, inverted_residual

# Hidden channels over channels, kernel, first stride, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet_b0(
    classes: int = 1000, space: Sequence[int] = (224, 224), dropout: float = 0.2, drop: float = 0.2
) -> Architecture:
    """EfficientNet-B0: 16 inverted residuals with squeeze and excitation and SiLU, 5,288,548 parameters.

    Arguments and source as in `efficientnet`.
    """
    return efficientnet(classes=classes, space=space, dropout=dropout, drop=drop)


def efficientnet(
    widen: float = 1.0,
    deepen: float = 1.0,
    *,
    classes: int = 1000,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.2,
    drop: float = 0.2,
    stages: Sequence[Sequence[int]] = STAGES,
) -> Architecture:
    """An EfficientNet, B0 by default; B1 to B4 are `(1, 1.1)`, `(1.1, 1.2)`, `(1.2, 1.4)`, `(1.4, 1.8)`.

    Args:
        widen: factor on all channels, which are then rounded to multiples of 8.
        deepen: factor on the number of blocks of every stage, rounded up.
        classes: features of the output.
        space: height and width of the images.
        dropout: probability before the classifier; 0 leaves the block out.
        drop: probability that the branch after the last block is dropped; it grows linearly with depth, and 0 leaves
            the blocks out.
        stages: for every stage its hidden channels over its channels, kernel, first stride, channels and number of
            blocks.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every norm.

    Raises:
        ShapeError: for images that are too small.

    Source: Tan, Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks* (2019), table 1.
    """
    before = divisible(32 * widen)
    features: list[Net] = [repeat(conv_norm(3, before, 3, 2, activation=SiLU))]
    counts = [math.ceil(count * deepen) for *_, count in stages]
    done = 0
    for (expansion, kernel, first, channels, _), count in zip(stages, counts, strict=True):
        width = divisible(channels * widen)
        blocks = []
        for i in range(count):
            block = inverted_residual(
                before,
                before * expansion,
                width,
                kernel,
                1 if i else first,
                SiLU,
                squeeze=max(1, before // 4),
                squeeze_activation=SiLU,
                drop=drop * done / sum(counts),
            )
            blocks.append(block)
            before, done = width, done + 1
        features.append(repeat(blocks))
    features.append(repeat(conv_norm(before, 4 * before, 1, activation=SiLU)))
    classifier: dict[str, Net] = {"0": Dropout(dropout)} if dropout else {}
    classifier["1"] = Linear(4 * before, classes)
    net = chain(features=repeat(features), avgpool=GlobalAveragePool(), classifier=chain(**classifier))
    return Architecture(net, space=tuple(space))
