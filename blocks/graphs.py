"""Graph convolutions: every node reads its neighbours."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import PassRule, Rule

from .base import Block, Net, Parallel, ShapeError, Signal, chain
from .joins import Add
from .linear import Linear
from .run import Run

KINDS = ("symmetric", "mean", "sum")


@dataclass(frozen=True, eq=False, repr=False)
class Aggregate(Block):
    """Every node gets a weighted sum over itself and its neighbours; x of shape `(batch, nodes, features)`.

    Args:
        kind: `symmetric` (`D^-1/2 (A + I) D^-1/2`, GCN), `mean` over the neighbours (GraphSAGE) or their `sum` (GIN).
        edges: pairs of nodes `(i, j, i, j, ...)`; by default every node is joined to the next and to the one after it.

    Law: that of a sum over positions, `S_out = S_in` (Kipf, Welling 2017, equation 2; wire-balance theorem).
    """

    norm: str = "symmetric"
    edges: tuple[int, ...] = ()

    summary = "weighted sum over the neighbours"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "edges", tuple(self.edges))
        if self.norm not in KINDS:
            raise ShapeError(f"no aggregation {self.norm!r}; there are {', '.join(KINDS)}")
        if len(self.edges) % 2:
            raise ShapeError(f"{self} has an odd number of ends of edges; give pairs (i, j, i, j, ...)")

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if len(s.space) != 1 or s.channels_first or s.tokens:
            raise ShapeError(f"{self} reads nodes with features last but gets {s}")
        if self.edges and max(self.edges) >= s.space[0]:
            raise ShapeError(f"{self} has an edge to node {max(self.edges)} but gets {s}; there are fewer nodes")
        return (s,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        constant, alike = _seen(self, inputs[0].space[0])
        return PassRule(weights="uniform", keeps_constants=constant, mixes=True, repeats=alike)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return self.weights(x[0].shape[-2]).to(x[0]) @ x[0]

    def weights(self, nodes: int) -> torch.Tensor:
        """The weights of all nodes: `(nodes, nodes)`, row by row."""
        ends = torch.tensor(self.edges, dtype=torch.long).reshape(-1, 2)
        if not self.edges:
            i = torch.arange(nodes)
            ends = torch.cat([torch.stack([i[:-k], i[k:]], 1) for k in (1, 2) if k < nodes])
        a = torch.zeros(nodes, nodes, dtype=torch.float64)
        a[ends[:, 0], ends[:, 1]] = 1
        a = torch.maximum(a, a.T)
        if self.norm == "symmetric":
            a = a + torch.eye(nodes, dtype=a.dtype)
            root = a.sum(1).rsqrt()
            return root[:, None] * a * root
        return a / a.sum(1, keepdim=True).clamp_min(1) if self.norm == "mean" else a

    def shrunk(self) -> Block:
        """The default edges: the nodes of the graph are fewer."""
        return Aggregate(self.norm)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if len(signal.space) != 1 or signal.channels_first or signal.tokens or signal.space[0] < 3:
            return ()
        return [cls(k) for k in KINDS]


@functools.lru_cache(maxsize=64)  # a graph of thousands of nodes is looked at once, not for every layer
def _seen(block: Aggregate, nodes: int) -> tuple[bool, bool]:
    """Whether every node's weights sum to 1, and whether they are dependent (two nodes with the same neighbours)."""
    weights = block.weights(nodes)
    pivots = torch.linalg.lu_factor_ex(weights)[0].diagonal().abs()
    return bool((weights.sum(1) - 1).abs().max() < 1e-9), bool(pivots.min() < 1e-9 * pivots.max())


def GCN(features: int, width: int, bias: bool = True) -> Net:
    """A graph convolution: a linear map and the symmetric mean over the neighbours (Kipf, Welling 2017)."""
    return chain(proj=Linear(features, width, bias), aggregate=Aggregate())


def GraphSAGE(features: int, width: int, bias: bool = True) -> Net:
    """A map of the node and one of the mean of its neighbours, added (Hamilton et al. 2017, algorithm 1)."""
    neighbours = chain(aggregate=Aggregate("mean"), proj=Linear(features, width, False))
    return Parallel((("own", Linear(features, width, bias)), ("neighbours", neighbours)), Add())
