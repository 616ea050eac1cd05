"""Mixture of experts: routers and the weighted sum of experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.gauge.rules import Rule, SoftmaxRule

from .base import Block, Net, Parallel, ShapeError, Signal, chain
from .composites import MLP
from .joins import Add, Mixture
from .linear import Linear
from .pointwise import LeakyReLU
from .run import Run

GATES = ("softmax", "sigmoid", "normalised_sigmoid")


@dataclass(frozen=True, eq=False, repr=False)
class Router(Block):
    """Weights of the experts from logits, one feature per expert; those that are not chosen get 0.

    Args:
        gate: `softmax` over the experts, `sigmoid` of each, or `normalised_sigmoid` (divided by their sum).
        top: how many experts are chosen, those with the largest logits; 0 for all (dense).
        renormalise: divide by the sum over the chosen ones (Mixtral), or keep the weights as they are (Switch).

    Law: softmax: column sums of the router (Tran et al. 2026, theorems 4.5 and 4.6); top 1 renormalised: the router is
    frozen; sigmoid gates: none (theorem 4.7 claims column sums, an exact counterexample refutes it).
    """

    gate: str = "softmax"
    top: int = 0
    renormalise: bool = True

    summary = "weights of the experts"
    source = "tran2026, theorems 4.5 to 4.7"
    least = MappingProxyType({"top": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gate not in GATES:
            raise ShapeError(f"no gate {self.gate!r}; there are {', '.join(GATES)}")

    @property
    def normalised(self) -> bool:
        """Whether the weights of one example sum to 1."""
        if self.gate == "sigmoid":
            return bool(self.top) and self.renormalise
        return not self.top or self.renormalise

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens or self.top > signals[0].features:
            raise ShapeError(f"{self} chooses {self.top} experts of {signals[0]}; make the router as wide")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        if self.normalised and self.top == 1:
            return SoftmaxRule("everything")
        return SoftmaxRule("ones" if self.gate == "softmax" else "nothing", self.normalised)

    def width_minimum(self, port: int) -> int:
        return max(3, self.top + 1)

    def shrunk(self) -> Router:
        """At most two experts are chosen."""
        return dataclasses.replace(self, top=min(self.top, 2))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        z = x[0].movedim(run.axis, -1)
        if self.gate == "softmax":
            e = torch.exp(z - z.detach().amax(-1, keepdim=True))
            weights = e / e.sum(-1, keepdim=True)
        else:
            weights = torch.sigmoid(z)
        if self.top:
            weights = weights * self._chosen(z, run)
        if self.normalised and (self.top or self.gate != "softmax"):
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.movedim(-1, run.axis)

    def _chosen(self, z: torch.Tensor, run: Run) -> torch.Tensor:
        """1 for the experts with the largest logits (with free gates: for random ones), 0 for the others."""
        gate = run.gate(z, 2**20, lambda: z.argsort(-1).argsort(-1))
        ranks = z.detach() if gate is None else gate
        best = ranks.topk(self.top, -1).indices
        return torch.zeros_like(z).scatter(-1, best, 1.0)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        n = signal.features
        if signal.tokens or signal.channels_first:
            return ()
        options = [
            cls(),
            cls(top=2),
            cls(top=2, renormalise=False),
            cls(top=1),
            cls("sigmoid"),
            cls("normalised_sigmoid", 2),
            cls("normalised_sigmoid"),
        ]
        return [MixtureOfExperts(n, [MLP(n, 2, LeakyReLU(0.3), False) for _ in range(3)], router=r) for r in options]


def MixtureOfExperts(
    features: int,
    experts: Sequence[Net],
    router: Router | None = None,
    bias: bool = False,
    shared: Net | None = None,
) -> Net:
    """Experts weighted by a router.

    Args:
        features: width of the stream.
        experts: nets of one shape.
        router: how logits become weights; dense softmax by default.
        bias: whether the map to the logits has a bias.
        shared: a net that every token passes as well (DeepSeek's shared experts).

    Law: the experts' own and what the router keeps, see `Router`.
    """
    gate = router or Router()
    logits = chain(proj=Linear(features, len(experts), bias), router=gate)
    branches = (("router", logits), *((f"expert{i}", e) for i, e in enumerate(experts)))
    routed = Parallel(branches, Mixture(gate.normalised))
    return Parallel((("routed", routed), ("shared", shared)), Add()) if shared is not None else routed
