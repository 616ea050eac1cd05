"""Residual networks: basic blocks, bottlenecks, wide and grouped ones, with any normalisation or none."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    Add,
    BatchNorm,
    Conv2d,
    GlobalAveragePool,
    GroupNorm,
    LayerScale,
    Linear,
    MaxPool2d,
    Net,
    ReLU,
    ShapeError,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture

EXPANSION = 4  # of a bottleneck: its last convolution is that many times as wide as the stage
STAGE = 64  # channels of the first stage for which the width of a group is given
NORMS = ("batch", "group", "none")


def resnet18(
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    norm: str = "batch",
) -> Architecture:
    """ResNet-18: four stages of two basic blocks, 11,689,512 parameters.

    Args:
        classes: features of the output.
        width: channels of the first stage; every later stage doubles them.
        stem: `"imagenet"` (7x7 convolution of stride 2 and max-pool) or `"cifar"` (3x3 convolution of stride 1).
        space: height and width of the images.
        norm: `"batch"`, `"group"` or `"none"`, see `resnet`.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every `bn`.

    Raises:
        ShapeError: for an unknown stem or norm, or images that are too small.

    Source: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition* (2016), table 1.
    """
    return resnet((2, 2, 2, 2), classes=classes, width=width, stem=stem, space=space, norm=norm)


def resnet34(
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    norm: str = "batch",
) -> Architecture:
    """ResNet-34: stages of 3, 4, 6, 3 basic blocks, 21,797,672 parameters; arguments and source as in `resnet18`."""
    return resnet((3, 4, 6, 3), classes=classes, width=width, stem=stem, space=space, norm=norm)


def resnet50(
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    norm: str = "batch",
) -> Architecture:
    """ResNet-50: stages of 3, 4, 6, 3 bottlenecks (stride on the 3x3 convolution), 25,557,032 parameters.

    Arguments and source as in `resnet18`.
    """
    return resnet((3, 4, 6, 3), bottleneck=True, classes=classes, width=width, stem=stem, space=space, norm=norm)


def resnet101(
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    norm: str = "batch",
) -> Architecture:
    """ResNet-101: stages of 3, 4, 23, 3 bottlenecks, 44,549,160 parameters; arguments and source as in `resnet18`."""
    return resnet((3, 4, 23, 3), bottleneck=True, classes=classes, width=width, stem=stem, space=space, norm=norm)


def resnet152(
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    norm: str = "batch",
) -> Architecture:
    """ResNet-152: stages of 3, 8, 36, 3 bottlenecks, 60,192,808 parameters; arguments and source as in `resnet18`."""
    return resnet((3, 8, 36, 3), bottleneck=True, classes=classes, width=width, stem=stem, space=space, norm=norm)


def wide_resnet50_2(classes: int = 1000, width: int = 64, space: Sequence[int] = (224, 224)) -> Architecture:
    """ResNet-50 with 3x3 convolutions of twice the width, 68,883,240 parameters; arguments as in `resnet18`.

    Source: Zagoruyko, Komodakis, *Wide Residual Networks* (2016), section 3.
    """
    return resnet((3, 4, 6, 3), bottleneck=True, group_width=128, classes=classes, width=width, space=space)


def resnext50_32x4d(classes: int = 1000, width: int = 64, space: Sequence[int] = (224, 224)) -> Architecture:
    """ResNeXt-50 with 32 groups of 4 channels, 25,028,904 parameters; arguments as in `resnet18`.

    Source: Xie, Girshick, Dollár, Tu, He, *Aggregated Residual Transformations for Deep Neural Networks* (2017),
    table 1.
    """
    return resnet((3, 4, 6, 3), bottleneck=True, groups=32, group_width=4, classes=classes, width=width, space=space)


def resnext101_32x8d(classes: int = 1000, width: int = 64, space: Sequence[int] = (224, 224)) -> Architecture:
    """ResNeXt-101 with 32 groups of 8 channels, 88,791,336 parameters; as in `resnext50_32x4d`.

    Source: Mahajan et al., *Exploring the Limits of Weakly Supervised Pretraining* (2018).
    """
    return resnet((3, 4, 23, 3), bottleneck=True, groups=32, group_width=8, classes=classes, width=width, space=space)


def resnet(
    stages: Sequence[int],
    *,
    bottleneck: bool = False,
    classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    norm: str = "batch",
    norm_groups: int = 32,
    groups: int = 1,
    group_width: int = 64,
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
        norm: `"batch"`; `"group"` (Wu, He 2018); or `"none"`: convolutions with biases, and a learned gain for every
            channel at the end of every residual branch (Touvron et al. 2021, equation 4; one number for all channels in
            De, Smith 2020).
        norm_groups: groups of every GroupNorm.
        groups: groups of the 3x3 convolution of a bottleneck.
        group_width: channels of one of these groups in the first stage if that has 64.

    Returns:
        The architecture.

    Raises:
        ShapeError: for an unknown stem or norm, groups that do not divide, or images that are too small.

    Source: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition* (2016).
    """
    layers = Layers(norm, norm_groups)
    parts = _stem(stem, channels, width, layers)
    features = width
    for i, count in enumerate(stages):
        inner = width * 2**i
        blocks: list[Net] = []
        for j in range(count):
            stride = 2 if i and not j else 1
            if bottleneck:
                body, out = _bottleneck(features, inner, stride, inner * group_width // STAGE * groups, groups, layers)
            else:
                body, out = _basic(features, inner, stride, layers)
            blocks.append(_block(body, features, out, stride, layers))
            features = out
        parts[f"layer{i + 1}"] = repeat(blocks)
    parts |= {"avgpool": GlobalAveragePool(), "fc": Linear(features, classes)}
    return Architecture(chain(**parts), space=tuple(space))


class Layers:
    """Convolutions and what normalises them.

    Args:
        norm: `"batch"`, `"group"` or `"none"`.
        groups: groups of every GroupNorm.

    Raises:
        ShapeError: for an unknown norm.
    """

    def __init__(self, norm: str, groups: int = 32) -> None:
        if norm not in NORMS:
            raise ShapeError(f"no norm {norm!r}; there are {', '.join(NORMS)}")
        self._norm = norm
        self._groups = groups

    def convolution(self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv2d:
        """A convolution that keeps the positions but for its stride; it has a bias if nothing normalises it."""
        return Conv2d(channels, width, kernel, stride, kernel // 2, groups, bias=self._norm == "none")

    def norm(self, name: str, width: int) -> dict[str, Net]:
        """The normalisation under its name, or nothing."""
        if self._norm == "none":
            return {}
        return {name: GroupNorm(self._groups, width) if self._norm == "group" else BatchNorm(width)}

    def end(self, width: int) -> dict[str, Net]:
        """What ends a residual branch: a learned gain if nothing is normalised."""
        return {"scale": LayerScale(width)} if self._norm == "none" else {}


def _stem(kind: str, channels: int, width: int, layers: Layers) -> dict[str, Net]:
    if kind not in ("imagenet", "cifar"):
        raise ShapeError(f"no stem {kind!r}; there are imagenet, cifar")
    large = kind == "imagenet"
    first = layers.convolution(channels, width, 7 if large else 3, 2 if large else 1)
    parts: dict[str, Net] = {"conv1": first, **layers.norm("bn1", width), "relu": ReLU()}
    return parts | ({"maxpool": MaxPool2d(3, 2, 1)} if large else {})


def _basic(features: int, width: int, stride: int, layers: Layers) -> tuple[dict[str, Net], int]:
    """Two 3x3 convolutions; gives the branch and the channels it writes."""
    return {
        "conv1": layers.convolution(features, width, 3, stride),
        **layers.norm("bn1", width),
        "relu1": ReLU(),
        "conv2": layers.convolution(width, width, 3),
        **layers.norm("bn2", width),
        **layers.end(width),
    }, width


def _bottleneck(
    features: int, width: int, stride: int, inner: int, groups: int, layers: Layers
) -> tuple[dict[str, Net], int]:
    """1x1, 3x3 and 1x1 convolutions; gives the branch and the channels it writes."""
    wide = width * EXPANSION
    return {
        "conv1": layers.convolution(features, inner, 1),
        **layers.norm("bn1", inner),
        "relu1": ReLU(),
        "conv2": layers.convolution(inner, inner, 3, stride, groups),
        **layers.norm("bn2", inner),
        "relu2": ReLU(),
        "conv3": layers.convolution(inner, wide, 1),
        **layers.norm("bn3", wide),
        **layers.end(wide),
    }, wide


def _block(body: dict[str, Net], features: int, width: int, stride: int, layers: Layers) -> Wiring:
    """`relu(body(x) + x)`, with a normalised 1x1 convolution on the skip where the shape changes."""
    nodes, previous = dict(body), "input"
    reads: dict[str, tuple[str, ...]] = {}
    for name in body:
        reads[name] = (previous,)
        previous = name
    skip = "input"
    if stride != 1 or features != width:
        skip = "downsample"
        nodes[skip] = repeat([layers.convolution(features, width, 1, stride), *layers.norm("1", width).values()])
        reads[skip] = ("input",)
    nodes |= {"add": Add(), "relu": ReLU()}
    reads |= {"add": (previous, skip), "relu": ("add",)}
    return Wiring(nodes, reads, ("relu",))
