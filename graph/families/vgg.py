"""Plain convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import BatchNorm, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Net, ReLU, ShapeError, chain, repeat

from ..architecture import Architecture


def vgg16(
    classes: int = 1000,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
) -> Architecture:
    """VGG-16 (configuration D): 13 convolutions and 3 linear layers, 138,357,544 parameters.

    Args:
        classes: features of the output.
        batch_norm: whether every convolution is followed by BatchNorm.
        width: channels of the first stage (up to 8 times as many in the last).
        hidden: features of the two hidden linear layers.
        space: height and width of the images.
        dropout: probability in the classifier; 0 leaves the blocks out.

    Returns:
        The architecture; nodes carry torchvision's names.

    Raises:
        ShapeError: for images smaller than 32 x 32.

    Source: Simonyan, Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition* (2015), table 1.
    """
    stages = [[width * m] * n for m, n in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))]
    return vgg(stages, classes, batch_norm, hidden, space, dropout)


def vgg(
    stages: Sequence[Sequence[int]],
    classes: int = 1000,
    batch_norm: bool = False,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
    channels: int = 3,
) -> Architecture:
    """A plain convolutional network: stages of 3x3 convolutions, each ended by a 2x2 max-pool, and three linear layers.

    Args:
        stages: channels of every convolution, stage by stage.
        classes: features of the output.
        batch_norm: whether every convolution is followed by BatchNorm.
        hidden: features of the two hidden linear layers.
        space: height and width of the images; 224 leaves the 7x7 positions that torchvision's classifier reads.
        dropout: probability in the classifier; 0 leaves the blocks out.
        channels: channels of the images.

    Returns:
        The architecture.

    Raises:
        ShapeError: for images that the pools use up.

    Source: Simonyan, Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition* (2015).
    """
    if min(space) < 2 ** len(stages):
        least = 2 ** len(stages)
        raise ShapeError(f"{len(stages)} stages halve images of {tuple(space)} to nothing; use {least} or more")
    features: list[Net] = []
    before = channels
    for stage in stages:
        for width in stage:
            features += [Conv2d(before, width, 3, padding=1), *([BatchNorm(width)] if batch_norm else []), ReLU()]
            before = width
        features.append(MaxPool2d(2, 2))
    positions = (space[0] >> len(stages)) * (space[1] >> len(stages))
    classifier: list[Net] = []
    before *= positions
    for _ in range(2):
        classifier += [Linear(before, hidden), ReLU(), *([Dropout(dropout)] if dropout else [])]
        before = hidden
    classifier.append(Linear(before, classes))
    net = chain(features=repeat(features), flatten=Flatten(), classifier=repeat(classifier))
    return Architecture(net, space=tuple(space))
