"""Convolutions whose kernels are standardised: mean 0 and variance 1 over the entries of every filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import Rule, UnitRowsRule

from .base import Block, Net, ShapeError, Signal, Spec
from .conv import expect_groups, expect_windows
from .norms import divide
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class StandardConv(Block):
    """A convolution by filters `(w - mean w) / sqrt(var w + epsilon)`, or by `w / ||w||`, with any window.

    Its rule lets multiples of the identity through; with groups, a multiple of its own for every group would pass too,
    which is not listed.

    Args:
        channels: channels of x, shape `(batch, channels, *space)`.
        width: channels of y.
        kernel: length of the window on every axis; `stride`, `padding` likewise.
        stride: steps of the window.
        padding: zeros around.
        dilation: distance of the window's entries.
        groups: blocks of channels that are mapped apart.
        epsilon: what is added to the variance; above 0 the laws of the lengths hold approximately.
        centred: whether filters are `(w - mean w) / sqrt(var w + epsilon)`; else they are `w / ||w||` (weight
            normalisation), and epsilon must be 0.
        frozen: local names of parameters that training does not move.

    Law: the sum of the entries of every filter if they are centred, and `||w_j||^2` (Qiao et al. 2019, section 3; Brock
    et al. 2021; Salimans, Kingma 2016, section 2.1).
    """

    channels: int
    width: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    epsilon: float = 0.0
    centred: bool = True
    frozen: tuple[str, ...] = ()

    least = MappingProxyType({"kernel": 1, "stride": 1, "padding": 0, "dilation": 1})
    summary = "filters of mean 0 and variance 1"
    source = "kunin2021, theorem 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_windows(self, self.kernel, self.stride, self.padding, self.dilation)
        expect_groups(self, self.groups, self.channels, self.width)

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.width, self.channels // self.groups, *self.kernel)

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec(self._shape, prod(self._shape[1:]) ** -0.5)}

    def input_signal(self) -> Signal:
        return Signal(self.channels, (16,) * len(self.kernel), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        x = signals[0]
        self.expect(x, self.channels)
        x.expect_image(self, len(self.kernel))
        sizes = zip(x.space, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        space = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        if min(space) < 1:
            raise ShapeError(f"{self} has windows that are larger than {x}; use a larger input")
        return (Signal(self.width, space, channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return UnitRowsRule(
            names["weight"],
            self._shape,
            centred=self.centred,
            keeps_constants=not any(self.padding),
            mixes=prod(self.kernel) > 1,
            epsilon=self.epsilon,
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"].flatten(1)
        if self.centred:
            w = divide(w - w.mean(-1, keepdim=True), -1, self.epsilon)
        else:
            w = w / torch.sqrt((w * w).sum(-1, keepdim=True))
        w = w.reshape(p["weight"].shape)
        conv = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
        return conv(x[0], w, None, self.stride, self.padding, self.dilation, self.groups)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or not signal.channels_first or len(signal.space) != 2 or signal.features < 2:
            return ()
        window = ((3, 3), (1, 1), (1, 1), (1, 1))
        return [cls(signal.features, 2, *window, centred=c) for c in (True, False)]
