"""MobileNets, versions 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    Dropout,
    GlobalAveragePool,
    HardSigmoid,
    HardSwish,
    Linear,
    Net,
    ReLU,
    ReLU6,
    ShapeError,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture
from .inverted import conv_norm, divisible, inverted_residual

# Version 2: hidden channels over channels, channels, blocks, first stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Version 3: kernel, hidden channels, channels, squeeze and excitation (0 or 1), hard swish (else ReLU), stride.
LARGE: tuple[tuple[int, ...], ...] = (
    (3, 16, 16, 0, 0, 1),
    (3, 64, 24, 0, 0, 2),
    (3, 72, 24, 0, 0, 1),
    (5, 72, 40, 1, 0, 2),
    (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1),
    (3, 240, 80, 0, 1, 2),
    (3, 200, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1),
    (3, 672, 112, 1, 1, 1),
    (5, 672, 160, 1, 1, 2),
    (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)
SMALL: tuple[tuple[int, ...], ...] = (
    (3, 16, 16, 1, 0, 2),
    (3, 72, 24, 0, 0, 2),
    (3, 88, 24, 0, 0, 1),
    (5, 96, 40, 1, 1, 2),
    (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1),
    (5, 120, 48, 1, 1, 1),
    (5, 144, 48, 1, 1, 1),
    (5, 288, 96, 1, 1, 2),
    (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)
EPSILON = 1e-3  # of every BatchNorm of version 3


def mobilenet_v2(
    classes: int = 1000,
    widen: float = 1.0,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.2,
    stages: Sequence[Sequence[int]] = STAGES,
) -> Architecture:
    """MobileNetV2: 17 inverted residuals with ReLU6, 3,504,872 parameters.

    ReLU6 leaves no law inside a block; the outputs of the blocks are linear, so every stage has a wire of its own.

    Args:
        classes: features of the output.
        widen: factor on all channels, which are then rounded to multiples of 8.
        space: height and width of the images.
        dropout: probability before the classifier; 0 leaves the block out.
        stages: for every stage its hidden channels over its channels, channels, number of blocks and first stride.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every norm.

    Raises:
        ShapeError: for images that are too small.

    Source: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks* (2018), table 2.
    """
    before = divisible(32 * widen)
    features: list[Net] = [repeat(conv_norm(3, before, 3, 2, activation=ReLU6))]
    for expansion, channels, count, first in stages:
        width = divisible(channels * widen)
        for i in range(count):
            stride = 1 if i else first
            hidden = before * expansion
            features.append(inverted_residual(before, hidden, width, 3, stride, ReLU6, name="conv", flat=True))
            before = width
    last = divisible(1280 * max(1.0, widen))
    features.append(repeat(conv_norm(before, last, 1, activation=ReLU6)))
    classifier: dict[str, Net] = {"0": Dropout(dropout)} if dropout else {}
    classifier["1"] = Linear(last, classes)
    net = chain(features=repeat(features), avgpool=GlobalAveragePool(), classifier=chain(**classifier))
    return Architecture(net, space=tuple(space))


def mobilenet_v3_large(
    classes: int = 1000, widen: float = 1.0, space: Sequence[int] = (224, 224), dropout: float = 0.2
) -> Architecture:
    """MobileNetV3-Large: 15 inverted residuals with squeeze and excitation and hard swish, 5,483,032 parameters.

    Arguments as in `mobilenet_v2`.

    Source: Howard et al., *Searching for MobileNetV3* (2019), table 1.
    """
    return mobilenet_v3(LARGE, 1280, classes, widen, space, dropout)


def mobilenet_v3_small(
    classes: int = 1000, widen: float = 1.0, space: Sequence[int] = (224, 224), dropout: float = 0.2
) -> Architecture:
    """MobileNetV3-Small: 11 inverted residuals with squeeze and excitation and hard swish, 2,542,856 parameters.

    Arguments as in `mobilenet_v2`.

    Source: Howard et al., *Searching for MobileNetV3* (2019), table 2.
    """
    return mobilenet_v3(SMALL, 1024, classes, widen, space, dropout)


def mobilenet_v3(
    rows: Sequence[Sequence[int]] = LARGE,
    last: int = 1280,
    classes: int = 1000,
    widen: float = 1.0,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.2,
) -> Architecture:
    """A MobileNetV3, Large by default.

    Args:
        rows: for every block its kernel, hidden channels, channels, whether it has squeeze and excitation (0 or 1),
            hard swish and not ReLU (0 or 1), and its stride.
        last: hidden features of the classifier.
        classes: features of the output.
        widen: factor on all channels, which are then rounded to multiples of 8.
        space: height and width of the images.
        dropout: probability before the last map; 0 leaves the block out.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every norm, and
        `.weights.fc1` and `.weights.fc2` inside squeeze and excitation.

    Raises:
        ShapeError: for images that are too small, and rows with sizes of zero.

    Source: Howard et al., *Searching for MobileNetV3* (2019), section 5.
    """
    before = divisible(16 * widen)
    features: list[Net] = [repeat(conv_norm(3, before, 3, 2, activation=HardSwish, epsilon=EPSILON))]
    for kernel, inner, channels, squeeze, swish, stride in rows:
        if min(kernel, inner, channels, stride) < 1:
            raise ShapeError(f"mobilenet_v3: rows has no {kernel, inner, channels, stride}; give sizes of at least 1")
        hidden, width = divisible(inner * widen), divisible(channels * widen)
        block = inverted_residual(
            before,
            hidden,
            width,
            kernel,
            stride,
            HardSwish if swish else ReLU,
            squeeze=divisible(hidden // 4) if squeeze else 0,
            gate=HardSigmoid,
            epsilon=EPSILON,
        )
        features.append(block)
        before = width
    features.append(repeat(conv_norm(before, 6 * before, 1, activation=HardSwish, epsilon=EPSILON)))
    last = divisible(last * widen)
    classifier: dict[str, Net] = {"0": Linear(6 * before, last), "1": HardSwish()}
    classifier |= {"2": Dropout(dropout)} if dropout else {}
    classifier["3"] = Linear(last, classes)
    net = chain(features=repeat(features), avgpool=GlobalAveragePool(), classifier=chain(**classifier))
    return Architecture(net, space=tuple(space))
