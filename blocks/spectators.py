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

from lawful.theory.gauge.rules import FlattenRule, HomogeneousRule, PassRule, Rule

from .base import Block, Net, Parallel, Series, ShapeError, Signal, WidthRelation
from .joins import Add, Product
from .pointwise import Identity, Pointwise, ReLU
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

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A gate per feature from the means, and the means added to every position."""
        if signal.tokens or not signal.space:
            return ()
        gate = Parallel((("stream", Identity()), ("gate", Series.of(cls(), Pointwise("sigmoid")))), Product())
        return (gate, Parallel((("stream", Identity()), ("mean", cls())), Add()))


@dataclass(frozen=True, eq=False, repr=False)
class SelectToken(Block):
    """One token of a sequence (the class token: index 0)."""

    index: int = 0

    selects = True
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

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """One token as a gate of all of them."""
        if signal.tokens or signal.channels_first or len(signal.space) != 1:
            return ()
        return (Parallel((("stream", Identity()), ("gate", Series.of(cls(), Pointwise("tanh")))), Product()),)


@dataclass(frozen=True, eq=False, repr=False)
class GlobalMaxPool(Block):
    """The largest value over all positions, feature by feature."""

    summary = "maximum over positions"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens:
            raise ShapeError(f"{self} reads numbers but gets {signals[0]}; put an Embedding before it")
        return (Signal(signals[0].features),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HomogeneousRule(shifts=True, mixes=inputs[0].positions > 1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        if y.ndim == 2:
            return y
        y = y.flatten(1, -2)
        gate = run.gate(y[:, 0], y.shape[1], lambda: y.argmax(1))
        if gate is None:
            return y.amax(1)
        picked = gate.unsqueeze(1) == torch.arange(y.shape[1], device=y.device)[:, None]
        return (y * picked.to(y.dtype)).sum(1)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A gate per feature from the largest values."""
        if signal.tokens or not signal.space:
            return ()
        return (Parallel((("stream", Identity()), ("gate", Series.of(cls(), Pointwise("sigmoid")))), Product()),)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(Block):
    """All positions and features as one feature axis, in memory order."""

    summary = "positions and features as one axis"
    source = "marcotte2025, theorem 3.6"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (Signal(math.prod(signals[0].shape)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        n = inputs[0].positions
        if n == 1:
            return PassRule()
        return FlattenRule(after=n) if inputs[0].channels_first else FlattenRule(before=n)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].flatten(1)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(signals[0].positions)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The block by itself where there are no positions to keep."""
        return () if signal.tokens or signal.space else (cls(),)


@dataclass(frozen=True, eq=False, repr=False)
class ToTokens(Block):
    """An image or a grid as tokens.

    `(batch, channels, height, width)` or `(batch, height, width, channels)` to `(batch, height * width, channels)`.
    """

    summary = "pixels as tokens"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens or not signals[0].space:
            raise ShapeError(f"{self} reads an image or a grid but gets {signals[0]}")
        return (Signal(signals[0].features, (signals[0].positions,)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights="uniform")

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].movedim(run.axis, -1).flatten(1, -2)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """To tokens and back, with an activation between."""
        if signal.tokens or not signal.channels_first or len(signal.space) != 2:
            return ()
        return (Series.of(cls(), ReLU(0.3), ToImage(*signal.space)),)


@dataclass(frozen=True, eq=False, repr=False)
class ToImage(Block):
    """Tokens `(batch, height * width, channels)` as an image `(batch, channels, height, width)`."""

    height: int
    width: int

    summary = "tokens as pixels"
    source = "marcotte2025, section 3"

    def input_signal(self) -> Signal:
        return Signal(4, (self.height * self.width,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        expect_tokens(self, signals[0], self.height * self.width)
        return (Signal(signals[0].features, (self.height, self.width), channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights="uniform")

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].transpose(1, 2).unflatten(2, (self.height, self.width))

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        height, across = sides(signals[0].positions, self.height, self.width)
        return dataclasses.replace(self, height=height, width=across)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """To an image and back, with an activation between."""
        if signal.tokens or signal.channels_first or len(signal.space) != 1:
            return ()
        return (Series.of(cls(*sides(signal.space[0], 1, 1)), ReLU(0.3), ToTokens()),)


def expect_tokens(block: Block, s: Signal, tokens: int) -> None:
    """Checks that a signal is a sequence of so many tokens with features last.

    Raises:
        ShapeError: with both numbers.
    """
    if s.tokens or s.channels_first or s.space != (tokens,):
        raise ShapeError(f"{block} reads {tokens} tokens with features last but gets {s}; change one of the two")


def sides(positions: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of so many positions, with the proportions of `height x width` if possible."""
    for h in range(1, positions + 1):
        if positions % h == 0 and h * width == positions // h * height:
            return h, positions // h
    h = max(k for k in range(1, math.isqrt(positions) + 1) if positions % k == 0)
    return h, positions // h
