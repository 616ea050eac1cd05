"""The core of attention: scores become weights, and weights mix values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import AttentionRule, Rule

from .base import Net, Parallel, ShapeError, Signal, Spec, WidthRelation
from .linear import Linear
from .masks import MaskedScores
from .numbers import Numbers
from .run import Run

SCORES = ("softmax", "linear", "relu", "relu2", "sigmoid")
DEGREE = {"linear": 1, "relu": 1, "relu2": 2}


@dataclass(frozen=True, eq=False, repr=False)
class DotProductAttention(MaskedScores):
    """`weights(q k^T * scale + bias) v` per head; ports q, k, v of shape `(batch, ..., tokens, heads * head width)`.

    Axes between the batch and the tokens (windows) are kept apart.  Heads, masks and biases are told by the fields of
    `lawful.blocks.masks.MaskedScores`: `heads`, `kv_heads` and `causal` first, and by name `window`, `alibi`,
    `relative` with its table (`rows`, `distance`, `window_shape`, `index`), `mask` and `masked`.

    Args:
        scores: how scores become weights: `softmax`, `linear` (as they are), `relu`, `relu2`, `sigmoid`.
        scale: factor of the scores, 0 for `1 / sqrt(head width)`.
        cap: soft cap of the scores, `cap * tanh(scores / cap)`, 0 for none (Gemma 2).
        sink: `none`, `zero` (one more score of 0 under the softmax) or `learned` (one per head, a parameter).
        dropout: probability with which each weight is dropped in training; the weights of a query then no longer sum
            to 1.
        factors: fixed numbers that multiply the weights, shape `(queries, keys)` or `(heads, queries, keys)`: a decay.
        blank: whether a query that sees no key gets zeros, as fused kernels have it, and not what is no number.

    Law: `Q^T Q - K^T K` and `V^T V - O O^T` per head (Marcotte et al. 2025, corollary 3.9; Tran et al. 2026,
    theorem 4.3).
    """

    scores: str = "softmax"
    scale: float = 0.0
    cap: float = 0.0
    sink: str = "none"
    dropout: float = 0.0
    factors: Numbers | None = None
    blank: bool = False
    frozen: tuple[str, ...] = ()

    summary = "softmax(q k^T) v per head"
    source = "marcotte2025, corollary 3.9; tran2026, theorem 4.3"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect_one_of("scores", SCORES)
        self.expect_one_of("sink", ("none", "zero", "learned"))
        if not 0 <= self.dropout < 1:
            raise ShapeError(f"{self} has dropout {self.dropout}; give a probability in [0, 1)")
        if self.sink != "none" and self.scores != "softmax":
            raise ShapeError(f"{self}: only a softmax has a sink; leave it out for {self.scores} scores")

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"sink": Spec((self.heads,), 0.5)} if self.sink == "learned" else {}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        q, k, v = signals[:3]
        for s, n in ((q, self.heads), (k, self.kv_heads), (v, self.kv_heads)):
            if not s.space or s.channels_first:
                raise ShapeError(f"{self} reads features of tokens, features last, but gets {s}")
            if s.features % n:
                raise ShapeError(f"{self} reads {n} heads but gets {s}; make the width a multiple of the heads")
        if q.features // self.heads != k.features // self.kv_heads:
            raise ShapeError(
                f"{self}: queries have {q.features // self.heads} features per head, keys {k.features // self.kv_heads}"
            )
        if k.space != v.space or q.space[:-1] != k.space[:-1]:
            raise ShapeError(f"{self}: keys are at {k.space} positions, values at {v.space}, queries at {q.space}")
        self.expect_biases(signals)
        return (q.with_features(v.features // self.kv_heads * self.heads),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        softmax = self.scores == "softmax"
        plain = not (self.cap or self.biased)
        return AttentionRule(
            self.heads,
            self.kv_heads,
            power=DEGREE.get(self.scores, 0) if plain else 0,
            linear=self.scores == "linear" and plain and not self.dropout and self.heads_alike,
            unseen=softmax and self.sink == "none" and not self.cap,
            normalised=self._normalised(inputs[0].space[-1], inputs[1].space[-1]),
            noisy=self.dropout > 0,
            buckets=self.row_sets(inputs[0].space[-1], inputs[1].space[-1]),
            sink=names.get("sink") if not self.cap else None,
            ordered=self.causal,
            keys=inputs[1].space[-1],
            masked=self.masked,
            heads_alike=self.heads_alike,
        )

    def _normalised(self, queries: int, keys: int) -> bool:
        """Whether the weights of every query sum to 1."""
        if self.scores != "softmax" or self.sink != "none" or self.dropout or self.factors is not None:
            return False
        if not self.blank or self.mask is None:
            return not self.blank or self.all_see(queries, keys)
        return bool((self.visible(queries, keys) & (self.mask.tensor != -math.inf)).any(-1).all())

    @property
    def heads_alike(self) -> bool:
        """Whether fixed numbers are the same for all heads, so that heads may change places."""
        t = None if self.factors is None else self.factors.tensor
        return super().heads_alike and (t is None or t.ndim < 3 or bool((t == t[:1]).all()))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        copies = self.heads // self.kv_heads
        q, k, v = (_split_heads(t, n) for t, n in zip(x[:3], (self.heads, self.kv_heads, self.kv_heads), strict=True))
        if copies > 1:
            k, v = k.repeat_interleave(copies, -3), v.repeat_interleave(copies, -3)
        scores = q @ k.transpose(-1, -2) * (self.scale or q.shape[-1] ** -0.5)
        scores = self.with_biases(scores, x)
        if self.cap:
            scores = self.cap * torch.tanh(scores / self.cap)
        mask = self.visible(*scores.shape[-2:]).to(scores.device)
        weights = self._weights(scores, mask, p, run)
        weights = weights if self.factors is None else weights * self.factors.on(weights)
        if self.dropout and run.training:
            kept = run.gate(weights)
            kept = (torch.rand_like(weights) >= self.dropout).to(weights) if kept is None else kept
            weights = weights * kept / (1 - self.dropout)
        y = (weights @ v).transpose(-2, -3)
        return y.reshape(*y.shape[:-2], -1)

    def _weights(
        self, scores: torch.Tensor, mask: torch.Tensor, p: Mapping[str, torch.Tensor], run: Run
    ) -> torch.Tensor:
        if self.scores == "softmax":
            scores = scores.masked_fill(~mask, -math.inf)
            if self.sink != "none":
                sink = p["sink"] if self.sink == "learned" else scores.new_zeros(self.heads)
                scores = torch.cat([scores, sink[:, None, None].expand(*scores.shape[:-1], 1)], -1)
            top = scores.detach().amax(-1, keepdim=True)
            e = torch.exp(scores - (top.masked_fill(top == -math.inf, 0) if self.blank else top))
            total = e.sum(-1, keepdim=True)
            weights = e / (total.masked_fill(total == 0, 1) if self.blank else total)
            return weights if self.sink == "none" else weights[..., :-1]
        if self.scores == "sigmoid":
            scores = torch.sigmoid(scores)
        elif self.scores in ("relu", "relu2"):
            gate = run.gate(scores, real=lambda: scores > 0)
            scores = torch.relu(scores) if gate is None else scores * gate
            scores = scores**2 if self.scores == "relu2" else scores
        return scores * mask.to(scores.dtype)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        copies = Fraction(self.heads, self.kv_heads)
        return [WidthRelation(1, {0: 1 / copies}), WidthRelation(-1, {2: copies}), *super().width_relations(signals)]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        if len(signal.space) != 1 or signal.channels_first or signal.tokens or signal.space[0] < 3:
            return ()

        def around(core: DotProductAttention) -> Net:
            q, k = (Linear(signal.features, 2 * n, False) for n in (core.heads, core.kv_heads))
            return Parallel((("q", q), ("k", k), ("v", Linear(signal.features, 2 * core.kv_heads))), core)

        options: list[dict[str, Any]] = [
            {"scores": "relu"},
            {"scores": "sigmoid"},
            {"scores": "relu2"},
            {"cap": 2.0},
            {"sink": "zero"},
            {"dropout": 0.4},
            {"sink": "learned"},
            {"alibi": True},
            {"window": 2},
            {"heads": 2, "kv_heads": 1, "scores": "relu"},
        ]
        return [around(cls(**o)) for o in options]


def _split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)
