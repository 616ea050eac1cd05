"""Convolutions and their transposes: linear maps over channels, the same at every position."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import LinearRule, Rule

from .base import Block, Net, ShapeError, Signal, Spec, Tie, WidthRelation, small_window
from .run import Run


def expect_groups(block: Block, groups: int, channels: int, width: int) -> None:
    """Checks that groups of channels are equally large on both sides.

    Raises:
        ShapeError: if one of the two is no multiple of the groups.
    """
    if channels % groups or width % groups:
        raise ShapeError(f"{block}: {groups} groups must divide {channels} and {width} channels")


def expect_windows(block: Block, *lengths: Sequence[int]) -> None:
    """Checks that kernel, stride, padding and so on say as many numbers: one for each of one to three axes.

    Raises:
        ShapeError: says how many each has.
    """
    counts = [len(n) for n in lengths]
    if len(set(counts)) > 1 or not 1 <= counts[0] <= 3:
        raise ShapeError(
            f"{block} has windows over {', '.join(map(str, counts))} axes; give one number for each of 1 to 3 axes"
        )


def blank_tap(large: int, small: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether some tap of a kernel only ever meets padding.

    Args:
        large: length of the axis that is padded: the input's, of a transposed convolution the output's.
        small: length of the other one.
        kernel: length of the kernel.
        stride: steps between its places.
        padding: zeros on both sides of the large axis.
        dilation: steps between its taps.
    """
    taps = (tap * dilation - padding for tap in range(kernel))
    return not all(any(0 <= i * stride + at < large for i in range(small)) for at in taps)


