"""U-shaped networks for dense prediction."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Net,
    ReLU,
    ShapeError,
    Wiring,
    repeat,
)

from ..architecture.architecture import Architecture


def unet(
    classes: int = 2,
    width: int = 64,
    depth: int = 4,
    channels: int = 1,
    batch_norm: bool = False,
    space: Sequence[int] = (512, 512),
) -> Architecture:
    """A U-Net: 31,030,658 parameters by default (31,036,546 with BatchNorm).

    Every level has two 3x3 convolutions on the way down and two on the way up, which read what the level below has
    upsampled next to what the way down wrote.  The convolutions are padded, so the output has the size of the image
    (the paper crops instead, with the same parameters).

    Args:
        classes: features of the output at every pixel.
        width: channels of the first level; every level below doubles them.
        depth: number of times the image is halved.
        channels: channels of the images.
        batch_norm: whether a BatchNorm follows every 3x3 convolution, which then has no bias.
        space: height and width of the images, multiples of `2**depth`.

    Returns:
        The architecture.

    Raises:
        ShapeError: for images that cannot be halved that often, or a depth below 1.

    Source: Ronneberger, Fischer, Brox, *U-Net: Convolutional Networks for Biomedical Image Segmentation* (2015),
    figure 1.
    """
    if any(n % 2**depth for n in space):
        raise ShapeError(f"images of {tuple(space)} cannot be halved {depth} times; use multiples of {2**depth}")
    nodes: dict[str, Net] = {}
    reads: dict[str, tuple[str, ...]] = {}

    def add(name: str, net: Net, *sources: str) -> None:
        nodes[name], reads[name] = net, sources

    previous, before = "input", channels
    for i in range(depth + 1):
        if i:
            add(f"pool{i}", MaxPool2d(2, 2), previous)
            previous = f"pool{i}"
        add(f"down{i}", _convolutions(before, width * 2**i, batch_norm), previous)
        previous, before = f"down{i}", width * 2**i
    for i in reversed(range(depth)):
        add(f"upsample{i}", ConvTranspose2d(before, width * 2**i, 2, 2), previous)
        add(f"concat{i}", Concat(), f"down{i}", f"upsample{i}")
        add(f"up{i}", _convolutions(width * 2 ** (i + 1), width * 2**i, batch_norm), f"concat{i}")
        previous, before = f"up{i}", width * 2**i
    add("head", Conv2d(before, classes, 1), previous)
    return Architecture(Wiring(nodes, reads, ("head",)), space=tuple(space))


def _convolutions(channels: int, width: int, batch_norm: bool) -> Net:
    """Two 3x3 convolutions, each with a ReLU."""
    parts: list[Net] = []
    for features in (channels, width):
        parts.append(Conv2d(features, width, 3, padding=1, bias=not batch_norm))
        parts += [*([BatchNorm(width)] if batch_norm else []), ReLU()]
    return repeat(parts)
