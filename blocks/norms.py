"""Cores of normalisations, in primitive operations (nested derivatives through the fused kernels are wrong)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.rules import BatchNormRule, NormRule, Rule

from .base import Block, Net, Series, ShapeError, Signal
from .linear import Affine
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class _Norm(Block):
    """A normalisation without gain and shift."""

    features: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon >= 0:
            raise ShapeError(f"{self}: epsilon must not be negative")

    def input_signal(self) -> Signal:
        return Signal(self.features)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        return (signals[0],)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features)

    def width_minimum(self, port: int) -> int:
        return 3  # a norm over two features is a sign


@dataclass(frozen=True, eq=False, repr=False)
class LayerNormCore(_Norm):
    """`(x - mean) / sqrt(var + epsilon)` over the features of each position."""

    summary = "features to mean 0, variance 1"
    source = "kunin2021, theorem 1; tran2026, section 4"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=True, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0] - x[0].mean(run.axis, keepdim=True)
        return y / torch.sqrt((y * y).mean(run.axis, keepdim=True) + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNormCore(_Norm):
    """`x / sqrt(mean(x^2) + epsilon)` over the features of each position."""

    summary = "features to mean square 1"
    source = "kunin2021, theorem 1; tran2026, section 4"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=False, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] / torch.sqrt((x[0] * x[0]).mean(run.axis, keepdim=True) + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class GroupNormCore(Block):
    """LayerNorm over groups of channels and all positions of an example."""

    features: int
    groups: int
    epsilon: float = 1e-5

    summary = "groups of channels to mean 0, variance 1"
    source = "kunin2021, theorem 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups < 1 or self.features % self.groups:
            raise ShapeError(f"{self}: {self.groups} groups must divide {self.features} channels")

    def input_signal(self) -> Signal:
        return Signal(self.features, (4, 4), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=True, groups=self.groups, local=inputs[0].positions == 1, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, 1)
        z = y.reshape(y.shape[0], self.groups, -1)
        z = z - z.mean(-1, keepdim=True)
        z = z / torch.sqrt((z * z).mean(-1, keepdim=True) + self.epsilon)
        return z.reshape(y.shape).movedim(1, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        n = signals[0].features
        return dataclasses.replace(self, features=n, groups=2 if self.groups > 1 and n % 2 == 0 else self.groups)

    def width_multiple(self, port: int) -> int:
        return 3 * min(self.groups, 2)  # a norm over two features is a sign


@dataclass(frozen=True, eq=False, repr=False)
class BatchNormCore(_Norm):
    """Every channel to mean 0, variance 1 over the batch and all positions; running statistics in evaluation."""

    momentum: float = 0.1

    summary = "channels to mean 0, variance 1 over the batch"
    source = "kunin2021, theorem 1; marcotte2025, section 5"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return BatchNormRule(epsilon=self.epsilon)

    def width_minimum(self, port: int) -> int:
        return 2  # it normalises over the batch, not over its features

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        axes = tuple(range(y.ndim - 1))
        if run.training or run.state is None:
            mean = y.mean(axes)
            centred = y - mean
            var = (centred * centred).mean(axes)
            self._remember(run, mean, var, y.numel() // y.shape[-1])
        else:
            mean, var = run.state[f"{run.name}.running_mean"], run.state[f"{run.name}.running_var"]
            centred = y - mean
        return (centred / torch.sqrt(var + self.epsilon)).movedim(-1, run.axis)

    def _remember(self, run: Run, mean: torch.Tensor, var: torch.Tensor, n: int) -> None:
        if run.state is None or not run.training:
            return
        with torch.no_grad():
            for key, now in (("running_mean", mean), ("running_var", var * (n / max(n - 1, 1)))):
                run.state[f"{run.name}.{key}"].lerp_(now.detach(), self.momentum)


def _with_affine(core: Block, features: int, gain: bool, shift: bool) -> Net:
    if not gain and not shift:
        return core
    return Series((("core", core), ("affine", Affine(features, gain, shift))))


def LayerNorm(features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5) -> Net:
    """LayerNorm with gain and shift."""
    return _with_affine(LayerNormCore(features, epsilon), features, gain, shift)


def RMSNorm(features: int, gain: bool = True, epsilon: float = 1e-6) -> Net:
    """RMSNorm with a gain."""
    return _with_affine(RMSNormCore(features, epsilon), features, gain, False)


def GroupNorm(groups: int, features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5) -> Net:
    """GroupNorm with gain and shift per channel."""
    return _with_affine(GroupNormCore(features, groups, epsilon), features, gain, shift)


def BatchNorm(features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5) -> Net:
    """BatchNorm in training mode with gain and shift, over any number of space axes."""
    return _with_affine(BatchNormCore(features, epsilon), features, gain, shift)
