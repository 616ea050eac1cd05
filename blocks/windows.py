"""Grids of patches with features last, and what a hierarchical vision transformer does with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.gauge.rules import FlattenRule, PassRule, Rule

from .base import Block, Net, Series, ShapeError, Signal, WidthRelation, chain
from .conv import Conv2d
from .linear import Linear
from .norms import LayerNorm
from .pointwise import ReLU
from .resample import PixelShuffle
from .run import Run
from .spectators import ToTokens, expect_tokens, sides


@dataclass(frozen=True, eq=False, repr=False)
class _Move(Block):
    """A block that only moves positions."""

    source = "marcotte2025, section 3"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(weights="uniform")

    def _expect_grid(self, s: Signal) -> tuple[int, int]:
        if s.tokens or s.channels_first or len(s.space) != 2:
            raise ShapeError(f"{self} reads a grid (height, width, features) but gets {s}")
        return s.space[0], s.space[1]

    def input_signal(self) -> Signal:
        return Signal(4, (8, 8))


@dataclass(frozen=True, eq=False, repr=False)
class ChannelsLast(_Move):
    """An image `(batch, channels, height, width)` as a grid `(batch, height, width, channels)`; any number of axes."""

    summary = "channels last"

    def input_signal(self) -> Signal:
        return Signal(4, (8, 8), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if not s.channels_first or not s.space:
            raise ShapeError(f"{self} reads channels first but gets {s}")
        return (dataclasses.replace(s, channels_first=False),)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].movedim(1, -1)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """There and back, with an activation between."""
        return (Series.of(cls(), ReLU(0.3), ChannelsFirst()),) if signal.channels_first and signal.space else ()


@dataclass(frozen=True, eq=False, repr=False)
class ChannelsFirst(_Move):
    """A grid `(batch, height, width, channels)` as an image `(batch, channels, height, width)`; any number of axes."""

    summary = "channels first"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.channels_first or not s.space:
            raise ShapeError(f"{self} reads features last with positions but gets {s}")
        return (dataclasses.replace(s, channels_first=True),)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].movedim(-1, 1)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """There and back, with an activation between."""
        if signal.tokens or signal.channels_first or not signal.space:
            return ()
        return (Series.of(cls(), ReLU(0.3), ChannelsLast()),)


@dataclass(frozen=True, eq=False, repr=False)
class ToGrid(_Move):
    """Tokens `(batch, height * width, features)` as a grid `(batch, height, width, features)`."""

    height: int
    width: int

    summary = "tokens as a grid"

    def input_signal(self) -> Signal:
        return Signal(4, (self.height * self.width,))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        expect_tokens(self, signals[0], self.height * self.width)
        return (dataclasses.replace(signals[0], space=(self.height, self.width)),)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0].unflatten(1, (self.height, self.width))

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        height, across = sides(signals[0].positions, self.height, self.width)
        return dataclasses.replace(self, height=height, width=across)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """To a grid and back, with an activation between."""
        if signal.tokens or signal.channels_first or len(signal.space) != 1:
            return ()
        return (Series.of(cls(*sides(signal.space[0], 1, 1)), ReLU(0.3), ToTokens()),)


@dataclass(frozen=True, eq=False, repr=False)
class CyclicShift(_Move):
    """Rolls a grid by `-shift` along height and width: `torch.roll(x, (-shift, -shift), (1, 2))`."""

    shift: int = 1

    summary = "grid rolled around"
    least = MappingProxyType({"shift": -(2**20)})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self._expect_grid(signals[0])
        return (signals[0],)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return torch.roll(x[0], (-self.shift, -self.shift), (1, 2))

    def shrunk(self) -> Block:
        """A shift by one."""
        return dataclasses.replace(self, shift=max(-1, min(self.shift, 1)))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The shift by itself."""
        return () if signal.tokens or signal.channels_first or len(signal.space) != 2 else (cls(1),)


