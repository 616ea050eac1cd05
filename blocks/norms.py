"""Cores of normalisations, in primitive operations (nested derivatives through the fused kernels are wrong)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import NormRule, Rule

from .base import Block, Net, Series, ShapeError, Signal
from .linear import Affine
from .pointwise import ReLU
from .run import Run

GUARD = 1e-6  # the largest epsilon of a clamp that only keeps a division by zero away


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

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The core without epsilon, alone and with gain and shift."""
        if signal.tokens or signal.features < 3:
            return ()
        core = cls(signal.features, 0.0)
        return (core, with_affine(core, signal.features, True, True))


def divide(
    x: torch.Tensor,
    axis: int | tuple[int, ...],
    epsilon: float,
    whole: torch.Tensor | None = None,
    beside: bool = False,
) -> torch.Tensor:
    """`x / sqrt(mean(x^2) + epsilon)` along axes; without epsilon, what is zero stays zero (a padding token).

    `whole` is x before its mean was removed: a difference at the size of its rounding is zero too.  With `beside`
    epsilon is added to the root, not under it.
    """
    square = (x * x).mean(axis, keepdim=True)
    if epsilon and beside:
        real = square > 0
        root = torch.sqrt(torch.where(real, square, torch.ones_like(square)))
        return x / (torch.where(real, root, torch.zeros_like(square)) + epsilon)
    if epsilon:
        return x / torch.sqrt(square + epsilon)
    rounding = 0.0 if whole is None else (whole * whole).mean(axis, keepdim=True) * (8 * torch.finfo(x.dtype).eps) ** 2
    real = square > rounding
    return torch.where(real, x, torch.zeros_like(x)) / torch.sqrt(torch.where(real, square, torch.ones_like(square)))


@dataclass(frozen=True, eq=False, repr=False)
class LayerNormCore(_Norm):
    """`(x - mean) / sqrt(var + epsilon)` over the features of each position.

    With `beside` it is `(x - mean) / (sqrt(var) + epsilon)`.
    """

    beside: bool = False

    summary = "features to mean 0, variance 1"
    source = "kunin2021, theorem 1; tran2026, section 4"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=True, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0] - x[0].mean(run.axis, keepdim=True)
        return divide(y, run.axis, self.epsilon, x[0], self.beside)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNormCore(_Norm):
    """`x / sqrt(mean(x^2) + epsilon)` over the features of each position.

    With `beside` it is `x / (sqrt(mean(x^2)) + epsilon)`.
    """

    beside: bool = False

    summary = "features to mean square 1"
    source = "kunin2021, theorem 1; tran2026, section 4"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=False, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return divide(x[0], run.axis, self.epsilon, beside=self.beside)


@dataclass(frozen=True, eq=False, repr=False)
class L2Norm(_Norm):
    """`x / max(||x||, epsilon)` over the features of each position (`torch.nn.functional.normalize`).

    The law of RMSNorm's core: unless `||x||` falls below epsilon the result does not change with the scale.  It is
    exact where epsilon only guards against a division by zero (1e-6 and less), and up to epsilon where it is larger.
    """

    epsilon: float = 1e-12

    summary = "features to norm 1"
    source = "kunin2021, theorem 1"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=False, epsilon=self.epsilon if self.epsilon > GUARD else 0.0)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        square = (x[0] * x[0]).sum(run.axis, keepdim=True)
        floor = self.epsilon * self.epsilon or 1.0
        return x[0] / torch.sqrt(torch.where(square > self.epsilon * self.epsilon, square, square.new_tensor(floor)))


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
        z = divide(z - z.mean(-1, keepdim=True), -1, self.epsilon, z)
        return z.reshape(y.shape).movedim(1, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        n = signals[0].features
        return dataclasses.replace(self, features=n, groups=2 if self.groups > 1 and n % 2 == 0 else self.groups)

    def width_multiple(self, port: int) -> int:
        return 3 * min(self.groups, 2)  # a norm over two features is a sign

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """One group and two, without epsilon; a gain follows, since the mean of a core over space is zero."""
        n = signal.features
        if signal.tokens:
            return ()
        few = [g for g in (1, 2) if n % g == 0 and n // g * min(signal.positions, 2) >= 3]
        return tuple(with_affine(cls(n, g, 0.0), n, True, True) for g in few)


@dataclass(frozen=True, eq=False, repr=False)
class InstanceNormCore(_Norm):
    """Every channel of every example to mean 0, variance 1 over its positions.

    Args:
        features: number of channels.
        epsilon: added to the variance.
        centre: whether the mean is removed; without, the mean square becomes 1, as of the queries and keys of XCiT.
    """

    centre: bool = True

    summary = "channels to mean 0, variance 1 over the positions"
    source = "kunin2021, theorem 1"

    def input_signal(self) -> Signal:
        return Signal(self.features, (4, 4), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].positions < 2:
            raise ShapeError(f"{self} needs two or more positions but gets {signals[0]}; use a larger input")
        return super().output(*signals)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=self.centre, groups=self.features, local=False, epsilon=self.epsilon)

    def width_minimum(self, port: int) -> int:
        return 2  # it normalises over positions, not over its features

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, 1)
        z = y.flatten(2)
        centred = z - z.mean(-1, keepdim=True) if self.centre else z
        z = divide(centred, -1, self.epsilon, z if self.centre else None)
        return z.reshape(y.shape).movedim(1, run.axis)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The core without epsilon before an activation, since its mean over the positions is zero."""
        if signal.tokens or signal.positions < 3:
            return ()
        n = signal.features
        return (Series.of(cls(n, 0.0), ReLU(0.3)), Series.of(with_affine(cls(n, 0.0), n, True, True), ReLU()))


def with_affine(core: Block, features: int, gain: bool, shift: bool) -> Net:
    """A core with a gain and a shift behind it."""
    if not gain and not shift:
        return core
    return Series((("core", core), ("affine", Affine(features, gain, shift))))


def LayerNorm(features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5) -> Net:
    """LayerNorm with gain and shift."""
    return with_affine(LayerNormCore(features, epsilon), features, gain, shift)


def RMSNorm(features: int, gain: bool = True, epsilon: float = 1e-6) -> Net:
    """RMSNorm with a gain."""
    return with_affine(RMSNormCore(features, epsilon), features, gain, False)


def GroupNorm(groups: int, features: int, gain: bool = True, shift: bool = True, epsilon: float = 1e-5) -> Net:
    """GroupNorm with gain and shift per channel."""
    return with_affine(GroupNormCore(features, groups, epsilon), features, gain, shift)


def InstanceNorm(features: int, gain: bool = False, shift: bool = False, epsilon: float = 1e-5) -> Net:
    """InstanceNorm, by default without gain and shift, over any number of space axes."""
    return with_affine(InstanceNormCore(features, epsilon), features, gain, shift)
