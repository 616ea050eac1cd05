"""Residual networks that normalise and activate before every convolution."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    Add,
    Dropout,
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

from ..architecture.architecture import Architecture
from .resnet import EXPANSION, Layers


def preact_resnet(
    stages: Sequence[int] = (3, 4, 6, 3),
    *,
    bottleneck: bool = True,
    classes: int = 1000,
    width: int = 64,
    widen: int = 1,
    stem: str = "imagenet",
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    norm: str = "batch",
    norm_groups: int = 32,
    dropout: float = 0.0,
) -> Architecture:
    """A pre-activation residual network, ResNet-50 v2 by default: 25,549,352 parameters.

    Nothing but a sum joins the branches, so the skips of a stage are one wire from its first block to its last.
    ResNet-1001 on CIFAR is `preact_resnet((111, 111, 111), classes=10, width=16, stem="cifar", space=(32, 32))`.

    Args:
        stages: number of blocks in every stage; all but the first begin with a stride of 2.
        bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3 ones.
        classes: features of the output.
        width: channels of the stem; the first stage has `widen` times as many, every later stage twice as many again.
        widen: channels of the first stage over those of the stem.
        stem: `"imagenet"` (7x7 convolution of stride 2 and max-pool) or `"cifar"` (3x3 convolution of stride 1).
        space: height and width of the images.
        channels: channels of the images.
        norm: `"batch"`, `"group"` or `"none"`, as in `resnet`.
        norm_groups: groups of every GroupNorm.
        dropout: probability before the second convolution; 0 leaves the blocks out.

    Returns:
        The architecture.

    Raises:
        ShapeError: for an unknown stem or norm, or images that are too small.

    Source: He, Zhang, Ren, Sun, *Identity Mappings in Deep Residual Networks* (2016), section 4 and figure 4(e).
    """
    if stem not in ("imagenet", "cifar"):
        raise ShapeError(f"no stem {stem!r}; there are imagenet, cifar")
    layers = Layers(norm, norm_groups)
    large = stem == "imagenet"
    parts: dict[str, Net] = {"conv1": layers.convolution(channels, width, 7 if large else 3, 2 if large else 1)}
    if large:
        parts["maxpool"] = MaxPool2d(3, 2, 1)
    features = width
    for i, count in enumerate(stages):
        inner = width * widen * 2**i
        out = inner * EXPANSION if bottleneck else inner
        first = 2 if i else 1
        steps = [(1, 1, inner), (3, first, inner), (1, 1, out)] if bottleneck else [(3, first, inner), (3, 1, out)]
        blocks: list[Net] = []
        for _ in range(count):
            blocks.append(_block(features, steps, layers, dropout))
            features, steps = out, [(kernel, 1, n) for kernel, _, n in steps]
        parts[f"layer{i + 1}"] = repeat(blocks)
    parts |= {**layers.norm("bn", features), "relu": ReLU(), "avgpool": GlobalAveragePool()}
    parts["fc"] = Linear(features, classes)
    return Architecture(chain(**parts), space=tuple(space))


def wide_resnet(
    depth: int = 28,
    widen: int = 10,
    classes: int = 10,
    dropout: float = 0.0,
    space: Sequence[int] = (32, 32),
    norm: str = "batch",
) -> Architecture:
    """A wide residual network on small images, WRN-28-10 by default: 36,479,194 parameters.

    Args:
        depth: convolutions on the longest path, 4 more than a multiple of 6.
        widen: channels of the first stage over the 16 of the stem.
        classes: features of the output.
        dropout: probability between the convolutions of a block; 0 leaves the blocks out.
        space: height and width of the images.
        norm: `"batch"`, `"group"` or `"none"`, as in `resnet`; GroupNorm has 16 groups.

    Returns:
        The architecture: three stages of pre-activation blocks of two 3x3 convolutions.

    Raises:
        ShapeError: for a depth that is not 4 more than a multiple of 6, or an unknown norm.

    Source: Zagoruyko, Komodakis, *Wide Residual Networks* (2016), table 1.
    """
    count, rest = divmod(depth - 4, 6)
    if rest or count < 1:
        raise ShapeError(f"a wide residual network of depth {depth}: the depth must be 10, 16, 22, 28, ...")
    return preact_resnet(
        (count,) * 3,
        bottleneck=False,
        classes=classes,
        width=16,
        widen=widen,
        stem="cifar",
        space=space,
        norm=norm,
        norm_groups=16,
        dropout=dropout,
    )


def _block(features: int, steps: Sequence[tuple[int, int, int]], layers: Layers, dropout: float) -> Wiring:
    """Convolutions of given kernel, stride and width, each after a norm and a ReLU, added to the input.

    Where the shape changes, a 1x1 convolution of the first activation takes the place of the input.
    """
    nodes: dict[str, Net] = {}
    before = features
    for i, (kernel, stride, width) in enumerate(steps, start=1):
        nodes |= {**layers.norm(f"bn{i}", before), f"relu{i}": ReLU()}
        if dropout and i == 2:
            nodes["dropout"] = Dropout(dropout)
        nodes[f"conv{i}"] = layers.convolution(before, width, kernel, stride)
        before = width
    nodes |= layers.end(before)
    reads: dict[str, tuple[str, ...]] = {}
    previous = skip = "input"
    for name in nodes:
        reads[name] = (previous,)
        previous = name
    stride = max(s for _, s, _ in steps)
    if stride != 1 or features != before:
        skip = "downsample"
        nodes[skip] = layers.convolution(features, before, 1, stride)
        reads[skip] = ("relu1",)
    nodes["add"], reads["add"] = Add(), (previous, skip)
    return Wiring(nodes, reads, ("add",))
