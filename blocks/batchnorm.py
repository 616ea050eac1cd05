"""BatchNorm in training and in evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import BatchNormRule, FrozenNormRule, Rule

from .base import Net, Series, Signal, Spec
from .norms import _Norm, divide, with_affine
from .pointwise import Pointwise, ReLU
from .run import Run


def _statistics(features: int) -> dict[str, Spec]:
    return {"running_mean": Spec((features,)), "running_var": Spec((features,), mean=1.0)}


@dataclass(frozen=True, eq=False, repr=False)
class BatchNormCore(_Norm):
    """Every channel to mean 0, variance 1 over the batch and all positions; running statistics in evaluation."""

    momentum: float = 0.1

    over_batch = True
    summary = "channels to mean 0, variance 1 over the batch"
    source = "kunin2021, theorem 1; marcotte2025, section 5"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return BatchNormRule(epsilon=self.epsilon)

    @property
    def buffers(self) -> dict[str, Spec]:
        """Mean and variance of every channel."""
        return _statistics(self.features)

    def width_minimum(self, port: int) -> int:
        return 2  # it normalises over the batch, not over its features

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The core without epsilon, alone and with gain and shift."""
        if signal.tokens:
            return ()
        core = cls(signal.features, 0.0)
        return (core, with_affine(core, signal.features, True, True))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        axes = tuple(range(y.ndim - 1))
        if run.training or run.state is None or f"{run.name}.running_mean" not in run.state:
            mean = y.mean(axes)
            self._remember(run, y, mean)
            z = divide(y - mean, axes, self.epsilon, y)
        else:
            mean, var = run.state[f"{run.name}.running_mean"], run.state[f"{run.name}.running_var"]
            z = (y - mean) / torch.sqrt(var + self.epsilon)
        return z.movedim(-1, run.axis)

    def _remember(self, run: Run, y: torch.Tensor, mean: torch.Tensor) -> None:
        if run.state is None or not run.training:
            return
        with torch.no_grad():
            n = y.numel() // y.shape[-1]
            var = ((y - mean) ** 2).mean(tuple(range(y.ndim - 1)))
            for key, now in (("running_mean", mean), ("running_var", var * (n / max(n - 1, 1)))):
                run.state[f"{run.name}.{key}"].lerp_(now.detach(), self.momentum)


@dataclass(frozen=True, eq=False, repr=False)
class FrozenBatchNorm(_Norm):
    """BatchNorm in evaluation: `(x - mean) / sqrt(var + epsilon)` with statistics that no longer change.

    The statistics are buffers of the module; without one (the oracle) they are fixed numbers of no special value.
    """

    summary = "channels by fixed mean and variance"
    source = "kunin2021, theorem 1, without the symmetry that fixed statistics break"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return FrozenNormRule()

    @property
    def buffers(self) -> dict[str, Spec]:
        """Mean and variance of every channel."""
        return _statistics(self.features)

    def width_minimum(self, port: int) -> int:
        return 2  # it reads every feature by itself

    def statistics(self, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of every channel."""
        if run.state is not None and f"{run.name}.running_mean" in run.state:
            return run.state[f"{run.name}.running_mean"], run.state[f"{run.name}.running_var"]
        index = torch.arange(1, self.features + 1, dtype=torch.float64)
        return torch.sin(2.4 * index), 1.2 + torch.cos(1.7 * index) / 2

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        mean, var = (s.to(y) for s in self.statistics(run))
        return ((y - mean) / torch.sqrt(var + self.epsilon)).movedim(-1, run.axis)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The core between an activation and a gain, where no trained bias can answer for its mean."""
        if signal.tokens:
            return ()
        n = signal.features
        return (Series.of(Pointwise("tanh"), cls(n), ReLU()),)


def BatchNorm(
    features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5, frozen_statistics: bool = False
) -> Net:
    """BatchNorm with gain and shift, over any number of space axes.

    Args:
        features: channels.
        gain: whether there is a gain.
        shift: whether there is a shift.
        epsilon: the constant under the root.
        frozen_statistics: False for training mode; True for a network that is trained on with fixed running statistics.
    """
    core = FrozenBatchNorm(features, epsilon) if frozen_statistics else BatchNormCore(features, epsilon)
    return with_affine(core, features, gain, shift)