@dataclass(frozen=True, eq=False, repr=False)
class _AnyConv(Block):
    """What a convolution and a transposed one have in common."""

    channels: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    dilation: int = 1
    tie: Tie | None = None
    frozen: tuple[str, ...] = ()

    source = "marcotte2025, theorem 3.6"
    least = MappingProxyType({"padding": 0, "output_padding": 0})
    _rank = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_groups(self, self.groups, self.channels, self.width)
        if self.tie and self.tie.transposed:
            raise ShapeError(f"{self}: a convolution cannot share a transposed weight; tie it without transposed=True")

    @property
    def _shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.width, self.channels // self.groups, *[self.kernel] * self._rank)

    @property
    def _fan_in(self) -> int:
        """Number of weights that meet in one output."""
        return self.channels // self.groups * self.kernel**self._rank

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {} if self.tie else {"weight": Spec(self._shape, (2 / self._fan_in) ** 0.5)}
        return own | ({"bias": Spec((self.width,), 0.1)} if self.bias else {})

    @property
    def ties(self) -> dict[str, Tie]:
        return {"weight": self.tie} if self.tie else {}

    def input_signal(self) -> Signal:
        return Signal(self.channels, (16,) * self._rank, channels_first=True)

    def _length(self, n: int) -> int:
        """Length of an output axis."""
        return (n + 2 * self.padding - self._reach) // self.stride + 1

    @property
    def _reach(self) -> int:
        """Length that the kernel spans."""
        return self.dilation * (self.kernel - 1) + 1

    def _blank(self, large: int, small: int) -> bool:
        """Whether a tap of the kernel meets nothing but padding, on axes of these lengths."""
        return blank_tap(large, small, self.kernel, self.stride, self.padding, self.dilation)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        x = signals[0]
        self.expect(x, self.channels)
        x.expect_image(self, self._rank)
        space = tuple(map(self._length, x.space))
        if min(space) < 1:
            raise ShapeError(f"{self} has a kernel that spans {self._reach} but gets {x}; change input or padding")
        return (Signal(self.width, space, channels_first=True),)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        n = signals[0].features
        if self._depthwise:
            return dataclasses.replace(self, channels=n, width=width, groups=n)
        small = self.groups > 1 and n % 2 == 0 and width % 2 == 0
        return dataclasses.replace(self, channels=n, width=width, groups=2 if small else self.groups)

    @property
    def _depthwise(self) -> bool:
        """Whether every channel is convolved by itself."""
        return self.groups == self.channels > 1

    def width_multiple(self, port: int) -> int:
        return 1 if self._depthwise or self.groups == 1 else 4  # two groups of two channels

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        if self._depthwise:
            return [WidthRelation(-1, {0: Fraction(min(self.width // self.channels, 2))})]
        return []

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A plain map, one with a kernel of three, and one that is cut into groups."""
        n = signal.features
        if len(signal.space) != cls._rank or not signal.channels_first or signal.tokens:
            return ()
        nets: list[Net] = [cls(n, 3, 1), cls(n, n, 1, groups=n, bias=False)]
        if min(signal.space) >= 3:
            nets += [cls(n, 2, 3, padding=1), cls(n, 2 * n, 3, padding=1, groups=n)]
            nets += [cls(n, 2, 3, padding=2, dilation=2, bias=False)] if cls._rank == 1 else []
        return nets


@dataclass(frozen=True, eq=False, repr=False)
class _Conv(_AnyConv):
    """A convolution; law over channels (Marcotte et al. 2025, theorem 3.6)."""

    summary = "y = W * x + b over channels"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LinearRule(
            names["weight"],
            self._shape,
            names.get("bias"),
            groups=self.groups,
            keeps_constants=self.padding == 0,
            geometry=("conv", self.stride, self.padding, self.dilation),
            mixes=self.kernel > 1,
            blank=any(map(self._blank, inputs[0].space, outputs[0].space)),
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        conv = (F.conv1d, F.conv2d, F.conv3d)[self._rank - 1]
        return conv(x[0], p["weight"], p.get("bias"), self.stride, self.padding, self.dilation, self.groups)

    def shrunk(self) -> Block:
        spread = min(self.dilation, 2)
        kernel, stride, padding = small_window(self.kernel, self.stride, -(-self.padding // self.dilation))
        return dataclasses.replace(self, kernel=kernel, stride=stride, padding=padding * spread, dilation=spread)


@dataclass(frozen=True, eq=False, repr=False)
class Conv1d(_Conv):
    """1d convolution: x of shape `(batch, channels, length)`, weight `(width, channels / groups, kernel)`."""

    _rank = 1


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(_Conv):
    """2d convolution: x is `(batch, channels, height, width)`, weight `(width, channels / groups, kernel, kernel)`."""


@dataclass(frozen=True, eq=False, repr=False)
class Conv3d(_Conv):
    """3d convolution: x is `(batch, channels, depth, height, width)`, the weight has three kernel axes."""

    _rank = 3


@dataclass(frozen=True, eq=False, repr=False)
class _ConvTranspose(_AnyConv):
    """The transpose of a convolution, which makes images larger; the law is that of a linear map over channels.

    Its weight is `(channels, width / groups, kernel, ...)`; an axis of length n becomes one of
    `(n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`.
    """

    output_padding: int = 0

    summary = "y = W^T * x + b over channels"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_padding >= max(self.stride, self.dilation):
            raise ShapeError(f"{self}: output_padding must be smaller than stride or dilation")

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.channels, self.width // self.groups, *[self.kernel] * self._rank)

    def _length(self, n: int) -> int:
        return (n - 1) * self.stride - 2 * self.padding + self._reach + self.output_padding

    @property
    def _overlap(self) -> bool:
        """Whether two inputs may meet in one output."""
        return self.kernel > self.stride // math.gcd(self.stride, self.dilation)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LinearRule(
            names["weight"],
            self._shape,
            names.get("bias"),
            transposed=True,
            groups=self.groups,
            # Only a kernel of one gives every position the same sum of weights.
            keeps_constants=self.kernel == self.stride == 1 and not self.padding,
            geometry=("transposed conv", self.stride, self.padding, self.dilation, self.output_padding),
            mixes=self._overlap,
            blank=any(map(self._blank, outputs[0].space, inputs[0].space)),
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._rank - 1]
        return conv(
            x[0],
            p["weight"],
            p.get("bias"),
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def shrunk(self) -> Block:
        """Kernels of at most three and strides of at most two."""
        kernel, stride = min(self.kernel, 3), min(self.stride, 2)
        if self.kernel == self.stride:
            kernel = stride
        # The excess over `stride * n` stays what it is as far as that is possible.
        excess = self._length(1) - self.stride
        padding = max(0, -((excess - (kernel - stride)) // 2))
        extra = excess - (kernel - stride - 2 * padding)
        small = dataclasses.replace(self, kernel=kernel, stride=stride, dilation=1, padding=0, output_padding=0)
        if not 0 <= extra < stride or 2 * padding >= kernel:
            return small
        return dataclasses.replace(small, padding=padding, output_padding=extra)


@dataclass(frozen=True, eq=False, repr=False)
class ConvTranspose1d(_ConvTranspose):
    """1d transposed convolution: x is `(batch, channels, length)`, weight `(channels, width / groups, kernel)`."""

    _rank = 1


@dataclass(frozen=True, eq=False, repr=False)
class ConvTranspose2d(_ConvTranspose):
    """2d transposed convolution: x is `(batch, channels, height, width)`, two kernel axes behind the weight's two."""


@dataclass(frozen=True, eq=False, repr=False)
class ConvTranspose3d(_ConvTranspose):
    """3d transposed convolution: x is `(batch, channels, depth, height, width)`, three kernel axes."""

    _rank = 3
