"""Maps of two inputs: bilinear forms and similarities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import BilinearRule, Rule, SimilarityRule

from .base import Block, Net, Parallel, ShapeError, Signal, Spec, WidthRelation, chain
from .linear import Linear
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Bilinear(Block):
    """`y_k = u^T W_k v + b_k` of two inputs, as `torch.nn.Bilinear`.

    Args:
        first: features of u, shape `(batch, ..., first)`.
        second: features of v, shape `(batch, ..., second)`.
        width: features of y; the weight has shape `(width, first, second)`.
        bias: whether there is a `b` of shape `(width,)`.
        frozen: local names of parameters that training does not move.

    Law: `A A^T - sum_kj W_k:j W_k:j^T` with the producer `A` of an input, and the same on every axis of `W`
    (wire-balance theorem; for matrices Marcotte et al. 2023, proposition 4.2).
    """

    first: int
    second: int
    width: int
    bias: bool = True
    frozen: tuple[str, ...] = ()

    inputs = 2
    summary = "y_k = u^T W_k v + b_k"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"weight": Spec((self.width, self.first, self.second), (self.first * self.second) ** -0.5)}
        return own | ({"bias": Spec((self.width,), 0.1)} if self.bias else {})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        for s, n in zip(signals, (self.first, self.second), strict=True):
            self.expect(s, n)
        if signals[0].space != signals[1].space or any(s.channels_first and s.space for s in signals):
            raise ShapeError(f"{self} reads " + " and ".join(map(str, signals)) + "; their positions must agree")
        return (dataclasses.replace(signals[0].with_features(self.width), channels_first=False),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return BilinearRule(names["weight"], (self.width, self.first, self.second), names.get("bias"))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = torch.einsum("...i,kij,...j->...k", x[0], p["weight"], x[1])
        return y + p["bias"] if self.bias else y

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, first=signals[0].features, second=signals[1].features, width=width)

    def laws(self) -> list[str]:
        names = {n: n for n in self.parameters}
        return [self.rule(names, (), ()).statement]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or (signal.channels_first and signal.space):
            return ()
        branches = tuple((n, Linear(signal.features, 2, bias)) for n, bias in (("u", False), ("v", True)))
        return [Parallel(branches, cls(2, 2, 2, bias)) for bias in (False, True)]


@dataclass(frozen=True, eq=False, repr=False)
class CosineSimilarity(Block):
    """`exp(scale) <u, v> / (||u|| ||v||)` of two inputs: one feature (the logit of a pair in CLIP).

    Args:
        scaled: whether there is the learned `scale`, a parameter of shape `(1,)`.
        frozen: local names of parameters that training does not move.

    Law: the sum of squares of all writers of each input, `||U||^2` (Kunin et al. 2021, theorem 1, scale symmetry).
    """

    scaled: bool = True
    frozen: tuple[str, ...] = ()

    inputs = 2
    summary = "exp(s) <u, v> / (|u| |v|)"
    source = "kunin2021, theorem 1"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"scale": Spec((1,), 0.1, 1.0)} if self.scaled else {}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        u, v = signals
        if (u.features, u.space, u.channels_first) != (v.features, v.space, v.channels_first):
            raise ShapeError(f"{self} compares {u} with {v}; make the two equally wide")
        return (u.with_features(1),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return SimilarityRule(self.scaled)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        u, v = x
        lengths = torch.sqrt((u * u).sum(run.axis, keepdim=True) * (v * v).sum(run.axis, keepdim=True))
        y = (u * v).sum(run.axis, keepdim=True) / lengths
        return torch.exp(p["scale"]) * y if self.scaled else y

    def width_minimum(self, port: int) -> int:
        return 1 if port < 0 else 3  # the direction of a vector of two features is an angle

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(1, {0: Fraction(1)}), WidthRelation(-1, {}, 1)]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or signal.features < 2 or (signal.channels_first and signal.space):
            return ()
        branches = tuple((n, Linear(signal.features, 3, False)) for n in "uv")
        return [chain(pair=Parallel(branches, cls(False)), out=Linear(1, 2))]
