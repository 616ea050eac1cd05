"""Channels that become pixels, and images made larger."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import FlattenRule, PassRule, Rule, UnflattenRule

from .base import Block, Net, Series, ShapeError, Signal, WidthRelation
from .pointwise import ReLU
from .pooling import AveragePool1d, AveragePool2d, AveragePool3d, _ImageBlock
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class _Shuffle(_ImageBlock):
    """Channels to positions or back."""

    scale: int = 2

    source = "theory of wires: S_in = S_out (x) I"

    def shrunk(self) -> Block:
        """Twice the size at most."""
        return dataclasses.replace(self, scale=min(self.scale, 2))

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return ()


@dataclass(frozen=True, eq=False, repr=False)
class PixelShuffle(_Shuffle):
    """`(batch, c r^2, height, width)` to `(batch, c, r height, r width)`: channels that lie together become pixels.

    Law: all channels that become one have one matrix, so their maps are summed up.
    """

    summary = "channels to pixels"

    def input_signal(self) -> Signal:
        return Signal(4 * self.scale**2, (4, 4), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s, r = signals[0], self.scale
        self.expect_image(s)
        if s.features % r**2:
            raise ShapeError(f"{self} reads a multiple of {r**2} channels but gets {s}; change one of the two")
        return (Signal(s.features // r**2, tuple(r * n for n in s.space), channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return UnflattenRule(self.scale**2)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        r = self.scale
        y = x[0].unflatten(1, (-1, r, r))  # batch, channels, r, r, height, width
        return y.permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)

    def width_multiple(self, port: int) -> int:
        return self.scale**2 if port >= 0 else 1

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(1, self.scale**2)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Channels to pixels, then the mean over each window."""
        fits = signal.channels_first and len(signal.space) == 2 and signal.features % 4 == 0 and signal.features > 4
        return (Series.of(cls(2), ReLU(0.3), AveragePool2d(2)),) if fits else ()


@dataclass(frozen=True, eq=False, repr=False)
class PixelUnshuffle(_Shuffle):
    """`(batch, c, r height, r width)` to `(batch, c r^2, height, width)`: the inverse of `PixelShuffle`."""

    summary = "pixels to channels"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s, r = signals[0], self.scale
        self.expect_image(s)
        if any(n % r for n in s.space):
            raise ShapeError(f"{self} reads height and width that {r} divides but gets {s}; use another input size")
        return (Signal(s.features * r**2, tuple(n // r for n in s.space), channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return FlattenRule(after=self.scale**2)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        r = self.scale
        y = x[0].unflatten(3, (-1, r)).unflatten(2, (-1, r))  # batch, channels, height, r, width, r
        return y.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(self.scale**2)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Pixels to channels and back, with an activation between."""
        fits = signal.channels_first and len(signal.space) == 2 and not any(n % 2 for n in signal.space)
        return (Series.of(cls(2), ReLU(0.3), PixelShuffle(2)),) if fits else ()


@dataclass(frozen=True, eq=False, repr=False)
class UpSample(Block):
    """Makes images larger by a whole factor; x is `(batch, channels, ...)` with any number of space axes.

    Args:
        scale: the factor.
        mode: `"nearest"` repeats pixels, `"linear"` interpolates along every axis (torch's linear, bilinear and
            trilinear with `align_corners=False`).
    """

    scale: int = 2
    mode: str = "nearest"

    summary = "images made larger"
    source = "marcotte2025, section 3"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("nearest", "linear"):
            raise ShapeError(f"no mode {self.mode!r}; there are nearest, linear")

    def input_signal(self) -> Signal:
        return Signal(4, (8, 8), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or not s.channels_first or not s.space:
            raise ShapeError(f"{self} reads channels first with space axes but gets {s}")
        return (dataclasses.replace(s, space=tuple(self.scale * n for n in s.space)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        larger = self.scale > 1
        return PassRule(weights="uniform", mixes=self.mode == "linear" and larger, repeats=larger)

    def shrunk(self) -> Block:
        """Twice the size at most."""
        return dataclasses.replace(self, scale=min(self.scale, 2))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0]
        for axis in range(2, y.ndim):
            if self.mode == "nearest":
                y = y.repeat_interleave(self.scale, axis)
            else:
                weights = self._weights(y.shape[axis]).to(y)
                y = (y.movedim(axis, -1) @ weights).movedim(-1, axis)
        return y

    def _weights(self, n: int) -> torch.Tensor:
        """Share of every old pixel in every new one, shape `(n, scale * n)`."""
        weights = torch.zeros(n, n * self.scale, dtype=torch.float64)
        for i in range(n * self.scale):
            place = max((i + 0.5) / self.scale - 0.5, 0.0)
            left = math.floor(place)
            weights[left, i] += 1 - (place - left)
            weights[min(left + 1, n - 1), i] += place - left
        return weights

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Larger and back by a mean over windows, with an activation between."""
        pool = {1: AveragePool1d, 2: AveragePool2d, 3: AveragePool3d}.get(len(signal.space))
        if pool is None or not signal.channels_first or signal.tokens:
            return ()
        return tuple(Series.of(cls(2, mode), ReLU(0.3), pool(2)) for mode in ("nearest", "linear"))
