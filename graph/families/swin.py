"""Swin: transformers on shifted windows."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    GELU,
    Add,
    ChannelsLast,
    Conv2d,
    CyclicShift,
    GlobalAveragePool,
    LayerNorm,
    Linear,
    Net,
    PatchMerging,
    SelfAttention,
    ShapeError,
    StochasticDepth,
    Table,
    WindowPartition,
    WindowReverse,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture


def swin_t(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.2) -> Architecture:
    """Swin-T: stages of 2, 2, 6, 2 blocks of 96 to 768 features, 28,288,354 parameters.

    Arguments and source as in `swin`.
    """
    return swin((2, 2, 6, 2), 96, (3, 6, 12, 24), classes=classes, space=space, drop=drop)


def swin_s(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.3) -> Architecture:
    """Swin-S: stages of 2, 2, 18, 2 blocks of 96 to 768 features, 49,606,258 parameters.

    Arguments and source as in `swin`.
    """
    return swin((2, 2, 18, 2), 96, (3, 6, 12, 24), classes=classes, space=space, drop=drop)


def swin_b(classes: int = 1000, space: Sequence[int] = (224, 224), drop: float = 0.5) -> Architecture:
    """Swin-B: stages of 2, 2, 18, 2 blocks of 128 to 1024 features, 87,768,224 parameters.

    Arguments and source as in `swin`.
    """
    return swin((2, 2, 18, 2), 128, (4, 8, 16, 32), classes=classes, space=space, drop=drop)


def swin(
    stages: Sequence[int] = (2, 2, 6, 2),
    width: int = 96,
    heads: Sequence[int] = (3, 6, 12, 24),
    *,
    classes: int = 1000,
    window: int = 7,
    patch: int = 4,
    space: Sequence[int] = (224, 224),
    channels: int = 3,
    drop: float = 0.2,
) -> Architecture:
    """A Swin transformer: attention inside windows, which every second block shifts by half a window.

    A window that the shift wraps around the border is one window here; the paper masks the pairs across that border,
    which changes no parameter and no law.

    Args:
        stages: number of blocks in every stage.
        width: features of the first stage; every later stage doubles them and halves the grid.
        heads: attention heads of every stage.
        classes: features of the output.
        window: side of a window.
        patch: side of a patch; images are cut by a convolution of that kernel and stride.
        space: height and width of the images.
        channels: channels of the images.
        drop: probability that a branch of the last block is dropped; it grows linearly with depth from 0, and 0 leaves
            the blocks out.

    Returns:
        The architecture; nodes carry torchvision's names, with `.core` and `.affine` inside every norm.

    Raises:
        ShapeError: if windows or heads do not divide.

    Source: Liu et al., *Swin Transformer: Hierarchical Vision Transformer using Shifted Windows* (2021), section 3.
    """
    least = patch * 2 ** (len(stages) - 1)
    for n in space:
        if n % least or any(n // patch // 2**i % window for i in range(len(stages))):
            raise ShapeError(
                f"windows of {window} do not divide the grids of images of {tuple(space)}; "
                f"use multiples of {least * window}"
            )
    height, across = (n // patch for n in space)
    features: list[Net] = [
        chain(**{"0": Conv2d(channels, width, patch, patch), "1": ChannelsLast(), "2": LayerNorm(width)})
    ]
    done, last = 0, max(sum(stages) - 1, 1)
    for i, (count, n) in enumerate(zip(stages, heads, strict=True)):
        if i:
            features.append(PatchMerging(width))
            width, height, across = 2 * width, height // 2, across // 2
        blocks = []
        for j in range(count):
            shift = window // 2 if j % 2 and window < min(height, across) else 0
            blocks.append(_block(width, n, window, shift, (height, across), drop * (done + j) / last))
        features.append(repeat(blocks))
        done += count
    net = chain(
        features=repeat(features), norm=LayerNorm(width), avgpool=GlobalAveragePool(), head=Linear(width, classes)
    )
    return Architecture(net, space=tuple(space))


def _block(width: int, heads: int, window: int, shift: int, grid: tuple[int, int], drop: float) -> Wiring:
    """Attention inside windows and an MLP, each behind a LayerNorm in a residual branch."""
    attention = SelfAttention(
        width,
        heads,
        bias=True,
        packed=True,
        table=Table((2 * window - 1) ** 2, heads),
        relative="window",
        window_shape=(window, window),
    )
    moved: dict[str, Net] = {"shift": CyclicShift(shift)} if shift else {}
    moved |= {"windows": WindowPartition(window), "attention": attention, "grid": WindowReverse(*grid)}
    moved |= {"unshift": CyclicShift(-shift)} if shift else {}
    mlp: dict[str, Net] = {"0": Linear(width, 4 * width), "1": GELU(), "3": Linear(4 * width, width)}
    nodes: dict[str, Net] = {}
    reads: dict[str, tuple[str, ...]] = {}
    stream = "input"
    for i, branch in enumerate(({"attn": chain(**moved)}, {"mlp": chain(**mlp)}), start=1):
        parts: dict[str, Net] = {f"norm{i}": LayerNorm(width), **branch}
        parts |= {f"stochastic_depth{i}": StochasticDepth(drop)} if drop else {}
        previous = stream
        for name, net in parts.items():
            nodes[name], reads[name] = net, (previous,)
            previous = name
        nodes[f"add{i}"], reads[f"add{i}"] = Add(), (stream, previous)
        stream = f"add{i}"
    return Wiring(nodes, reads, (stream,))
