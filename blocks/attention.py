"""The core of attention and rotary position."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.gauge.rules import AttentionRule, Rule

from .base import Block, Net, Parallel, ShapeError, Signal, Spec, WidthRelation
from .linear import Linear
from .numbers import Numbers
from .relative import bucket_sets, buckets
from .run import Run

SCORES = ("softmax", "linear", "relu", "relu2", "sigmoid")
DEGREE = {"linear": 1, "relu": 1, "relu2": 2}


@dataclass(frozen=True, eq=False, repr=False)
class DotProductAttention(Block):
    """`weights(q k^T * scale + bias) v` per head; ports q, k, v of shape `(batch, ..., tokens, heads * head width)`.

    Axes between the batch and the tokens (windows) are kept apart.  With `relative`, a fourth port reads a table of
    biases of shape `(rows, heads)` (see `RelativeBias`).

    Args:
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads (grouped queries).
        causal: whether a token sees only itself and earlier ones.
        scores: how scores become weights: `softmax`, `linear` (as they are), `relu`, `relu2`, `sigmoid`.
        scale: factor of the scores, 0 for `1 / sqrt(head width)`.
        window: how far a token sees, 0 for everything; `window=2` is itself and one neighbour (on each side).
        cap: soft cap of the scores, `cap * tanh(scores / cap)`, 0 for none (Gemma 2).
        sink: `none`, `zero` (one more score of 0 under the softmax) or `learned` (one per head, a parameter).
        alibi: whether a fixed bias grows with the distance, a slope per head (ALiBi).
        relative: rows of the bias table for offsets: `none`, `t5` (logarithmic buckets), `window` (one row for every
            offset in a window of `window_shape`), for example Swin's.
        rows: number of rows of the bias table.
        distance: largest distance that T5 tells apart.
        window_shape: height and width of the window (or its length) for `relative="window"`.
        mask: fixed numbers added to the scores, shape `(queries, keys)` or `(heads, queries, keys)`, `-inf` where a
            query does not see a key.
        index: with `relative="given"`, the row of the bias table for every pair, shape `(queries, keys)`.
        masked: whether one more port, the last, reads a mask that depends on the data: numbers that are added to the
            scores, of shape `(batch, ..., queries or 1, keys)`.
        dropout: probability with which each weight is dropped in training; the weights of a query then no longer sum
            to 1.

    Law: `Q^T Q - K^T K` and `V^T V - O O^T` per head (Marcotte et al. 2025, corollary 3.9; Tran et al. 2026,
    theorem 4.3).
    """

    heads: int = 1
    kv_heads: int = 0
    causal: bool = False
    scores: str = "softmax"
    scale: float = 0.0
    window: int = 0
    cap: float = 0.0
    sink: str = "none"
    alibi: bool = False
    relative: str = "none"
    rows: int = 0
    distance: int = 128
    window_shape: tuple[int, ...] = ()
    mask: Numbers | None = None
    index: Numbers | None = None
    masked: bool = False
    dropout: float = 0.0
    frozen: tuple[str, ...] = ()

    summary = "softmax(q k^T) v per head"
    source = "marcotte2025, corollary 3.9; tran2026, theorem 4.3"
    least = MappingProxyType({"kv_heads": 0, "window": 0, "rows": 0})

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "window_shape", tuple(self.window_shape))
        if not self.kv_heads:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.heads < 1 or self.heads % self.kv_heads:
            raise ShapeError(f"{self}: {self.kv_heads} key heads must divide {self.heads} query heads")
        for name, value, known in (
            ("scores", self.scores, SCORES),
            ("sink", self.sink, ("none", "zero", "learned")),
            ("relative", self.relative, ("none", "t5", "window", "given")),
        ):
            if value not in known:
                raise ShapeError(f"{self} has the {name} {value!r}; there are {', '.join(known)}")
        if not 0 <= self.dropout < 1:
            raise ShapeError(f"{self} has dropout {self.dropout}; give a probability in [0, 1)")
        if self.sink != "none" and self.scores != "softmax":
            raise ShapeError(f"{self}: only a softmax has a sink; leave it out for {self.scores} scores")
        if (self.relative == "t5" and self.rows < 4) or (self.relative == "window" and not self.window_shape):
            raise ShapeError(f"{self}: relative='t5' needs rows=4 or more, relative='window' needs window_shape")
        if (self.relative == "given") != (self.index is not None):
            raise ShapeError(f"{self}: relative='given' and index belong together; give both or neither")
        if self.relative == "window" and self.rows != math.prod(2 * n - 1 for n in self.window_shape):
            object.__setattr__(self, "rows", math.prod(2 * n - 1 for n in self.window_shape))

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Three ports, one for the table of relative biases, and one for a mask."""
        return 3 + (self.relative != "none") + self.masked

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"sink": Spec((self.heads,), 0.5)} if self.sink == "learned" else {}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        q, k, v = signals[:3]
        for s, n in ((q, self.heads), (k, self.kv_heads), (v, self.kv_heads)):
            if s.features % n or not s.space or s.channels_first:
                raise ShapeError(
                    f"{self} reads tokens in {n} heads but gets {s}; make the width a multiple of the heads"
                )
        if q.features // self.heads != k.features // self.kv_heads:
            raise ShapeError(
                f"{self}: queries have {q.features // self.heads} features per head, keys {k.features // self.kv_heads}"
            )
        if k.space != v.space or q.space[:-1] != k.space[:-1]:
            raise ShapeError(f"{self}: keys are at {k.space} positions, values at {v.space}, queries at {q.space}")
        for table in signals[3 : 3 + (self.relative != "none")]:
            if table.features != self.heads or table.space != (self.rows,):
                raise ShapeError(f"{self} reads {self.rows} rows of {self.heads} biases but gets {table}")
        if self.relative == "window" and math.prod(self.window_shape) != q.space[-1]:
            raise ShapeError(f"{self} has windows of {self.window_shape} but gets {q}; make the two agree")
        return (q.with_features(v.features // self.kv_heads * self.heads),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        softmax = self.scores == "softmax"
        plain = not (self.cap or self.alibi or self.relative != "none" or self.masked or self._shifts)
        sets: tuple[int, ...] = ()
        if self.relative != "none":
            sets = _bias_sets(self, inputs[0].space[-1], inputs[1].space[-1])
        return AttentionRule(
            self.heads,
            self.kv_heads,
            power=DEGREE.get(self.scores, 0) if plain else 0,
            linear=self.scores == "linear" and plain and not self.dropout,
            unseen=softmax and self.sink == "none" and not self.cap,
            normalised=softmax and self.sink == "none" and not self.dropout,
            noisy=self.dropout > 0,
            buckets=sets,
            sink=names.get("sink") if not self.cap else None,
            ordered=self.causal,
            keys=inputs[1].space[-1],
            masked=self.masked,
        )

    @property
    def _shifts(self) -> bool:
        """Whether the fixed mask is more than zeros and minus infinity."""
        return self.mask is not None and not bool(torch.isin(self.mask.tensor, torch.tensor([0.0, -math.inf])).all())

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        copies = self.heads // self.kv_heads
        q, k, v = (_split_heads(t, n) for t, n in zip(x[:3], (self.heads, self.kv_heads, self.kv_heads), strict=True))
        if copies > 1:
            k, v = k.repeat_interleave(copies, -3), v.repeat_interleave(copies, -3)
        scores = q @ k.transpose(-1, -2) * (self.scale or q.shape[-1] ** -0.5)
        scores = self._biased(scores, x[3] if self.relative != "none" else None)
        if self.mask is not None:
            scores = scores + self.mask.on(scores)
        if self.masked:
            m = x[-1]
            ones = [1] * (scores.ndim - m.ndim)
            scores = scores + (m.unflatten(0, (m.shape[0], *ones)) if ones else m)
        if self.cap:
            scores = self.cap * torch.tanh(scores / self.cap)
        mask = visible(self, *scores.shape[-2:]).to(scores.device)
        weights = self._weights(scores, mask, p, run)
        if self.dropout and run.training:
            kept = run.gate(weights)
            kept = (torch.rand_like(weights) >= self.dropout).to(weights) if kept is None else kept
            weights = weights * kept / (1 - self.dropout)
        y = (weights @ v).transpose(-2, -3)
        return y.reshape(*y.shape[:-2], -1)

    def _biased(self, scores: torch.Tensor, table: torch.Tensor | None) -> torch.Tensor:
        if self.alibi:
            rows, cols = scores.shape[-2:]
            distance = (torch.arange(cols - rows, cols)[:, None] - torch.arange(cols)).abs().to(scores)
            slopes = 2.0 ** (-8 * torch.arange(1, self.heads + 1).to(scores) / self.heads)
            scores = scores - slopes[:, None, None] * distance
        if table is not None:
            index = buckets(self, *scores.shape[-2:]).to(scores.device)
            bias = table.movedim(-1, 1)[..., index.reshape(-1)].reshape(*table.shape[:-2], self.heads, *index.shape)
            scores = scores + bias.reshape(-1, *[1] * (scores.ndim - 4), *bias.shape[-3:])
        return scores

    def _weights(
        self, scores: torch.Tensor, mask: torch.Tensor, p: Mapping[str, torch.Tensor], run: Run
    ) -> torch.Tensor:
        if self.scores == "softmax":
            scores = scores.masked_fill(~mask, -math.inf)
            if self.sink != "none":
                sink = p["sink"] if self.sink == "learned" else scores.new_zeros(self.heads)
                scores = torch.cat([scores, sink[:, None, None].expand(*scores.shape[:-1], 1)], -1)
            e = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
            weights = e / e.sum(-1, keepdim=True)
            return weights if self.sink == "none" else weights[..., :-1]
        if self.scores == "sigmoid":
            scores = torch.sigmoid(scores)
        elif self.scores in ("relu", "relu2"):
            gate = run.gate(scores, real=lambda: scores > 0)
            scores = torch.relu(scores) if gate is None else scores * gate
            scores = scores**2 if self.scores == "relu2" else scores
        return scores * mask.to(scores.dtype)

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads, self.kv_heads, self.kv_heads)

    def with_heads(self, heads: Sequence[int]) -> DotProductAttention:
        return dataclasses.replace(self, heads=heads[0], kv_heads=heads[1])

    def shrunk(self) -> DotProductAttention:
        """At most two key heads, two query heads for each, a window of two and a few rows of biases."""
        kv = min(self.kv_heads, 2)
        return dataclasses.replace(
            self,
            heads=kv * min(self.heads // self.kv_heads, 2),
            kv_heads=kv,
            window=min(self.window, 2),
            rows=min(self.rows, 4 if self.causal else 6) if self.relative == "t5" else self.rows,
            distance=min(self.distance, 4),
        )

    def width_multiple(self, port: int) -> int:
        return 1 if port >= 3 else 2 * (self.kv_heads if port in (1, 2) else self.heads)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        copies = Fraction(self.heads, self.kv_heads)
        tables = [WidthRelation(3, {}, self.heads)] if self.relative != "none" else []
        if self.masked:
            tables.append(WidthRelation(len(signals) - 1, {}, signals[1].space[-1]))
        return [WidthRelation(1, {0: 1 / copies}), WidthRelation(-1, {2: copies}), *tables]

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


@functools.lru_cache(maxsize=64)  # of long sequences it takes as long as all the rest of a rule
def _bias_sets(block: DotProductAttention, queries: int, keys: int) -> tuple[int, ...]:
    table = buckets(block, queries, keys)
    return bucket_sets(table, block.rows, visible(block, *table.shape))


def visible(block: DotProductAttention, rows: int, cols: int) -> torch.Tensor:
    """Which keys a query sees: a boolean tensor of shape `(queries, keys)`."""
    offset = torch.arange(cols) - (torch.arange(rows)[:, None] + cols - rows)
    mask = torch.ones(rows, cols, dtype=torch.bool)
    if block.causal:
        mask &= offset <= 0
    if block.window:
        mask &= offset.abs() < block.window
    return mask


def _split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)
