"""Linear maps whose weight is divided by its size: weight normalisation, standardisation, spectral normalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import Rule, UnitNormRule, UnitRowsRule

from .base import Block, Net, ShapeError, Signal, Spec, chain, small_window
from .linear import Affine
from .run import Run

POWER_STEPS = 4  # of the power iteration for the largest singular value


@dataclass(frozen=True, eq=False, repr=False)
class UnitLinear(Block):
    """`y = U x` with rows `U_j = v_j / ||v_j||`; the direction of a weight-normalised map.

    Args:
        features: features of x, shape `(batch, ..., features)`.
        width: features of y.
        frozen: local names of parameters that training does not move.

    Law: `||v_j||^2` of every row (Salimans, Kingma 2016, section 2.1; Kunin et al. 2021, theorem 1, scale symmetry).
    """

    features: int
    width: int
    frozen: tuple[str, ...] = ()

    summary = "y_j = v_j x / ||v_j||"
    source = "kunin2021, theorem 1"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((self.width, self.features), self.features**-0.5)}

    def input_signal(self) -> Signal:
        return Signal(self.features)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        if signals[0].channels_first and signals[0].space:
            raise ShapeError(f"{self} reads features last but gets {signals[0]}; flatten or pool first")
        return (dataclasses.replace(signals[0].with_features(self.width), channels_first=False),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return UnitRowsRule(names["weight"], (self.width, self.features))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] @ _unit_rows(p["weight"]).transpose(0, 1)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features, width=width)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or (signal.channels_first and signal.space):
            return ()
        return [cls(signal.features, 2), chain(direction=cls(signal.features, 3), gain=Affine(3))]


@dataclass(frozen=True, eq=False, repr=False)
class SpectralLinear(UnitLinear):
    """`y = W x / s(W)` with the largest singular value `s`, by power iteration from a fixed vector.

    Law: `||W||^2` (Miyato et al. 2018, section 2.1; Kunin et al. 2021, theorem 1, scale symmetry).
    """

    summary = "y = W x / s(W)"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return UnitNormRule(names["weight"], (self.width, self.features))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"]
        v = torch.cos(torch.arange(self.features, dtype=w.dtype, device=w.device))
        for _ in range(POWER_STEPS):
            v = w.transpose(0, 1) @ (w @ v)
            v = v / torch.sqrt((v * v).sum())
        y = w @ v
        return x[0] @ (w / torch.sqrt((y * y).sum())).transpose(0, 1)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or (signal.channels_first and signal.space):
            return ()
        return [cls(signal.features, 2)]


@dataclass(frozen=True, eq=False, repr=False)
class UnitConv2d(Block):
    """A 2d convolution whose filters have norm 1, or mean 0 and variance 1 with `standardised`.

    Args:
        channels: channels of x, shape `(batch, channels, height, width)`.
        width: channels of y.
        kernel: side of the filters; weight of shape `(width, channels, kernel, kernel)`.
        stride: step of the window.
        padding: zeros around the image.
        standardised: subtract the mean of every filter and divide by its standard deviation (weight standardisation).
        frozen: local names of parameters that training does not move.

    Law: `||v_j||^2` of every filter, with `standardised` also the sum of its entries (Qiao et al. 2019, section 3).
    """

    channels: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    standardised: bool = False
    frozen: tuple[str, ...] = ()

    summary = "filters of norm 1"
    source = "kunin2021, theorem 1"
    least = {"padding": 0}  # noqa: RUF012

    @property
    def parameters(self) -> dict[str, Spec]:
        fan_in = self.channels * self.kernel**2
        return {"weight": Spec((self.width, self.channels, self.kernel, self.kernel), fan_in**-0.5)}

    def input_signal(self) -> Signal:
        return Signal(self.channels, (16, 16), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        x = signals[0]
        self.expect(x, self.channels)
        if len(x.space) != 2 or not x.channels_first:
            raise ShapeError(f"{self} reads channels first with height and width but gets {x}")
        space = tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in x.space)
        if min(space) < 1:
            raise ShapeError(f"{self} has a kernel of {self.kernel} but gets {x}; use a larger input or padding")
        return (Signal(self.width, space, channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        shape = (self.width, self.channels, self.kernel, self.kernel)
        keeps = self.padding == 0
        return UnitRowsRule(names["weight"], shape, self.standardised, keeps, mixes=self.kernel > 1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"].flatten(1)
        if self.standardised:
            w = w - w.mean(-1, keepdim=True)
        return F.conv2d(x[0], _unit_rows(w).reshape(p["weight"].shape), None, self.stride, self.padding)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, channels=signals[0].features, width=width)

    def shrunk(self) -> Block:
        kernel, stride, padding = small_window(self.kernel, self.stride, self.padding)
        return dataclasses.replace(self, kernel=kernel, stride=stride, padding=padding)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or not signal.channels_first or len(signal.space) != 2 or signal.features < 2:
            return ()
        return [cls(signal.features, 2, 3, padding=1), cls(signal.features, 2, 3, 1, 1, standardised=True)]


def _unit_rows(w: torch.Tensor) -> torch.Tensor:
    return w / torch.sqrt((w * w).sum(-1, keepdim=True))


def WeightNormLinear(features: int, width: int, bias: bool = True) -> Net:
    """A weight-normalised linear map, `y_j = g_j v_j x / ||v_j|| + b_j` (`torch.nn.utils.weight_norm`)."""
    return chain(direction=UnitLinear(features, width), affine=Affine(width, True, bias))


def StandardisedConv2d(
    channels: int, width: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
) -> Net:
    """A convolution with weight standardisation and a gain per channel (norm-free networks)."""
    conv = UnitConv2d(channels, width, kernel, stride, padding, standardised=True)
    return chain(direction=conv, affine=Affine(width, True, bias))
