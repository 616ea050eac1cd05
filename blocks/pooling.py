"""Pooling over windows of an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import HomogeneousRule, PassRule, Rule

from .base import Block, Net, ShapeError, Signal, small_window
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class _ImageBlock(Block):
    """A block that reads windows of an image with channels first."""

    source = "marcotte2025, section 3"
    _rank = 2

    def expect_image(self, s: Signal) -> None:
        s.expect_image(self, self._rank)

    def _pooled(self, s: Signal, kernel: int, stride: int, padding: int) -> Signal:
        self.expect_image(s)
        if 2 * padding > kernel:
            raise ShapeError(f"{self}: the padding must be at most half of the kernel")
        space = tuple((n + 2 * padding - kernel) // stride + 1 for n in s.space)
        if min(space) < 1:
            raise ShapeError(f"{self} has windows of {kernel} but gets {s}; use a larger input")
        return dataclasses.replace(s, space=space)

    def input_signal(self) -> Signal:
        return Signal(4, (16,) * self._rank, channels_first=True)

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        """Blocks of this kind that keep the size of an image."""
        return ()

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Nets that keep the size of an image."""
        fits = signal.channels_first and len(signal.space) == cls._rank and not signal.tokens
        return cls._samples() if fits and min(signal.space) >= 3 else ()


@dataclass(frozen=True, eq=False, repr=False)
class _AveragePool(_ImageBlock):
    """Mean over windows.

    Args:
        kernel: length of a window on every axis.
        stride: how far windows lie apart, 0 for `kernel`.
        padding: zeros on every side.
        count_padding: whether these count in the mean; if not, a constant image stays constant.
    """

    kernel: int = 2
    stride: int = 0
    padding: int = 0
    count_padding: bool = True

    summary = "mean over windows"
    least = MappingProxyType({"stride": 0, "padding": 0})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (self._pooled(signals[0], self.kernel, self.stride or self.kernel, self.padding),)

    def shrunk(self) -> Block:
        """Windows of two that touch, or of at most three that overlap."""
        kernel, stride, padding = small_window(self.kernel, self.stride or self.kernel, self.padding)
        return dataclasses.replace(self, kernel=kernel, stride=0 if stride == kernel else stride, padding=padding)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        keeps = not self.padding or not self.count_padding
        return PassRule(weights="uniform", keeps_constants=keeps, mixes=self.kernel > 1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[self._rank - 1]
        return pool(x[0], self.kernel, self.stride or self.kernel, self.padding, False, self.count_padding)

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (cls(3, 1, 1), cls(3, 1, 1, False))


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool1d(_AveragePool):
    """Mean over windows of `(batch, channels, length)`; fields `kernel`, `stride`, `padding`, `count_padding`."""

    _rank = 1


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool2d(_AveragePool):
    """Mean over windows of `(batch, channels, height, width)`, by default of touching windows without padding."""


@dataclass(frozen=True, eq=False, repr=False)
class AveragePool3d(_AveragePool):
    """Mean over windows of `(batch, channels, depth, height, width)`."""

    _rank = 3


@dataclass(frozen=True, eq=False, repr=False)
class _MaxPool(_ImageBlock):
    """Maximum over windows; padding never wins."""

    kernel: int = 2
    stride: int = 2
    padding: int = 0

    summary = "maximum over windows"
    least = MappingProxyType({"padding": 0})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (self._pooled(signals[0], self.kernel, self.stride, self.padding),)

    def shrunk(self) -> Block:
        """Windows of at most three that move by one, so that small images survive."""
        kernel, _, padding = small_window(self.kernel, 1, self.padding)
        return dataclasses.replace(self, kernel=kernel, stride=1, padding=padding)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HomogeneousRule(shifts=True, mixes=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        space = [(n + 2 * self.padding - self.kernel) // self.stride + 1 for n in x[0].shape[2:]]
        options = self.kernel**self._rank
        like = x[0].new_empty((*x[0].shape[:2], *space))
        gate = run.gate(like, options, lambda: self._windows(x[0], space).argmax(-1))
        if gate is None:
            pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self._rank - 1]
            return pool(x[0], self.kernel, self.stride, self.padding)
        windows = self._windows(x[0], space)
        picked = gate.unsqueeze(-1) == torch.arange(options, device=gate.device)
        return (windows * picked.to(windows.dtype)).sum(-1)

    def _windows(self, x: torch.Tensor, space: Sequence[int]) -> torch.Tensor:
        """Every window with its entries as the last axis; an entry of the padding is its nearest neighbour inside."""
        for i, n in enumerate(space):
            axis = 2 + i
            start = torch.arange(n, device=x.device)[:, None] * self.stride - self.padding
            places = (start + torch.arange(self.kernel, device=x.device)).clamp(0, x.shape[axis] - 1)
            x = x.index_select(axis, places.flatten()).unflatten(axis, (n, self.kernel)).movedim(axis + 1, -1)
        return x.flatten(2 + self._rank)

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (cls(3, 1, 1),)


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool1d(_MaxPool):
    """Maximum over windows of `(batch, channels, length)`; fields `kernel`, `stride`, `padding`."""

    _rank = 1


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool2d(_MaxPool):
    """Maximum over windows of `(batch, channels, height, width)`."""


@dataclass(frozen=True, eq=False, repr=False)
class MaxPool3d(_MaxPool):
    """Maximum over windows of `(batch, channels, depth, height, width)`."""

    _rank = 3
