"""Weighted sums over positions with weights that are numbers or data: graphs, kernels, resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import Any

import torch

from lawful.theory.gauge.rules import DotRule, FixedMapRule, PositionMixRule, Rule, Runs, along_rule

from .base import Block, ShapeError, Signal
from .numbers import Numbers
from .run import Run

MOST_PARTS, MOST_RUNS = 160, 400  # of the features that a fixed matrix joins, before they are taken for one


@dataclass(frozen=True, eq=False, repr=False)
class MixPositions(Block):
    """`y = A x` over the positions of x, shape `(batch, positions, features)`, with a fixed matrix `A`.

    Args:
        weights: `A`, shape `(positions of y, positions of x)`.

    Law: that of a sum over positions, `S_out = S_in`; constants pass where all rows of `A` have one sum.
    """

    weights: Numbers

    portable = False
    summary = "fixed weighted sums over positions"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = tuple(self.weights.tensor.shape)
        if len(shape) != 2 or not all(shape) or not self.weights.tensor.is_floating_point():
            raise ShapeError(f"{self} mixes positions by numbers of the shape {shape}; give a matrix of real numbers")

    def input_signal(self) -> Signal:
        return Signal(4, (self.weights.tensor.shape[1],))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s, (out, length) = signals[0], self.weights.tensor.shape
        if s.space != (length,) or s.channels_first or s.tokens:
            raise ShapeError(f"{self} reads {length} positions with features last but gets {s}; change one of the two")
        return (Signal(s.features, (int(out),)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        rows = self.weights.tensor.sum(1)
        alike = rows.device.type != "meta" and bool((rows - rows[0]).abs().max() < 1e-9)
        return along_rule(None, Fraction(float(rows[0])).limit_denominator(10**6) if alike else None)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return self.weights.on(x[0]) @ x[0]


@dataclass(frozen=True, eq=False, repr=False)
class MixFeatures(Block):
    """`y = A x` over the features of x, shape `(batch, ..., features)`, with a fixed matrix `A`: bases, filter banks.

    Args:
        weights: `A`, shape `(features of y, features of x)`.

    Law: `S_out = S_in = c I` on every part of the features that the entries of `A` join (wire-balance theorem); laws
    that depend on the numbers of `A` are not listed.
    """

    weights: Numbers

    portable = False
    summary = "fixed sums of features"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = tuple(self.weights.tensor.shape)
        if len(shape) != 2 or not all(shape) or not self.weights.tensor.is_floating_point():
            raise ShapeError(f"{self} mixes features by numbers of the shape {shape}; give a matrix of real numbers")

    def input_signal(self) -> Signal:
        return Signal(self.weights.tensor.shape[1])

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s, (out, features) = signals[0], self.weights.tensor.shape
        if s.features != features or (s.channels_first and s.space) or s.tokens:
            raise ShapeError(f"{self} reads {features} features, last, but gets {s}; change one of the two")
        return (replace(s.with_features(int(out)), channels_first=False),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return FixedMapRule(_joined(self.weights.tensor))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] @ self.weights.on(x[0]).transpose(0, 1)


def _joined(matrix: torch.Tensor) -> tuple[Runs, Runs] | None:
    """The parts of features that the entries of a matrix join; None where they are one, many, or not known."""
    if matrix.device.type == "meta":
        return None
    joined = (matrix != 0).cpu()
    read, given = (torch.full((n,), -1) for n in reversed(matrix.shape))
    for count in range(MOST_PARTS):
        left = [bool((side < 0).any()) for side in (read, given)]
        if not any(left):
            found: tuple[Runs, Runs] = (_runs(read), _runs(given))
            return found if count > 1 and max(map(len, found)) <= MOST_RUNS else None
        of_read, of_given = torch.zeros(len(read), dtype=torch.bool), torch.zeros(len(given), dtype=torch.bool)
        start = int((read if left[0] else given).argmin())
        (of_read if left[0] else of_given)[start] = True
        before = -1
        while before < (now := int(of_read.sum() + of_given.sum())):
            before = now
            of_given |= joined[:, of_read].any(1)
            of_read |= joined[of_given].any(0)
        read[of_read] = given[of_given] = count
    return None


def _runs(parts: torch.Tensor) -> Runs:
    """Length and part of every run of features."""
    return tuple((len(list(run)), part) for part, run in groupby(parts.tolist()))


@dataclass(frozen=True, eq=False, repr=False)
class WeighPositions(Block):
    """`y = A x` over the positions of x with weights that are given for every example: ports `A` and `x`.

    Args:
        narrow: whether parameters have a part in `A`.

    Law: `S_out = S_in + c I` and `S_A = c I` (wire-balance theorem).
    """

    narrow: bool = False

    portable = False
    summary = "weighted sums over positions, the weights given"
    source = "wire-balance theorem (lawful)"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """The weights and what they mix."""
        return 2

    def output(self, *signals: Signal) -> Sequence[Signal]:
        a, x = signals
        if len(a.space) != 1 or x.space != (a.features,) or a.channels_first or x.channels_first:
            raise ShapeError(f"{self} reads weights and positions but gets {a} and {x}; change one of the two")
        return (Signal(x.features, a.space),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PositionMixRule(self.narrow)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] @ x[1]


@dataclass(frozen=True, eq=False, repr=False)
class InnerProducts(Block):
    """`y_nm = <u_n, v_m>` of every position of u with every position of v: the scores of one head of attention.

    Ports u, shape `(batch, ..., features)`, and v, shape `(batch, m, features)`; y has one feature at `(..., m)`.

    Law: `S_u + S_v = c I` and `S_out = c` (Marcotte et al. 2025, corollary 3.9, for scores that anything reads).
    """

    portable = False
    summary = "inner products of all positions of two inputs"
    source = "marcotte2025, corollary 3.9"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """The two whose products are taken."""
        return 2

    def output(self, *signals: Signal) -> Sequence[Signal]:
        u, v = signals
        first = any(s.channels_first and s.space for s in signals)
        if len(v.space) != 1 or u.features != v.features or first or u.tokens or v.tokens:
            raise ShapeError(f"{self} reads features at positions but gets {u} and {v}; change one of the two")
        return (Signal(1, (*u.space, *v.space)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return DotRule(mixes=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        u, v = (t.expand(max(map(len, x)), *t.shape[1:]) for t in x)  # a table is the same for every example
        return torch.einsum("b...d,bmd->b...m", u, v).unsqueeze(-1)
