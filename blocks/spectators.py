"""Blocks that act on positions and leave features alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.rules import FlattenRule, HomogeneousRule, PassRule, Rule

from .base import Block, ShapeError, Signal, WidthRelation, small_window
from .run import Run


def _space_axes(run: Run, x: torch.Tensor) -> tuple[int, ...]:
    """Axes of positions: all but the batch and the features."""
    return tuple(i for i in range(1, x.ndim) if i != run.axis % x.ndim)


@dataclass(frozen=True, eq=False, repr=False)
class GlobalAveragePool(Block):
    """The mean over all positions (pixels or tokens)."""

    summary = "mean over positions"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (Signal(signals[0].features),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights="mean", mixes=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        axes = _space_axes(run, x[0])
        return x[0].mean(axes) if axes else x[0]


@dataclass(frozen=True, eq=False, repr=False)
class SelectToken(Block):
    """One token of a sequence (the class token: index 0)."""

    index: int = 0

    summary = "one token"
    source = "marcotte2025, section 3"
    least = MappingProxyType({"index": -(2**40)})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if len(s.space) != 1 or s.channels_first or not -s.space[0] <= self.index < s.space[0]:
            raise ShapeError(f"{self} reads token {self.index} but gets {s}")
        return (Signal(s.features),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights=self.index % inputs[0].space[0])

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0][:, self.index]


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool2d(Block):
    """Mean over windows of `kernel x kernel`, stride `kernel`, no padding."""

    kernel: int = 2

    summary = "mean over windows"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (_pooled(self, signals[0], self.kernel, self.kernel, 0),)

    def shrunk(self) -> AveragePool2d:
        """Windows of two."""
        return dataclasses.replace(self, kernel=min(self.kernel, 2))

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(mixes=self.kernel > 1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return F.avg_pool2d(x[0], self.kernel)


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool2d(Block):
    """Maximum over windows."""

    kernel: int = 2
    stride: int = 2
    padding: int = 0

    summary = "maximum over windows"
    source = "marcotte2025, section 3"
    least = MappingProxyType({"padding": 0})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (_pooled(self, signals[0], self.kernel, self.stride, self.padding),)

    def shrunk(self) -> MaxPool2d:
        """Windows of at most three that move by one, so that small images survive."""
        kernel, _, padding = small_window(self.kernel, 1, self.padding)
        return dataclasses.replace(self, kernel=kernel, stride=1, padding=padding)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HomogeneousRule(shifts=True, mixes=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        gate = run.gate(x[0].new_empty(self._windows(x[0])), self.kernel**2)
        if gate is None:
            return F.max_pool2d(x[0], self.kernel, self.stride, self.padding)
        batch, channels = x[0].shape[:2]
        columns = F.unfold(x[0], self.kernel, padding=self.padding, stride=self.stride)
        columns = columns.reshape(batch, channels, self.kernel**2, *gate.shape[2:])
        picked = (gate.unsqueeze(2) == torch.arange(self.kernel**2).reshape(-1, 1, 1)).to(columns.dtype)
        return (columns * picked).sum(2)

    def _windows(self, x: torch.Tensor) -> tuple[int, ...]:
        space = ((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in x.shape[2:])
        return (*x.shape[:2], *space)


def _pooled(block: Block, s: Signal, kernel: int, stride: int, padding: int) -> Signal:
    if len(s.space) != 2 or not s.channels_first:
        raise ShapeError(f"{block} reads channels first with height and width but gets {s}")
    space = tuple((n + 2 * padding - kernel) // stride + 1 for n in s.space)
    if min(space) < 1:
        raise ShapeError(f"{block} has windows of {kernel} but gets {s}; use a larger input")
    return dataclasses.replace(s, space=space)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Block):
    """All positions and features as one feature axis, in memory order."""

    summary = "positions and features as one axis"
    source = "marcotte2025, theorem 3.6"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (Signal(math.prod(signals[0].shape)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        n = inputs[0].positions
        return FlattenRule(after=n) if inputs[0].channels_first else FlattenRule(before=n)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].flatten(1)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(signals[0].positions)})]


@dataclass(frozen=True, eq=False, repr=False)
class ToTokens(Block):
    """An image `(batch, channels, height, width)` as tokens `(batch, height * width, channels)`."""

    summary = "pixels as tokens"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if not signals[0].channels_first or not signals[0].space:
            raise ShapeError(f"{self} reads channels first but gets {signals[0]}")
        return (Signal(signals[0].features, (signals[0].positions,)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights="uniform")

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].flatten(2).transpose(1, 2)
