"""Plain convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import BatchNorm, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Net, ReLU, ShapeError, chain, repeat

from ..architecture.architecture import Architecture

CONVOLUTIONS = {"A": (1, 1, 2, 2, 2), "B": (2, 2, 2, 2, 2), "D": (2, 2, 3, 3, 3), "E": (2, 2, 4, 4, 4)}  # per stage
WIDENING = (1, 2, 4, 8, 8)  # channels of every stage over those of the first


def vgg11(
    classes: int = 1000,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
) -> Architecture:
    """VGG-11 (configuration A): 8 convolutions, 3 linear layers, 132,863,336 parameters (132,868,840 with BatchNorm).

    Arguments and source as in `vgg16`.
    """
    return _published("A", width, classes, batch_norm, hidden, space, dropout)


def vgg13(
    classes: int = 1000,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
) -> Architecture:
    """VGG-13 (configuration B): 10 convolutions, 3 linear layers, 133,047,848 parameters (133,053,736 with BatchNorm).

    Arguments and source as in `vgg16`.
    """
    return _published("B", width, classes, batch_norm, hidden, space, dropout)


def vgg16(
    classes: int = 1000,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
) -> Architecture:
    """VGG-16 (configuration D): 13 convolutions, 3 linear layers, 138,357,544 parameters (138,365,992 with BatchNorm).

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
    return _published("D", width, classes, batch_norm, hidden, space, dropout)


def vgg19(
    classes: int = 1000,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    space: Sequence[int] = (224, 224),
    dropout: float = 0.5,
) -> Architecture:
    """VGG-19 (configuration E): 16 convolutions, 3 linear layers, 143,667,240 parameters (143,678,248 with BatchNorm).

    Arguments and source as in `vgg16`.
    """
    return _published("E", width, classes, batch_norm, hidden, space, dropout)


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


def _published(
    configuration: str,
    width: int,
    classes: int,
    batch_norm: bool,
    hidden: int,
    space: Sequence[int],
    dropout: float,
) -> Architecture:
    stages = [[width * m] * n for m, n in zip(WIDENING, CONVOLUTIONS[configuration], strict=True)]
    return vgg(stages, classes, batch_norm, hidden, space, dropout)
