"""Linear maps: the blocks that answer a gauge with their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.rules import GainRule, LinearRule, Rule, TableRule

from .base import Block, ShapeError, Signal, Spec, Tie, WidthRelation, small_window
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Block):
    """`y = x W^T + b` on the feature axis.

    Args:
        features: features of x, shape `(batch, ..., features)`.
        width: features of y.
        bias: whether there is a `b` of shape `(width,)`.
        tie: take `W` from another block (see `Tie`).
        frozen: local names of parameters that training does not move.

    Law: `U^T U - V V^T` between two of them (Marcotte et al. 2023, proposition 4.2).
    """

    features: int
    width: int
    bias: bool = True
    tie: Tie | None = None
    frozen: tuple[str, ...] = ()

    summary = "y = W x + b"
    source = "marcotte2023, theorem 4.1"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {} if self.tie else {"weight": Spec((self.width, self.features), self.features**-0.5)}
        return own | ({"bias": Spec((self.width,), 0.1)} if self.bias else {})

    @property
    def ties(self) -> dict[str, Tie]:
        return {"weight": self.tie} if self.tie else {}

    def input_signal(self) -> Signal:
        return Signal(self.features)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        if signals[0].channels_first and signals[0].space:
            raise ShapeError(f"{self} reads features last but gets {signals[0]}; flatten or pool first")
        return (dataclasses.replace(signals[0].with_features(self.width), channels_first=False),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        flipped = self.tie is not None and self.tie.transposed
        shape = (self.features, self.width) if flipped else (self.width, self.features)
        return LinearRule(names["weight"], shape, names.get("bias"), transposed=flipped, geometry=("linear",))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"].transpose(0, 1) if self.tie is not None and self.tie.transposed else p["weight"]
        y = x[0] @ w.transpose(0, 1)
        return y + p["bias"] if self.bias else y

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features, width=width)


@dataclass(frozen=True, eq=False, repr=False)
class _Conv(Block):
    """A convolution; law over channels (Marcotte et al. 2025, theorem 3.6)."""

    channels: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    tie: Tie | None = None
    frozen: tuple[str, ...] = ()

    summary = "y = W * x + b over channels"
    source = "marcotte2025, theorem 3.6"
    least = MappingProxyType({"padding": 0})
    _rank = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels % self.groups or self.width % self.groups:
            raise ShapeError(f"{self}: {self.groups} groups must divide {self.channels} and {self.width} channels")
        if self.tie and self.tie.transposed:
            raise ShapeError(f"{self}: a convolution cannot share a transposed weight; tie it without transposed=True")

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.width, self.channels // self.groups, *[self.kernel] * self._rank)

    @property
    def parameters(self) -> dict[str, Spec]:
        fan_in = self.channels // self.groups * self.kernel**self._rank
        own = {} if self.tie else {"weight": Spec(self._shape, (2 / fan_in) ** 0.5)}
        return own | ({"bias": Spec((self.width,), 0.1)} if self.bias else {})

    @property
    def ties(self) -> dict[str, Tie]:
        return {"weight": self.tie} if self.tie else {}

    def input_signal(self) -> Signal:
        return Signal(self.channels, (16,) * self._rank, channels_first=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        x = signals[0]
        self.expect(x, self.channels)
        if len(x.space) != self._rank or not x.channels_first:
            raise ShapeError(f"{self} reads channels first with {self._rank} space axes but gets {x}")
        space = tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in x.space)
        if min(space) < 1:
            raise ShapeError(f"{self} has a kernel of {self.kernel} but gets {x}; use a larger input or padding")
        return (Signal(self.width, space, channels_first=True),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LinearRule(
            names["weight"],
            self._shape,
            names.get("bias"),
            groups=self.groups,
            keeps_constants=self.padding == 0,
            geometry=("conv", self.stride, self.padding),
            mixes=self.kernel > 1,
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        conv = F.conv1d if self._rank == 1 else F.conv2d
        return conv(x[0], p["weight"], p.get("bias"), self.stride, self.padding, 1, self.groups)

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

    def shrunk(self) -> Block:
        kernel, stride, padding = small_window(self.kernel, self.stride, self.padding)
        return dataclasses.replace(self, kernel=kernel, stride=stride, padding=padding)

    def width_multiple(self, port: int) -> int:
        return 1 if self._depthwise or self.groups == 1 else 4  # two groups of two channels

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        if self._depthwise:
            return [WidthRelation(-1, {0: Fraction(min(self.width // self.channels, 2))})]
        return []


@dataclass(frozen=True, eq=False, repr=False)
class Conv1d(_Conv):
    """1d convolution: x of shape `(batch, channels, length)`, weight `(width, channels / groups, kernel)`."""

    _rank = 1


@dataclass(frozen=True, eq=False, repr=False)
class Conv2d(_Conv):
    """2d convolution: x is `(batch, channels, height, width)`, weight `(width, channels / groups, kernel, kernel)`."""


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Block):
    """A lookup table: tokens of shape `(batch, tokens)` to `(batch, tokens, width)`; weight `(vocabulary, width)`.

    It is a linear map of one-hot tokens, so it has the laws of one; all its rows together can add a constant.
    """

    vocabulary: int
    width: int
    frozen: tuple[str, ...] = ()

    summary = "row of a table for every token"
    source = "marcotte2025, section 3"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((self.vocabulary, self.width), 0.5)}

    def input_signal(self) -> Signal:
        return Signal(self.vocabulary, (4,), tokens=True)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if not signals[0].tokens:
            raise ShapeError(f"{self} reads integer tokens but gets {signals[0]}; put it first")
        self.expect(signals[0], self.vocabulary)
        return (Signal(self.width, signals[0].space),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        shape = (self.vocabulary, self.width)
        return LinearRule(names["weight"], shape, transposed=True, lookup=True, geometry=("lookup",))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return F.embedding(x[0], p["weight"])

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, vocabulary=signals[0].features, width=width)


@dataclass(frozen=True, eq=False, repr=False)
class Table(Block):
    """A learned table without input, the same for every example: shape `(tokens, width)`.

    Added to a stream it is a learned position; put before the tokens it is a class token.
    """

    tokens: int
    width: int
    frozen: tuple[str, ...] = ()

    inputs = 0
    summary = "learned rows"
    source = "marcotte2025, section 3"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((self.tokens, self.width), 0.5)}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (Signal(self.width, (self.tokens,)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return TableRule(names["weight"], (self.tokens, self.width))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return p["weight"].unsqueeze(0)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, width=width)


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Block):
    """`y = gain * x + shift`, feature by feature; parameters `weight` and `bias` of shape `(features,)`.

    Law: `gamma_i^2 + beta_i^2 - ||W_:i||^2` against the maps that read it.
    """

    features: int
    gain: bool = True
    shift: bool = True
    frozen: tuple[str, ...] = field(default=())

    summary = "y = gamma * x + beta"
    source = "tran2026, section 4; kunin2021, theorem 1"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"weight": Spec((self.features,), 0.0, 1.0)} if self.gain else {}
        return own | ({"bias": Spec((self.features,))} if self.shift else {})

    def input_signal(self) -> Signal:
        return Signal(self.features)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return GainRule(self.features, names.get("weight"), names.get("bias"))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        if self.gain:
            y = y * p["weight"]
        if self.shift:
            y = y + p["bias"]
        return y.movedim(-1, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features)
