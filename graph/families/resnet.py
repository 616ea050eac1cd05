"""Residual networks with BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    Add,
    BatchNorm,
    Conv2d,
    GlobalAveragePool,
    Linear,
    MaxPool2d,
    Net,
    ReLU,
    ShapeError,
    Wiring,
    chain,
    repeat,
)

from ..architecture import Architecture

EXPANSION = 4  # of a bottleneck: its last convolution is that many times as wide as the others


def resnet18(
    classes: int = 1000, width: int = 64, stem: str = "imagenet", space: Sequence[int] = (224, 224)
) -> Architecture:
    """ResNet-18: four stages of two basic blocks, 11,689,512 parameters.

    Args:
        classes: features of the output.
        width: channels of the first stage; every later stage doubles them.
        stem: `"imagenet"` (7x7 convolution of stride 2 and max-pool) or `"cifar"` (3x3 convolution of stride 1).
        space: height and width of the images.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every `bn`.

    Raises:
        ShapeError: for an unknown stem or images that are too small.

    Source: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition* (2016), table 1.
    """
    return resnet((2, 2, 2, 2), classes=classes, width=width, stem=stem, space=space)


def resnet34(
    classes: int = 1000, width: int = 64, stem: str = "imagenet", space: Sequence[int] = (224, 224)
) -> Architecture:
    """ResNet-34: stages of 3, 4, 6, 3 basic blocks, 21,797,672 parameters; arguments and source as in `resnet18`."""
    return resnet((3, 4, 6, 3), classes=classes, width=width, stem=stem, space=space)


def resnet50(
    classes: int = 1000, width: int = 64, stem: str = "imagenet", space: Sequence[int] = (224, 224)
) -> Architecture:
    """ResNet-50: stages of 3, 4, 6, 3 bottlenecks (stride on the 3x3 convolution), 25,557,032 parameters.

    Arguments and source as in `resnet18`.
    """
    return resnet((3, 4, 6, 3), bottleneck=True, classes=classes, width=width, stem=stem, space=space)


def resnet(
    stages: Sequence[int],
    *,
    bottleneck: bool = False,
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    channels: int = 3,
) -> Architecture:
    """A residual network with any number of stages.

    Args:
        stages: number of blocks in every stage; all but the first begin with a stride of 2.
        bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3 ones.
        classes: features of the output.
        width: channels of the first stage; every later stage doubles them.
        stem: `"imagenet"` or `"cifar"`, see `resnet18`.
        space: height and width of the images.
        channels: channels of the images.

    Returns:
        The architecture.

    Raises:
        ShapeError: for an unknown stem or images that are too small.

    Source: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition* (2016).
    """
    parts = _stem(stem, channels, width)
    features = width
    for i, count in enumerate(stages):
        blocks = []
        for j in range(count):
            stride = 2 if i and not j else 1
            block, features = (_bottleneck if bottleneck else _basic)(features, width * 2**i, stride)
            blocks.append(block)
        parts[f"layer{i + 1}"] = repeat(blocks)
    parts |= {"avgpool": GlobalAveragePool(), "fc": Linear(features, classes)}
    return Architecture(chain(**parts), space=tuple(space))


def _stem(kind: str, channels: int, width: int) -> dict[str, Net]:
    if kind not in ("imagenet", "cifar"):
        raise ShapeError(f"no stem {kind!r}; there are imagenet, cifar")
    first = Conv2d(channels, width, 7, 2, 3, bias=False) if kind == "imagenet" else _conv3(channels, width)
    parts: dict[str, Net] = {"conv1": first, "bn1": BatchNorm(width), "relu": ReLU()}
    return parts | ({"maxpool": MaxPool2d(3, 2, 1)} if kind == "imagenet" else {})


def _conv3(channels: int, width: int, stride: int = 1) -> Conv2d:
    return Conv2d(channels, width, 3, stride, 1, bias=False)


def _basic(features: int, width: int, stride: int) -> tuple[Net, int]:
    """Two 3x3 convolutions; gives the block and the channels it writes."""
    body: dict[str, Net] = {
        "conv1": _conv3(features, width, stride),
        "bn1": BatchNorm(width),
        "relu1": ReLU(),
        "conv2": _conv3(width, width),
        "bn2": BatchNorm(width),
    }
    return _block(body, features, width, stride), width


def _bottleneck(features: int, width: int, stride: int) -> tuple[Net, int]:
    """1x1, 3x3 and 1x1 convolutions; gives the block and the channels it writes."""
    wide = width * EXPANSION
    body: dict[str, Net] = {
        "conv1": Conv2d(features, width, 1, bias=False),
        "bn1": BatchNorm(width),
        "relu1": ReLU(),
        "conv2": _conv3(width, width, stride),
        "bn2": BatchNorm(width),
        "relu2": ReLU(),
        "conv3": Conv2d(width, wide, 1, bias=False),
        "bn3": BatchNorm(wide),
    }
    return _block(body, features, wide, stride), wide


def _block(body: dict[str, Net], features: int, width: int, stride: int) -> Wiring:
    """`relu(body(x) + x)`, with a 1x1 convolution and BatchNorm on the skip where the shape changes."""
    nodes, previous = dict(body), "input"
    reads: dict[str, tuple[str, ...]] = {}
    for name in body:
        reads[name] = (previous,)
        previous = name
    skip = "input"
    if stride != 1 or features != width:
        skip = "downsample"
        nodes[skip] = repeat([Conv2d(features, width, 1, stride, bias=False), BatchNorm(width)])
        reads[skip] = ("input",)
    nodes |= {"add": Add(), "relu": ReLU()}
    reads |= {"add": (previous, skip), "relu": ("add",)}
    return Wiring(nodes, reads, ("relu",))
