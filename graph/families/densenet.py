"""Densely connected networks: every layer reads all layers before it."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    AveragePool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool2d,
    Net,
    ReLU,
    ShapeError,
    Wiring,
    chain,
)

from ..architecture.architecture import Architecture


def densenet121(
    classes: int = 1000, growth: int = 32, space: Sequence[int] = (224, 224), dropout: float = 0.0
) -> Architecture:
    """DenseNet-121: dense blocks of 6, 12, 24, 16 layers, 7,978,856 parameters.

    Args:
        classes: features of the output.
        growth: channels that every layer adds; the stem has twice as many.
        space: height and width of the images.
        dropout: probability after every layer; 0 leaves the blocks out.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every `norm`.

    Raises:
        ShapeError: for images that are too small.

    Source: Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks* (2017), table 1.
    """
    return densenet((6, 12, 24, 16), growth=growth, classes=classes, space=space, dropout=dropout)


def densenet169(
    classes: int = 1000, growth: int = 32, space: Sequence[int] = (224, 224), dropout: float = 0.0
) -> Architecture:
    """DenseNet-169: blocks of 6, 12, 32, 32 layers, 14,149,480 parameters; arguments and source as in `densenet121`."""
    return densenet((6, 12, 32, 32), growth=growth, classes=classes, space=space, dropout=dropout)


def densenet201(
    classes: int = 1000, growth: int = 32, space: Sequence[int] = (224, 224), dropout: float = 0.0
) -> Architecture:
    """DenseNet-201: blocks of 6, 12, 48, 32 layers, 20,013,928 parameters; arguments and source as in `densenet121`."""
    return densenet((6, 12, 48, 32), growth=growth, classes=classes, space=space, dropout=dropout)


def densenet(
    stages: Sequence[int] = (6, 12, 24, 16),
    *,
    growth: int = 32,
    bottleneck: int = 4,
    stem: str = "imagenet",
    classes: int = 1000,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    dropout: float = 0.0,
) -> Architecture:
    """A densely connected network (DenseNet-BC): dense blocks, and between them transitions that halve the channels.

    Args:
        stages: number of layers in every dense block.
        growth: channels that every layer adds; the stem has twice as many.
        bottleneck: channels after the 1x1 convolution of a layer over `growth`.
        stem: `"imagenet"` (7x7 convolution of stride 2, BatchNorm, ReLU and max-pool) or `"cifar"` (3x3 convolution).
        classes: features of the output.
        space: height and width of the images.
        channels: channels of the images.
        dropout: probability after every layer; 0 leaves the blocks out.

    Returns:
        The architecture.

    Raises:
        ShapeError: for an unknown stem or images that are too small.

    Source: Huang, Liu, van der Maaten, Weinberger, *Densely Connected Convolutional Networks* (2017), section 3.
    """
    features = 2 * growth
    parts = _stem(stem, channels, features)
    for i, count in enumerate(stages, start=1):
        parts[f"denseblock{i}"] = _dense_block(features, count, growth, bottleneck, dropout)
        features += count * growth
        if i < len(stages):
            parts[f"transition{i}"] = _transition(features)
            features //= 2
    parts |= {f"norm{len(stages) + 1}": BatchNorm(features), "relu": ReLU()}
    net = chain(features=chain(**parts), avgpool=GlobalAveragePool(), classifier=Linear(features, classes))
    return Architecture(net, space=tuple(space))


def _stem(kind: str, channels: int, width: int) -> dict[str, Net]:
    if kind == "cifar":
        return {"conv0": Conv2d(channels, width, 3, padding=1, bias=False)}
    if kind != "imagenet":
        raise ShapeError(f"no stem {kind!r}; there are imagenet, cifar")
    return {
        "conv0": Conv2d(channels, width, 7, 2, 3, bias=False),
        "norm0": BatchNorm(width),
        "relu0": ReLU(),
        "pool0": MaxPool2d(3, 2, 1),
    }


def _dense_block(features: int, count: int, growth: int, bottleneck: int, dropout: float) -> Wiring:
    """Layers that each read everything before them; the block writes all of it."""
    nodes: dict[str, Net] = {}
    reads: dict[str, tuple[str, ...]] = {}
    written = ["input"]
    for i in range(1, count + 1):
        source = "input"
        if i > 1:
            source = f"concat{i}"
            nodes[source], reads[source] = Concat(), tuple(written)
        layer = f"denselayer{i}"
        nodes[layer], reads[layer] = _layer(features + (i - 1) * growth, growth, bottleneck, dropout), (source,)
        written.append(layer)
    nodes["concat"], reads["concat"] = Concat(), tuple(written)
    return Wiring(nodes, reads, ("concat",))


def _layer(features: int, growth: int, bottleneck: int, dropout: float) -> Net:
    inner = bottleneck * growth
    parts: dict[str, Net] = {
        "norm1": BatchNorm(features),
        "relu1": ReLU(),
        "conv1": Conv2d(features, inner, 1, bias=False),
        "norm2": BatchNorm(inner),
        "relu2": ReLU(),
        "conv2": Conv2d(inner, growth, 3, padding=1, bias=False),
    }
    return chain(**parts, **({"dropout": Dropout(dropout)} if dropout else {}))


def _transition(features: int) -> Net:
    return chain(
        norm=BatchNorm(features),
        relu=ReLU(),
        conv=Conv2d(features, features // 2, 1, bias=False),
        pool=AveragePool2d(2),
    )
