"""ConvNeXt."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    GELU,
    Add,
    Conv2d,
    GlobalAveragePool,
    LayerNorm,
    LayerScale,
    Linear,
    Net,
    StochasticDepth,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture

EPSILON = 1e-6  # of every LayerNorm


def convnext_tiny(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.1) -> Architecture:
    """ConvNeXt-T: stages of 3, 3, 9, 3 blocks of 96 to 768 channels, 28,589,128 parameters.

    Arguments and source as in `convnext`.
    """
    return convnext((3, 3, 9, 3), (96, 192, 384, 768), classes=classes, space=space, drop=drop)


def convnext_small(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.4) -> Architecture:
    """ConvNeXt-S: stages of 3, 3, 27, 3 blocks of 96 to 768 channels, 50,223,688 parameters.

    Arguments and source as in `convnext`.
    """
    return convnext((3, 3, 27, 3), (96, 192, 384, 768), classes=classes, space=space, drop=drop)


def convnext_base(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.5) -> Architecture:
    """ConvNeXt-B: stages of 3, 3, 27, 3 blocks of 128 to 1024 channels, 88,591,464 parameters.

    Arguments and source as in `convnext`.
    """
    return convnext((3, 3, 27, 3), (128, 256, 512, 1024), classes=classes, space=space, drop=drop)


def convnext(
    stages: Sequence[int] = (3, 3, 9, 3),
    widths: Sequence[int] = (96, 192, 384, 768),
    *,
    classes: int = 1000,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    layer_scale: bool = True,
    drop: float = 0.1,
) -> Architecture:
    """A ConvNeXt: LayerNorm over channels, depthwise 7x7 convolutions, GELU and layer scale.

    Args:
        stages: number of blocks in every stage.
        widths: channels of every stage.
        classes: features of the output.
        space: height and width of the images.
        channels: channels of the images.
        layer_scale: whether every branch ends in a gain per channel.
        drop: probability that the last branch is dropped; it grows linearly with depth from 0, and 0 leaves the blocks
            out.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every norm.  The maps
        inside a block are 1x1 convolutions.

    Raises:
        ShapeError: for images that are too small.

    Source: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, *A ConvNet for the 2020s* (2022), section 3.1 and table 9.
    """
    features: list[Net] = []
    done, last = 0, max(sum(stages) - 1, 1)
    before = channels
    for i, (count, width) in enumerate(zip(stages, widths, strict=True)):
        if i:
            features.append(repeat([LayerNorm(before, epsilon=EPSILON), Conv2d(before, width, 2, 2)]))
        else:
            features.append(repeat([Conv2d(before, width, 4, 4), LayerNorm(width, epsilon=EPSILON)]))
        features.append(repeat([_block(width, layer_scale, drop * (done + j) / last) for j in range(count)]))
        before, done = width, done + count
    classifier: dict[str, Net] = {"0": LayerNorm(before, epsilon=EPSILON), "2": Linear(before, classes)}
    net = chain(features=repeat(features), avgpool=GlobalAveragePool(), classifier=chain(**classifier))
    return Architecture(net, space=tuple(space))


def _block(width: int, layer_scale: bool, drop: float) -> Wiring:
    branch: dict[str, Net] = {
        "0": Conv2d(width, width, 7, padding=3, groups=width),
        "2": LayerNorm(width, epsilon=EPSILON),
        "3": Conv2d(width, 4 * width, 1),
        "4": GELU(),
        "5": Conv2d(4 * width, width, 1),
    }
    nodes: dict[str, Net] = {"block": chain(**branch)}
    nodes |= {"layer_scale": LayerScale(width)} if layer_scale else {}
    nodes |= {"stochastic_depth": StochasticDepth(drop)} if drop else {}
    reads: dict[str, tuple[str, ...]] = {}
    previous = "input"
    for name in nodes:
        reads[name] = (previous,)
        previous = name
    return Wiring(nodes | {"add": Add()}, reads | {"add": (previous, "input")}, ("add",))
