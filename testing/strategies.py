"""Hypothesis strategies: random architectures and their parts.

Sizes are small enough for the oracle and large enough to avoid accidental laws: every axis has at least 2 entries,
norms, classes and token axes at least 3.  A block that is registered and says in `Block.examples` how it follows a
signal takes part.
"""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.compile import output_signal
from lawful.theory.typed import typed

from .builder import Builder
from .modules import judged, modules

__all__ = [
    "architectures",
    "batches",
    "blocks",
    "grids",
    "images",
    "judged",
    "losses",
    "modules",
    "parameters",
    "sequences",
    "vectors",
    "volumes",
]

Draw = st.DrawFn


@st.composite
def vectors(draw: Draw, max_depth: int = 2) -> Architecture:
    """Networks on plain vectors."""
    builder = Builder(draw, 90)
    s = b.Signal(builder.width())
    return _finish(builder, s, max_depth, draw)


@st.composite
def sequences(draw: Draw, max_depth: int = 2) -> Architecture:
    """Networks on tokens: embedding or vectors, positions, attention, pooling."""
    builder = Builder(draw, 80)
    tokens = draw(st.integers(3, 4))
    net: b.Net | None = None
    if builder.flag():
        # More words than features, and always attention after them: a network of a few words is a few numbers.
        s = b.Signal(draw(st.integers(4, 5)), (tokens,), tokens=True)
        width = draw(st.integers(2, 3))
        net = b.Embedding(s.features, width)
    else:
        s = b.Signal(builder.width(), (tokens,))
    now = output_signal(net, s) if net else s
    start = builder.pick(["nothing", "position", "class", "both"]) if net or builder.flag() else "nothing"
    for kind, make in (
        ("class", lambda n: b.ClassToken(n.features)),
        ("position", lambda n: b.LearnedPosition(n.space[0], n.features)),
    ):
        if start in (kind, "both"):
            extra = make(now)
            net = net >> extra if net else extra
            now = output_signal(net, s)
    if start != "nothing" or s.tokens:
        assert net is not None
        attention = builder.attention(now)
        net = net >> (b.residual(attention) if builder.flag() else attention)
    if not net and builder.pick([False, False, False, True]):
        net = b.Recurrent(now.features, 2, tokens, builder.pick([b.ReLU(), b.LeakyReLU(0.3), b.Tanh()]), builder.flag())
    return _finish(builder, s, max_depth, draw, net)


@st.composite
def images(draw: Draw, max_depth: int = 2) -> Architecture:
    """Convolutional networks in one or two dimensions."""
    builder = Builder(draw, 90)
    rank = draw(st.integers(1, 2))
    s = b.Signal(draw(st.integers(2, 3)), (4,) * rank, channels_first=True)
    if rank == 2 and builder.pick([False, False, True]):
        patches = b.Conv2d(s.features, builder.width(), 2, 2, bias=builder.flag()) >> b.ToTokens()
        return _finish(builder, s, max_depth, draw, patches)
    net: b.Net = builder.conv(s, first=True)
    s2 = output_signal(net, s)
    if rank == 2 and s2.space[0] >= 4 and builder.flag():
        net = net >> builder.pick([b.MaxPool2d(2, 2), b.AveragePool2d(2)])
    return _finish(builder, s, max_depth, draw, net)


@st.composite
def volumes(draw: Draw, max_depth: int = 2) -> Architecture:
    """Convolutional networks in three dimensions."""
    builder = Builder(draw, 90)
    s = b.Signal(draw(st.integers(2, 3)), (builder.pick([2, 4]),) * 3, channels_first=True)
    return _finish(builder, s, max_depth, draw, builder.conv(s, first=True))


@st.composite
def grids(draw: Draw, max_depth: int = 2) -> Architecture:
    """Networks on images with their channels last, as windowed attention reads them."""
    builder = Builder(draw, 80)
    return _finish(builder, b.Signal(builder.width(), (4, 4)), max_depth, draw)


