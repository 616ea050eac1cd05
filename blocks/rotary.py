"""Rotary position."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.gauge.rules import RotaryRule, Rule

from .attention import DotProductAttention
from .base import Block, Net, Parallel, ShapeError, Signal, chain
from .linear import Linear
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Rotary(Block):
    """Rotates planes of every head by angles that grow with the position (RoPE).

    Args:
        heads: heads on the wire.
        base: base of the geometric sequence of frequencies.
        interleaved: planes are neighbouring features (GPT-J) and not the two halves of a head (Llama).
        rotated: features of a head that are rotated, 0 for all; they come first (GPT-NeoX, GPT-J).
        shared: number of neighbouring planes that share a frequency.

    Law: one scalar per plane, `||Q_j||^2 - ||K_j||^2` (Tran et al. 2026, theorem 4.4); `c` planes of one frequency have
    `c^2`, those of a Hermitian matrix.
    """

    heads: int = 1
    base: float = 10000.0
    interleaved: bool = False
    rotated: int = 0
    shared: int = 1

    summary = "planes rotated by position"
    source = "tran2026, theorem 4.4"
    least = MappingProxyType({"rotated": 0})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        turned = self.rotated or s.features // self.heads
        if (
            s.features % self.heads
            or turned % (2 * self.shared)
            or turned > s.features // self.heads
            or len(s.space) != 1
            or s.channels_first
        ):
            raise ShapeError(
                f"{self} reads tokens in {self.heads} heads of even width, {self.shared} planes for each frequency, "
                f"but gets {s}; change the width or the heads"
            )
        return (s,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        width = inputs[0].features // self.heads
        return RotaryRule(self.heads, width, self.rotated or width, self.interleaved, self.shared)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        batch, tokens, features = x[0].shape
        y = x[0].reshape(batch, tokens, self.heads, -1)
        turned = self.rotated or y.shape[-1]
        y, rest = y[..., :turned], y[..., turned:]
        half = turned // 2
        if self.interleaved:
            a, b = y[..., 0::2], y[..., 1::2]
        else:
            a, b = y[..., :half], y[..., half:]
        plane = torch.arange(half, dtype=y.dtype, device=y.device)
        frequency = self.base ** (-(plane // self.shared) * self.shared / half)
        angle = torch.arange(tokens, dtype=y.dtype, device=y.device)[:, None, None] * frequency
        c, s = torch.cos(angle), torch.sin(angle)
        u, v = a * c - b * s, a * s + b * c
        z = torch.stack([u, v], -1).flatten(-2) if self.interleaved else torch.cat([u, v], -1)
        return torch.cat([z, rest], -1).reshape(batch, tokens, features)

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads,)

    def with_heads(self, heads: Sequence[int]) -> Block:
        return dataclasses.replace(self, heads=heads[0])

    def shrunk(self) -> Rotary:
        """At most two heads; where attention reads it, its heads are those of the attention."""
        return dataclasses.replace(self, heads=min(self.heads, 2), rotated=min(self.rotated, 4 * self._group))

    @property
    def _group(self) -> int:
        """Features of a frequency beyond the two that every plane has."""
        return min(self.shared, 2)

    def width_multiple(self, port: int) -> int:
        return 4 * self.heads * self.shared * (2 if self.rotated else 1)  # two frequencies, and as much that stays

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if len(signal.space) != 1 or signal.channels_first or signal.tokens or signal.space[0] < 3:
            return ()

        def around(turn: Rotary, width: int) -> Net:
            def projected() -> Net:
                return chain(proj=Linear(signal.features, turn.heads * width, False), rotary=turn)

            value = Linear(signal.features, 2 * turn.heads, False)
            core = DotProductAttention(turn.heads)
            return Parallel((("q", projected()), ("k", projected()), ("v", value)), core)

        return [
            around(cls(base=10.0, rotated=2), 4),
            around(cls(base=10.0, shared=2, interleaved=True), 4),
            around(cls(base=10.0, shared=2), 4),
            around(cls(2, 10.0, rotated=2), 3),
        ]
