"""Sparse mixtures of experts as wide maps: the choice of experts, and groups of features with a weight each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import ChoiceRule, GroupProductRule, Rule

from .base import Block, Net, Parallel, ShapeError, Signal, WidthRelation, chain
from .linear import Linear
from .mixture import Router
from .pointwise import Identity, Softmax
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class TopChoice(Block):
    """Keeps the largest weights of a position and replaces the others by 0.

    Args:
        top: how many are kept.
        renormalise: whether they are divided by their sum.
        apart: whether a second port has the scores that choose; then the weights themselves do not.

    Law: none of its own; a router whose scores only choose is frozen.
    """

    top: int
    renormalise: bool = False
    apart: bool = False

    summary = "the largest weights, 0 for the others"
    source = "tran2026, theorem 4.6"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """The weights, and the scores that choose where they are given."""
        return 2 if self.apart else 1

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens or self.top > signals[0].features or any(s != signals[0] for s in signals):
            raise ShapeError(f"{self} chooses {self.top} of " + " by ".join(map(str, signals)) + "; make them fit")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ChoiceRule(self.renormalise, self.top == 1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        weights, scores = x[0].movedim(run.axis, -1), x[-1].movedim(run.axis, -1)
        gate = run.gate(scores, 2**20, lambda: scores.argsort(-1).argsort(-1))
        best = (scores.detach() if gate is None else gate).topk(self.top, -1).indices
        kept = weights * torch.zeros_like(weights).scatter(-1, best, 1.0)
        kept = kept / kept.sum(-1, keepdim=True) if self.renormalise else kept
        return kept.movedim(-1, run.axis)

    def width_minimum(self, port: int) -> int:
        return max(3, self.top + 1)

    def shrunk(self) -> TopChoice:
        """At most two are kept."""
        return TopChoice(min(self.top, 2), self.renormalise, self.apart)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Experts as one wide map: linear ones, with weights from a router of its own."""
        n = signal.features
        if signal.tokens or signal.channels_first:
            return ()
        weights = [chain(proj=Linear(n, 3, False), softmax=Softmax(), top=cls(2, again)) for again in (False, True)]
        return [
            chain(routed=Parallel((("p", p), ("h", Linear(n, 6, False))), GroupProduct()), down=Linear(6, n, False))
            for p in weights
        ]


@dataclass(frozen=True, eq=False, repr=False)
class GroupProduct(Block):
    """One weight for every group of features: port 0 has a weight for each, port 1 the groups side by side.

    The hidden units of all experts are the groups; their last maps are one wide map that reads them.

    Law: none of its own; it passes what its groups have on, group by group.
    """

    inputs = 2
    summary = "y_ei = p_e h_ei"
    source = "tran2026, theorem 4.5"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        p, h = signals
        if p.tokens or h.features % p.features or (p.space, p.channels_first) != (h.space, h.channels_first):
            raise ShapeError(f"{self} weighs the groups of {h} by {p}; make the features a multiple of the weights")
        return (h,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return GroupProductRule(inputs[0].features)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        weights, values = (t.movedim(run.axis, -1) for t in x)
        y = values.unflatten(-1, (weights.shape[-1], -1)) * weights.unsqueeze(-1)
        return y.flatten(-2).movedim(-1, run.axis)

    def width_multiple(self, port: int) -> int:
        return 1

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        wide = Fraction(signals[1].features, signals[0].features)
        return [WidthRelation(1, {0: wide}), WidthRelation(-1, {1: Fraction(1)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Pairs of features, weighed by a router."""
        n = signal.features
        if signal.tokens or signal.channels_first or n % 2 or n < 6:
            return ()
        router = chain(proj=Linear(n, n // 2, False), router=Router())
        return [Parallel((("p", router), ("h", Identity())), cls())]
