"""The two networks of the demo and what they are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.papers import data
from lawful.papers.shelf import PaperError

from .bad_input import BadInput

Batch = tuple[torch.Tensor, torch.Tensor]

VOCABULARY, CONTEXT = 64, 16


@dataclass(frozen=True)
class Subject:
    """A network of the demo.

    Attributes:
        name: what it is called in tables.
        arch: the architecture; its loss is cross-entropy.
        batches: gives training batches for a number of steps and a seed.
        rates: learning rates, largest first.
        data: what it is trained on, in words.
        shown: the law that the figure follows.
    """

    name: str
    arch: Architecture
    batches: Callable[[int, int], list[Batch]]
    rates: tuple[float, ...]
    data: str
    shown: str


def subjects() -> tuple[Subject, Subject]:
    """A ResNet and a Transformer."""
    return (
        Subject("ResNet", resnet(), digits, (0.3, 0.15, 0.075), "handwritten digits", "balance of stem.bn.affine"),
        Subject(
            "Transformer",
            transformer(),
            text,
            (0.4, 0.2, 0.1),
            "the Python reference",
            "balance of layer1.attention.heads.v",
        ),
    )


def resnet(width: int = 8, classes: int = 10) -> Architecture:
    """Stem, two stages of one BatchNorm block each, mean over pixels, head."""
    net = b.chain(
        stem=b.chain(conv=_conv(1, width), bn=b.BatchNorm(width), relu=b.ReLU()),
        stage1=_residual_block(width, width, 1),
        stage2=_residual_block(width, 2 * width, 2),
        pool=b.GlobalAveragePool(),
        head=b.Linear(2 * width, classes),
    )
    return Architecture(net, space=(8, 8))


def _conv(channels: int, width: int, kernel: int = 3, stride: int = 1) -> b.Conv2d:
    return b.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)


def _residual_block(channels: int, width: int, stride: int) -> b.Net:
    """`relu(body(x) + skip(x))`; the skip is a 1x1 convolution where the shape changes."""
    nodes: dict[str, b.Net] = {
        "conv1": _conv(channels, width, stride=stride),
        "bn1": b.BatchNorm(width),
        "relu1": b.ReLU(),
        "conv2": _conv(width, width),
        "bn2": b.BatchNorm(width),
        "add": b.Add(),
        "relu2": b.ReLU(),
    }
    names = list(nodes)
    reads = {name: (before,) for name, before in zip(names, ["input", *names], strict=False)}
    skip = "input"
    if channels != width:
        skip = "skip"
        nodes[skip] = b.chain(conv=_conv(channels, width, 1, stride), bn=b.BatchNorm(width))
        reads[skip] = ("input",)
    return b.Wiring(nodes, reads | {"add": ("bn2", skip)}, ("relu2",))


def transformer(width: int = 32, heads: int = 4, hidden: int = 64, layers: int = 2) -> Architecture:
    """Embedding, learned position, causal pre-LayerNorm layers with ReLU, LayerNorm, head."""
    parts: dict[str, b.Net] = {"embed": b.Embedding(VOCABULARY, width), "position": b.LearnedPosition(CONTEXT, width)}
    for i in range(layers):
        parts[f"layer{i + 1}"] = _transformer_layer(width, heads, hidden)
    parts |= {"norm": b.LayerNorm(width), "head": b.Linear(width, VOCABULARY, bias=False)}
    return Architecture(b.chain(**parts), space=(CONTEXT,))


def _transformer_layer(width: int, heads: int, hidden: int) -> b.Net:
    return b.Wiring(
        {
            "norm1": b.LayerNorm(width),
            "attention": b.SelfAttention(width, heads, bias=True, causal=True),
            "add1": b.Add(),
            "norm2": b.LayerNorm(width),
            "mlp": b.MLP(width, hidden),
            "add2": b.Add(),
        },
        {
            "norm1": ("input",),
            "attention": ("norm1",),
            "add1": ("input", "attention"),
            "norm2": ("add1",),
            "mlp": ("norm2",),
            "add2": ("add1", "mlp"),
        },
        ("add2",),
    )


def digits(steps: int, seed: int) -> list[Batch]:
    """Batches of 32 digits from scikit-learn, pixels in [-1, 1]."""
    try:
        images, targets = data.digits()
    except PaperError as error:
        raise BadInput(str(error)) from error
    generator = torch.Generator().manual_seed(seed)
    picked = (torch.randint(len(targets), (32,), generator=generator) for _ in range(steps))
    return [(images[i], targets[i]) for i in picked]


def text(steps: int, seed: int) -> list[Batch]:
    """Batches of 16 runs of characters from Python's own documentation; the target is the next character."""
    tokens = data.characters(VOCABULARY)
    generator = torch.Generator().manual_seed(seed)
    starts = (torch.randint(len(tokens) - CONTEXT, (16, 1), generator=generator) for _ in range(steps))
    runs = (tokens[start + torch.arange(CONTEXT + 1)] for start in starts)
    return [(run[:, :-1], run[:, 1:]) for run in runs]
