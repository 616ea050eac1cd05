"""The core of attention and rotary position."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.rules import AttentionRule, RotaryRule, Rule

from .base import Block, ShapeError, Signal, WidthRelation
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class DotProductAttention(Block):
    """`softmax(q k^T / sqrt(d) + mask) v` per head; ports q, k, v of shape `(batch, tokens, heads * head width)`.

    Args:
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads (grouped queries).
        causal: whether a token sees only itself and earlier ones.
        softmax: False for linear attention (scores as they are).

    Law: `Q^T Q - K^T K` and `V^T V - O O^T` per head (Marcotte et al. 2025, corollary 3.9; Tran et al. 2026,
    theorem 4.3).
    """

    heads: int = 1
    kv_heads: int = 0
    causal: bool = False
    softmax: bool = True

    inputs = 3
    summary = "softmax(q k^T) v per head"
    source = "marcotte2025, corollary 3.9; tran2026, theorem 4.3"
    least = MappingProxyType({"kv_heads": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kv_heads:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.heads < 1 or self.heads % self.kv_heads:
            raise ShapeError(f"{self}: {self.kv_heads} key heads must divide {self.heads} query heads")

    def output(self, *signals: Signal) -> Sequence[Signal]:
        q, k, v = signals
        for s, n in ((q, self.heads), (k, self.kv_heads), (v, self.kv_heads)):
            if s.features % n or len(s.space) != 1 or s.channels_first:
                raise ShapeError(
                    f"{self} reads tokens in {n} heads but gets {s}; make the width a multiple of the heads"
                )
        if q.features // self.heads != k.features // self.kv_heads:
            raise ShapeError(
                f"{self}: queries have {q.features // self.heads} features per head, keys {k.features // self.kv_heads}"
            )
        if k.space != v.space:
            raise ShapeError(f"{self}: keys have {k.space[0]} tokens, values {v.space[0]}")
        return (q.with_features(v.features // self.kv_heads * self.heads),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return AttentionRule(self.heads, self.kv_heads, self.softmax)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        copies = self.heads // self.kv_heads
        q, k, v = (_split_heads(t, n) for t, n in zip(x, (self.heads, self.kv_heads, self.kv_heads), strict=True))
        if copies > 1:
            k, v = k.repeat_interleave(copies, 1), v.repeat_interleave(copies, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if self.causal:
            rows, cols = scores.shape[-2:]
            mask = torch.ones(rows, cols, dtype=torch.bool, device=scores.device).tril(cols - rows)
            scores = scores.masked_fill(~mask, -math.inf if self.softmax else 0.0)
        weights = torch.softmax(scores, -1) if self.softmax else scores
        y = weights @ v
        return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)

    def shrunk(self) -> DotProductAttention:
        """At most two key heads and two query heads for each."""
        kv = min(self.kv_heads, 2)
        return dataclasses.replace(self, heads=kv * min(self.heads // self.kv_heads, 2), kv_heads=kv)

    def width_multiple(self, port: int) -> int:
        return 2 * (self.kv_heads if port in (1, 2) else self.heads)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        copies = Fraction(self.heads, self.kv_heads)
        return [WidthRelation(1, {0: 1 / copies}), WidthRelation(-1, {2: copies})]


def _split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


@dataclass(frozen=True, eq=False, repr=False)
class Rotary(Block):
    """Rotates planes of every head by angles that grow with the position (RoPE).

    Args:
        heads: heads on the wire.
        base: base of the geometric sequence of frequencies.
        interleaved: planes are neighbouring features (GPT-J) and not the two halves of a head (Llama).

    Law: one scalar per plane, `||Q_j||^2 - ||K_j||^2` (Tran et al. 2026, theorem 4.4).
    """

    heads: int = 1
    base: float = 10000.0
    interleaved: bool = False

    summary = "planes rotated by position"
    source = "tran2026, theorem 4.4"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.features % (2 * self.heads) or len(s.space) != 1 or s.channels_first:
            raise ShapeError(f"{self} reads tokens in {self.heads} heads of even width but gets {s}")
        return (s,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return RotaryRule(self.heads, inputs[0].features // self.heads, self.interleaved)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        batch, tokens, features = x[0].shape
        width = features // self.heads
        y = x[0].reshape(batch, tokens, self.heads, width)
        half = width // 2
        if self.interleaved:
            a, b = y[..., 0::2], y[..., 1::2]
        else:
            a, b = y[..., :half], y[..., half:]
        frequency = self.base ** (-torch.arange(half, dtype=y.dtype, device=y.device) / half)
        angle = torch.arange(tokens, dtype=y.dtype, device=y.device)[:, None, None] * frequency
        c, s = torch.cos(angle), torch.sin(angle)
        u, v = a * c - b * s, a * s + b * c
        z = torch.stack([u, v], -1).flatten(-2) if self.interleaved else torch.cat([u, v], -1)
        return z.reshape(batch, tokens, features)

    def shrunk(self) -> Rotary:
        """At most two heads; where attention reads it, its heads are those of the attention."""
        return dataclasses.replace(self, heads=min(self.heads, 2))

    def width_multiple(self, port: int) -> int:
        return 4 * self.heads  # two frequencies
