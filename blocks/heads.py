"""Norms and gains of the heads of attention: one for every head, with one gain for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import HeadGainRule, NormRule, Rule

from .base import Block, Net, Series, ShapeError, Signal, Spec, chain
from .linear import Linear
from .norms import divide
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class _PerHead(Block):
    """A block that treats every head of a wire alike."""

    heads: int

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].features % self.heads:
            raise ShapeError(f"{self} reads {self.heads} heads but gets {signals[0]}; change the width or the heads")
        return (signals[0],)

    def input_signal(self) -> Signal:
        return Signal(4 * self.heads)

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads,)

    def with_heads(self, heads: Sequence[int]) -> Block:
        return dataclasses.replace(self, heads=heads[0])

    def shrunk(self) -> Block:
        """At most two heads; where attention reads it, its heads are those of the attention."""
        return dataclasses.replace(self, heads=min(self.heads, 2))

    def width_minimum(self, port: int) -> int:
        return 3 * self.heads  # a norm over two features is a sign

    def width_multiple(self, port: int) -> int:
        return self.heads

    def _apart(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """The heads as an axis of their own before the last one."""
        return x.movedim(axis, -1).unflatten(-1, (self.heads, -1))

    def _together(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        return x.flatten(-2).movedim(-1, axis)


@dataclass(frozen=True, eq=False, repr=False)
class HeadNormCore(_PerHead):
    """RMSNorm (or LayerNorm, with `centre`) over the features of every head of every position.

    Args:
        heads: number of heads.
        centre: whether the mean of the head is removed.
        epsilon: added to the mean square under the root.
    """

    heads: int
    centre: bool = False
    epsilon: float = 1e-6

    summary = "every head to mean square 1"
    source = "kunin2021, theorem 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon >= 0:
            raise ShapeError(f"{self}: epsilon must not be negative")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return NormRule(centre=self.centre, groups=self.heads, epsilon=self.epsilon)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        whole = y = self._apart(x[0], run.axis)
        if self.centre:
            y = y - y.mean(-1, keepdim=True)
        return self._together(divide(y, -1, self.epsilon, whole), run.axis)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if signal.tokens or (signal.channels_first and signal.space):
            return ()

        def around(centre: bool) -> Net:
            norm = Series.of(cls(2, centre, 0.0), HeadAffine(2, 3, shift=centre))
            return chain(proj=Linear(signal.features, 6, centre), norm=norm)

        return [around(False), around(True)]


@dataclass(frozen=True, eq=False, repr=False)
class HeadAffine(_PerHead):
    """`y = (gain + offset) * x + shift` with one gain and shift of shape `(width,)` for all heads.

    Law: `sum over heads` of what a gain has: with query and key norms `gamma_q^2 - gamma_k^2`.
    """

    heads: int
    width: int
    shift: bool = False
    frozen: tuple[str, ...] = ()
    offset: float = 0.0

    summary = "y = gamma * x + beta, one gamma for all heads"
    source = "wire-balance theorem (lawful)"

    @property
    def parameters(self) -> dict[str, Spec]:
        own = {"weight": Spec((self.width,), 0.0, 1.0 - self.offset)}
        return own | ({"bias": Spec((self.width,))} if self.shift else {})

    def input_signal(self) -> Signal:
        return Signal(self.heads * self.width)

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self.heads * self.width)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HeadGainRule(self.heads, self.width, names["weight"], names.get("bias"), Fraction(self.offset))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = self._apart(x[0], run.axis) * (p["weight"] + self.offset if self.offset else p["weight"])
        if self.shift:
            y = y + p["bias"]
        return self._together(y, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return dataclasses.replace(self, width=signals[0].features // self.heads)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        n = signal.features
        if signal.tokens or n < 4 or n % 2:
            return ()
        return [cls(2, n // 2, shift) for shift in (False, True)]


def HeadNorm(
    heads: int, width: int, gain: bool = True, centre: bool = False, shift: bool = False, epsilon: float = 1e-6
) -> Net:
    """A norm of every head with one gain for all heads: query and key norms (Qwen3; ViT-22B with `centre`).

    Args:
        heads: number of heads.
        width: features of a head.
        gain: whether there is a gain (without it no shift either).
        centre: LayerNorm instead of RMSNorm.
        shift: whether there is a shift.
        epsilon: added to the mean square under the root.
    """
    core = HeadNormCore(heads, centre, epsilon)
    if not gain:
        return core
    return Series((("core", core), ("affine", HeadAffine(heads, width, shift))))
