"""Convolutions and pooling with windows of any shape, as traced models use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from math import prod
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import HomogeneousRule, LinearRule, PassRule, Rule

from .base import Block, Net, ShapeError, Signal, Spec
from .conv import blank_tap, expect_groups, expect_windows
from .pieces import FREE
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class UnevenConv(Block):
    """A convolution over one, two or three axes, or its transpose, with a window of its own on every axis.

    Args:
        channels: of the input.
        width: channels of the output.
        kernel: length of the window on every axis; `stride`, `padding`, `dilation` likewise.
        groups: of channels that are convolved apart.
        bias: whether there is one.
        transposed: for the transpose, whose weight is `(channels, width / groups, kernel...)`.
        output_padding: of the transpose.

    Law: over channels, as for any linear map (Marcotte et al. 2025, theorem 3.6).
    """

    channels: int
    width: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = True
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    frozen: tuple[str, ...] = ()

    least = MappingProxyType({"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0})
    summary = "y = W * x + b over channels, windows of any shape"
    source = "marcotte2025, theorem 3.6"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_windows(self, self.kernel, self.stride, self.padding, self.dilation, self.output_padding or self.kernel)
        expect_groups(self, self.groups, self.channels, self.width)

    @property
    def _shape(self) -> tuple[int, ...]:
        a, b = (self.channels, self.width) if self.transposed else (self.width, self.channels)
        return (a, b // self.groups, *self.kernel)

    @property
    def parameters(self) -> dict[str, Spec]:
        fan = self.channels // self.groups * prod(self.kernel)
        own = {"weight": Spec(self._shape, (2 / fan) ** 0.5)}
        return own | ({"bias": Spec((self.width,), 0.1)} if self.bias else {})

    def input_signal(self) -> Signal:
        return Signal(self.channels, (16,) * len(self.kernel), channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        x = signals[0]
        self.expect(x, self.channels)
        x.expect_image(self, len(self.kernel))
        extra = self.output_padding or (0,) * len(self.kernel)
        sizes = zip(x.space, self.kernel, self.stride, self.padding, self.dilation, extra, strict=True)
        if self.transposed:
            space = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in sizes)
        else:
            space = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, e in sizes)
        if min(space) < 1:
            raise ShapeError(f"{self} has windows that are larger than {x}; use a larger input")
        return (Signal(self.width, space, channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        points = prod(self.kernel) == 1
        return LinearRule(
            names["weight"],
            self._shape,
            names.get("bias"),
            transposed=self.transposed,
            groups=self.groups,
            keeps_constants=not any(self.padding) and (points or not self.transposed),
            geometry=("uneven", self.stride, self.padding, self.dilation, self.transposed, self.output_padding),
            mixes=not points,
            blank=any(starmap(blank_tap, zip(*self._ends(inputs[0], outputs[0]), *self._windows, strict=True))),
        )

    @property
    def _windows(self) -> tuple[tuple[int, ...], ...]:
        return self.kernel, self.stride, self.padding, self.dilation

    def _ends(self, x: Signal, y: Signal) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lengths of the axes that are padded, and of the others."""
        return (y.space, x.space) if self.transposed else (x.space, y.space)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        rank = len(self.kernel)
        w, b = p["weight"], p.get("bias")
        if self.transposed:
            turned = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
            extra = self.output_padding or (0,) * rank
            return turned(x[0], w, b, self.stride, self.padding, extra, self.groups, self.dilation)
        conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        return conv(x[0], w, b, self.stride, self.padding, self.dilation, self.groups)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A window over the last axis only, plain and in groups."""
        rank, n = len(signal.space), signal.features
        if signal.tokens or not signal.channels_first or not 1 <= rank <= 3 or signal.space[-1] < 3:
            return ()
        flat = (1,) * (rank - 1)
        window = ((*flat, 3), (1,) * rank, (*(0 for _ in flat), 1), (1,) * rank)
        return (cls(n, 2, *window), cls(n, n, *window, groups=n, bias=False), cls(n, 2, *window, transposed=True))


@dataclass(frozen=True, eq=False, repr=False)
class UnevenPool(Block):
    """Mean or maximum over windows, with all options of torch's pooling.

    Args:
        maximum: whether it takes the maximum.
        kernel: length of the window on every axis; `stride`, `padding`, `dilation` likewise.
        ceil: whether windows may hang over the end.
        count_padding: whether padded zeros count in a mean.
        adaptive: lengths of the result, instead of all that (`kernel` and the others are then empty).
        around: for a maximum, what is left out around the image, which may differ from side to side, as in
            `torch.nn.functional.pad`.
    """

    maximum: bool
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    ceil: bool = False
    count_padding: bool = True
    adaptive: tuple[int, ...] = ()
    around: tuple[int, ...] = ()

    least = MappingProxyType({"padding": 0})
    summary = "mean or maximum over windows of any shape"
    source = "marcotte2025, section 3"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        rank = len(self.kernel or self.adaptive)
        s.expect_image(self, rank)
        try:
            space = tuple(self._pool(torch.empty((1, 1, *s.space), device="meta")).shape[2:])
        except RuntimeError as error:
            raise ShapeError(f"{self} does not fit {s}: {error}") from error
        return (Signal(s.features, space, channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        if self.maximum:
            return HomogeneousRule(shifts=True, mixes=True)
        keeps = bool(self.adaptive) or not (any(self.padding) and self.count_padding)
        return PassRule(weights="uniform", keeps_constants=keeps, mixes=True)

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        at = len(self.kernel or self.adaptive) - 1
        if self.adaptive:
            mean: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[at]
            top: Any = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[at]
            return (top if self.maximum else mean)(x, list(self.adaptive))
        k, s, p = list(self.kernel), list(self.stride), list(self.padding)
        if self.maximum:
            x = F.pad(x, list(self.around), value=-torch.inf) if self.around else x
            return (F.max_pool1d, F.max_pool2d, F.max_pool3d)[at](x, k, s, p, list(self.dilation), self.ceil)
        return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[at](x, k, s, p, self.ceil, self.count_padding)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if not self.maximum:
            return self._pool(x[0])
        padded = F.pad(x[0], list(self.around), value=-torch.inf) if self.around else x[0]
        like = x[0].new_empty((1,))
        gate = run.gate(like, FREE, lambda: self._places(x[0]))
        if gate is None:
            return self._pool(x[0])
        places = gate.long()
        return padded.flatten(2).gather(2, places.flatten(2)).reshape(places.shape)

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        """Where every maximum stands in the flattened image."""
        at = len(self.kernel or self.adaptive) - 1
        if self.adaptive:
            top: Any = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[at]
            return top(x, list(self.adaptive), return_indices=True)[1]
        k, s, p = list(self.kernel), list(self.stride), list(self.padding)
        x = F.pad(x, list(self.around), value=-torch.inf) if self.around else x
        pool: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[at]
        return pool(x, k, s, p, list(self.dilation), self.ceil, return_indices=True)[1]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Means and maxima over windows of the last axis."""
        rank = len(signal.space)
        if signal.tokens or not signal.channels_first or not 1 <= rank <= 3 or signal.space[-1] < 3:
            return ()
        flat = (1,) * (rank - 1)
        window = ((*flat, 3), (1,) * rank, (*(0 for _ in flat), 1), (1,) * rank)
        return (cls(False, *window), cls(True, *window), cls(False, *window, count_padding=False))
