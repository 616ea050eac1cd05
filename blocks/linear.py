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

from lawful.theory.gauge.rules import GainRule, LinearRule, Rule, TableRule

from .base import Block, Net, Parallel, ShapeError, Signal, Spec, Tie
from .joins import Add
from .pointwise import Identity
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
        transposed: whether the weight is stored as `(features, width)`, as in GPT-2.

    Law: `U^T U - V V^T` between two of them (Marcotte et al. 2023, proposition 4.2).
    """

    features: int
    width: int
    bias: bool = True
    tie: Tie | None = None
    frozen: tuple[str, ...] = ()
    transposed: bool = False

    summary = "y = W x + b"
    source = "marcotte2023, theorem 4.1"

    @property
    def parameters(self) -> dict[str, Spec]:
        shape = (self.features, self.width) if self.transposed else (self.width, self.features)
        own = {} if self.tie else {"weight": Spec(shape, self.features**-0.5)}
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
        flipped = self._flipped
        shape = (self.features, self.width) if flipped else (self.width, self.features)
        return LinearRule(names["weight"], shape, names.get("bias"), transposed=flipped, geometry=("linear",))

    @property
    def _flipped(self) -> bool:
        """Whether the weight it reads is `(features, width)`."""
        return self.transposed != (self.tie is not None and self.tie.transposed)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"].transpose(0, 1) if self._flipped else p["weight"]
        y = x[0] @ w.transpose(0, 1)
        return y + p["bias"] if self.bias else y

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features, width=width)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Maps to two, three and as many features as before."""
        if signal.tokens or (signal.channels_first and signal.space):
            return ()
        return (cls(signal.features, 2), cls(signal.features, 3, False), cls(signal.features, signal.features))


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(Block):
    """A lookup table: tokens of shape `(batch, tokens)` to `(batch, tokens, width)`; weight `(vocabulary, width)`.

    It is a linear map of one-hot tokens, so it has the laws of one; all its rows together can add a constant.
    With a `padding_index` that token is read as zeros: its row never moves, and no constant can be added to it.  With
    `padding_zero=False` the row is read as it is, and only its gradient is stopped, as in `torch.nn.Embedding`.
    """

    vocabulary: int
    width: int
    padding_index: int = -1
    frozen: tuple[str, ...] = ()
    padding_zero: bool = True

    summary = "row of a table for every token"
    source = "marcotte2025, section 3"
    least = MappingProxyType({"padding_index": -1})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.padding_index >= self.vocabulary or (self.vocabulary < 2 and self.padding_index == 0):
            raise ShapeError(f"{self}: the padding token must be one of several tokens")

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
        padding = None if self.padding_index < 0 else self.padding_index
        geometry = ("lookup", padding)
        still = padding is not None and not self.padding_zero
        return LinearRule(
            names["weight"], shape, transposed=True, lookup=True, geometry=geometry, padding=padding, still=still
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = F.embedding(x[0], p["weight"])
        if self.padding_index < 0:
            return y
        moves = (x[0] != self.padding_index).unsqueeze(-1)
        still = torch.zeros_like(y) if self.padding_zero else y.detach()
        return torch.where(moves, y, still)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        n = signals[0].features
        return dataclasses.replace(self, vocabulary=n, width=width, padding_index=min(self.padding_index, n - 1))

    def width_minimum(self, port: int) -> int:
        return 4 if self.padding_index >= 0 and not port else 2  # three tokens besides the one that is zero

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Tables that are 3 wide, one with a padding token."""
        if not signal.tokens:
            return ()
        n = signal.features
        return (cls(n, 3), cls(n, 3, padding_index=1)) if n > 3 else (cls(n, 3),)


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

    @property
    def chooses_length(self) -> bool:
        return True

    def with_length(self, positions: int) -> Block:
        return dataclasses.replace(self, tokens=positions)

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

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A learned position."""
        if signal.tokens or signal.channels_first or len(signal.space) != 1:
            return ()
        return (Parallel((("stream", Identity()), ("table", cls(signal.space[0], signal.features))), Add()),)


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Block):
    """`y = gain * x + shift`, feature by feature; parameters `weight` and `bias` of shape `(features,)`.

    Law: `gamma_i^2 + beta_i^2 - ||W_:i||^2` against the maps that read it, with `gamma_i = weight_i + offset`.

    Args:
        features: of x.
        gain: whether there is a gain.
        shift: whether there is a shift.
        frozen: local names of parameters that training does not move.
        offset: what is added to the weight to make the gain (1 in Gemma).
    """

    features: int
    gain: bool = True
    shift: bool = True
    frozen: tuple[str, ...] = field(default=())
    offset: float = 0.0

    summary = "y = gamma * x + beta"
    source = "tran2026, section 4; kunin2021, theorem 1"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"weight": Spec((self.features,), 0.0, 1.0 - self.offset)} if self.gain else {}
        return own | ({"bias": Spec((self.features,))} if self.shift else {})

    def input_signal(self) -> Signal:
        return Signal(self.features)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.features)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return GainRule(self.features, names.get("weight"), names.get("bias"), Fraction(self.offset))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        if self.gain:
            y = y * (p["weight"] + self.offset if self.offset else p["weight"])
        if self.shift:
            y = y + p["bias"]
        return y.movedim(-1, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, features=signals[0].features)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Gain, shift and both."""
        if signal.tokens:
            return ()
        return tuple(cls(signal.features, gain, shift) for gain, shift in ((True, True), (True, False), (False, True)))
