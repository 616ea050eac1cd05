"""Graph networks: GCN and GraphSAGE."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lawful.blocks import (
    Affine,
    Aggregate,
    BatchNorm,
    Dropout,
    GraphSAGE,
    Linear,
    Net,
    ReLU,
    ShapeError,
    Signal,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture


def gcn(
    widths: Sequence[int] = (1433, 16, 7),
    nodes: int = 2708,
    edges: Sequence[int] = (),
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> Architecture:
    """A graph convolutional network, that for Cora by default: 23,063 parameters.

    A layer is a map, the symmetric mean over the neighbours, and a bias after it.  The network for ogbn-arxiv is
    `gcn((128, 256, 256, 40), batch_norm=True)`, 110,120 parameters; parameters and laws do not depend on the nodes.

    Args:
        widths: features of the nodes, of every hidden layer, and classes.
        nodes: number of nodes.
        edges: pairs of nodes `(i, j, i, j, ...)`; by default every node is joined to the next two.
        batch_norm: whether a BatchNorm follows every layer but the last.
        dropout: probability after every activation (without BatchNorm also on the features of the nodes, as in the
            paper); 0 leaves the blocks out.

    Returns:
        The architecture; it reads features of shape `(nodes, widths[0])` and gives every node its classes.

    Raises:
        ShapeError: for fewer than two widths, or edges to nodes that are not there.

    Source: Kipf, Welling, *Semi-Supervised Classification with Graph Convolutional Networks* (2017), equation 9;
    Hu et al., *Open Graph Benchmark* (2020), appendix for ogbn-arxiv.
    """

    def layer(features: int, width: int) -> Net:
        aggregate = Aggregate(edges=tuple(edges))
        return chain(proj=Linear(features, width, False), aggregate=aggregate, bias=Affine(width, gain=False))

    return _stack([layer(a, b) for a, b in _pairs(widths)], widths, nodes, batch_norm, dropout, not batch_norm)


def graphsage(
    widths: Sequence[int] = (100, 256, 256, 47),
    nodes: int = 1024,
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> Architecture:
    """GraphSAGE with the mean over neighbours, that for ogbn-products by default: 206,895 parameters.

    A layer is a map of the node plus a map of the mean of its neighbours, with one bias.  The network for ogbn-arxiv is
    `graphsage((128, 256, 256, 40), batch_norm=True)`, 218,664 parameters.

    Args:
        widths: features of the nodes, of every hidden layer, and classes.
        nodes: number of nodes of the sampled graph; every node is joined to the next two.
        batch_norm: whether a BatchNorm follows every layer but the last.
        dropout: probability after every activation; 0 leaves the blocks out.

    Returns:
        The architecture; it reads features of shape `(nodes, widths[0])` and gives every node its classes.

    Raises:
        ShapeError: for fewer than two widths.

    Source: Hamilton, Ying, Leskovec, *Inductive Representation Learning on Large Graphs* (2017), algorithm 1;
    Hu et al., *Open Graph Benchmark* (2020), appendix for ogbn-products.
    """
    layers: list[Net] = [GraphSAGE(a, b) for a, b in _pairs(widths)]
    return _stack(layers, widths, nodes, batch_norm, dropout, False)


def _pairs(widths: Sequence[int]) -> list[tuple[int, int]]:
    if len(widths) < 2:
        raise ShapeError(f"widths are {tuple(widths)}; give two or more, features first and classes last")
    return list(itertools.pairwise(widths))


def _stack(
    layers: Sequence[Net], widths: Sequence[int], nodes: int, batch_norm: bool, dropout: float, drop_features: bool
) -> Architecture:
    """Layers with an activation between them."""
    parts: list[Net] = []
    for i, (layer, width) in enumerate(zip(layers, widths[1:], strict=True)):
        before: dict[str, Net] = {"dropout": Dropout(dropout)} if dropout and (i or drop_features) else {}
        after: dict[str, Net] = {}
        if i < len(layers) - 1:
            after = {**({"norm": BatchNorm(width)} if batch_norm else {}), "activation": ReLU()}
        parts.append(chain(**before, conv=layer, **after))
    return Architecture(chain(layers=repeat(parts)), input=Signal(widths[0], (nodes,)))