@dataclass(frozen=True, eq=False, repr=False)
class WindowPartition(_Move):
    """A grid `(batch, height, width, features)` as `(batch, windows, window * window, features)`, row by row."""

    window: int

    summary = "grid cut into windows"

    def input_signal(self) -> Signal:
        return Signal(4, (2 * self.window, 2 * self.window))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        height, width = self._expect_grid(signals[0])
        if height % self.window or width % self.window:
            raise ShapeError(f"{self} cuts height and width into windows of {self.window} but gets {signals[0]}")
        windows = (height // self.window) * (width // self.window)
        return (dataclasses.replace(signals[0], space=(windows, self.window**2)),)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        m = self.window
        y = x[0].unflatten(2, (-1, m)).unflatten(1, (-1, m))  # batch, rows, m, columns, m, features
        return y.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def shrunk(self) -> Block:
        """Windows of two by two."""
        return dataclasses.replace(self, window=min(self.window, 2))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Into windows and back, with an activation between."""
        if signal.tokens or signal.channels_first or len(signal.space) != 2 or any(n % 2 for n in signal.space):
            return ()
        return (Series.of(cls(2), ReLU(0.3), WindowReverse(*signal.space)),)


@dataclass(frozen=True, eq=False, repr=False)
class WindowReverse(_Move):
    """Windows `(batch, windows, window * window, features)` as the grid `(batch, height, width, features)`."""

    height: int
    width: int

    summary = "windows put together"

    def input_signal(self) -> Signal:
        return Signal(4, (1, self.height * self.width))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.channels_first or len(s.space) != 2 or s.positions != self.height * self.width:
            raise ShapeError(f"{self} reads windows of {self.height * self.width} positions in all but gets {s}")
        side = self._side(s.space[1])
        if side**2 != s.space[1] and s.space[0] > 1:
            raise ShapeError(f"{self} reads square windows that fit its grid but gets {s}")
        return (dataclasses.replace(s, space=(self.height, self.width)),)

    def _side(self, area: int) -> int:
        """Side of a window, 0 if it is no square that fits."""
        side = round(area**0.5)
        return side if side**2 == area and not self.height % side and not self.width % side else 0

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if x[0].shape[1] == 1:
            return x[0].squeeze(1).unflatten(1, (self.height, self.width))
        m = self._side(x[0].shape[2])
        y = x[0].unflatten(2, (m, m)).unflatten(1, (self.height // m, self.width // m))
        return y.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        height, across = sides(signals[0].positions, self.height, self.width)
        return dataclasses.replace(self, height=height, width=across)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Out of windows, with an activation before."""
        if signal.tokens or signal.channels_first or len(signal.space) != 2 or any(n % 2 for n in signal.space):
            return ()
        return (Series.of(WindowPartition(2), ReLU(), cls(*signal.space)),)


@dataclass(frozen=True, eq=False, repr=False)
class MergeNeighbours(Block):
    """Two by two neighbours of a grid side by side: `(batch, h, w, c)` to `(batch, h/2, w/2, 4 c)`, in Swin's order.

    The order is top left, bottom left, top right, bottom right, each with all its features.
    """

    summary = "four neighbours as features of one"
    source = "marcotte2025, theorem 3.6"

    def input_signal(self) -> Signal:
        return Signal(4, (8, 8))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.channels_first or len(s.space) != 2 or any(n % 2 for n in s.space):
            raise ShapeError(f"{self} reads a grid of even height and width with features last but gets {s}")
        return (Signal(4 * s.features, (s.space[0] // 2, s.space[1] // 2)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return FlattenRule(before=4)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        corners = [x[0][:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return torch.cat(corners, -1)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(4)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Neighbours side by side, a map, and pixels again."""
        if signal.tokens or signal.channels_first or len(signal.space) != 2 or any(n % 2 for n in signal.space):
            return ()
        back = Series.of(ChannelsFirst(), PixelShuffle(2), ChannelsLast())
        return (Series.of(cls(), Linear(4 * signal.features, 8), back),)


def PatchMerging(features: int, width: int = 0, epsilon: float = 1e-5) -> Net:
    """Four neighbours as one of twice the width, as in Swin transformers (Liu et al. 2021).

    Args:
        features: width of the grid.
        width: of the result, by default `2 * features`.
        epsilon: of the LayerNorm.
    """
    return chain(
        merge=MergeNeighbours(),
        norm=LayerNorm(4 * features, epsilon=epsilon),
        reduction=Linear(4 * features, width or 2 * features, False),
    )


def PatchEmbedding(channels: int, width: int, patch: int, bias: bool = True) -> Net:
    """An image cut into patches, each mapped to a token: a convolution whose kernel is its stride."""
    return chain(proj=Conv2d(channels, width, patch, patch, bias=bias), tokens=ToTokens())