def _finish(builder: Builder, s: b.Signal, depth: int, draw: Draw, net: b.Net | None = None) -> Architecture:
    """A body, a pooling where there are positions, and a head."""
    now = output_signal(net, s) if net else s
    if net:
        builder.count(net)
    body, now = builder.chain(now, depth)
    net = net >> body if net else body
    if now.space and (now.channels_first or builder.flag()):
        options: list[b.Net] = [b.GlobalAveragePool()]
        if now.channels_first:
            options.append(b.Flatten())
        if not now.channels_first and len(now.space) == 1:
            options.append(b.SelectToken(now.space[0] - 1))
        net = net >> builder.pick(options)
        now = output_signal(net, s)
    if now.channels_first or builder.pick([True, True, True, False]) or now.features < 3:
        net = net >> b.Linear(now.features, builder.width(3), builder.flag())
    arch = Architecture(net, input=s)
    if builder.pick([False, False, False, True]):
        names = [n for n, p in arch.parameters.items() if len(p.shape) == 1]
        if names:
            arch = arch.freeze(draw(st.sampled_from(sorted(names))))
    return arch


@typed(least={"max_depth": 0, "most": 2})
def architectures(max_depth: int = 2) -> st.SearchStrategy[Architecture]:
    """Architectures of every kind: vectors, token sequences, images; with skips, branches, shared or frozen weights.

    Args:
        max_depth: how deep residuals and branches nest; a network has up to some twenty blocks.
    """
    if not 0 <= max_depth <= 6:
        raise ValueError(f"max_depth is {max_depth}, expected 0 to 6")
    return st.one_of(vectors(max_depth), sequences(max_depth), images(max_depth), volumes(1), grids(max_depth))


@typed(least={"max_depth": 0, "most": 2})
def blocks(signal: b.Signal | None = None) -> st.SearchStrategy[b.Net]:
    """Blocks, or a few of them that belong together: every registered one that says how it follows a signal.

    Args:
        signal: what they read; by default a vector, tokens or an image, drawn with them.
    """

    @st.composite
    def one(draw: Draw) -> b.Net:
        builder = Builder(draw, 60)
        plain = [b.Signal(3), b.Signal(4), b.Signal(4, (3,)), b.Signal(4, (4, 4), channels_first=True)]
        return builder.block(signal or builder.pick(plain))

    return one()


@typed(least={"max_depth": 0, "most": 2})
def parameters(arch: Architecture) -> st.SearchStrategy[dict[str, torch.Tensor]]:
    """Random parameters of an architecture, float64, by name; frozen ones too.

    Args:
        arch: the architecture.
    """
    return _seeds().map(lambda seed: arch.random_parameters(torch.Generator().manual_seed(seed)))


@typed(least={"max_depth": 0, "most": 2})
def batches(arch: Architecture, most: int = 6) -> st.SearchStrategy[tuple[torch.Tensor, ...]]:
    """Random inputs of an architecture, one tensor for each, all with the same number of examples.

    Args:
        arch: the architecture.
        most: examples; at least 2, since BatchNorm needs them.
    """

    def inputs(seed: int, size: int) -> tuple[torch.Tensor, ...]:
        return tuple(arch.random_inputs(size, torch.Generator().manual_seed(seed)))

    return st.builds(inputs, _seeds(), st.integers(2, most))


@typed(least={"max_depth": 0, "most": 2})
def losses(arch: Architecture | None = None) -> st.SearchStrategy[Any]:
    """Losses that both differentiation and the theorems know: one, or one for every output of an architecture.

    Args:
        arch: the architecture; without it one loss is drawn.
    """
    one = st.sampled_from(["mse", "cross_entropy"])
    count = 1 if arch is None else len(arch.outputs)
    return one if count == 1 else st.tuples(*[one] * count)


def _seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**20)
