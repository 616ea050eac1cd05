"""Settings with attention and everything that changes its laws."""

from __future__ import annotations

from typing import Any

from lawful import blocks as b

from .setting import BALANCE, SHIFT, Setting, linear, tokens

ATTENTION = "marcotte2025, corollary 3.9; tran2026, theorem 4.3"
ROTARY = "tran2026, theorem 4.4; marcotte2025, corollary 3.9"
ONE = {"n": 3, "d": 2}


def _heads(name: str, title: str, sizes: dict[str, int], source: str = ATTENTION, **options: Any) -> Setting:
    """Self-attention with `h` key heads and `g` query heads for each."""

    def build(n: int, d: int, h: int = 1, g: int = 1) -> b.Net:
        return b.SelfAttention(n, h * g, h if "g" in sizes else 0, d, **options)

    return Setting(name, title, "SelfAttention", build, sizes, input=lambda n, **_: tokens(n), source=source)


def attention_settings() -> list[Setting]:
    """Heads, biases, rotary positions, norms of queries and keys."""

    def rotary(name: str, title: str, sizes: dict[str, int]) -> Setting:
        def build(n: int, r: int, k: int = 0, h: int = 1) -> b.Net:
            return b.SelfAttention(n, h, 0, 2 * r + k, rotary=100.0, rotated=2 * r if k else 0)

        return Setting(
            name,
            title,
            "Rotary",
            build,
            sizes,
            input=lambda n, **_: tokens(n),
            source=ROTARY,
            hypotheses=("r planes of different frequencies per head",),
        )

    def shared(n: int, r: int, c: int, d: int) -> b.Net:
        q, k = (b.chain(proj=linear(n, 2 * r * c), rotary=b.Rotary(base=100.0, shared=c)) for _ in "qk")
        heads = b.parallel(q=q, k=k, v=linear(n, d), join=b.DotProductAttention())
        return b.chain(heads=heads, out=linear(d, n))

    def normed(name: str, title: str, norm: str) -> Setting:
        return Setting(
            name,
            title,
            "HeadNorm",
            lambda n, d, h: b.SelfAttention(n, h, 0, d, qk_norm=norm, epsilon=0.0),
            {"n": 2, "d": 3, "h": 2},
            input=lambda n, **_: tokens(n),
            least={"d": 3},
            source=f"{BALANCE}; kunin2021, theorem 1",
        )

    return [
        _heads("attention", "softmax attention, one head", ONE),
        _heads("attention-bias", "softmax attention with biases", ONE, bias=True),
        _heads("packed-attention", "softmax attention, queries, keys and values from one map", ONE, packed=True),
        _heads("causal-attention", "causal softmax attention", ONE, causal=True),
        _heads("multi-head-attention", "softmax attention with h heads", {"n": 2, "h": 2, "d": 2}),
        _heads("grouped-queries", "h key heads, each for g query heads", {"n": 2, "d": 2, "h": 2, "g": 2}),
        rotary("rotary", "attention with rotary positions, one head of width 2 r", {"n": 3, "r": 2}),
        rotary("rotary-heads", "attention with rotary positions, h heads of width 2 r", {"n": 2, "r": 2, "h": 2}),
        rotary(
            "partial-rotary",
            "attention with rotary positions on 2 r of 2 r + k features",
            {"n": 3, "r": 2, "k": 2},
        ),
        Setting(
            "shared-rotary",
            "scores with rotary positions, c planes for each of r frequencies",
            "Rotary",
            shared,
            {"n": 3, "r": 2, "c": 2, "d": 2},
            input=lambda n, **_: tokens(n),
            ample=("n",),
            source="wire-balance theorem (lawful), after tran2026, theorem 4.4",
            hypotheses=("r different frequencies per head, each of c neighbouring planes",),
        ),
        normed("qk-rmsnorm", "attention with RMSNorm of queries and keys, one gain for all heads", "rms"),
        normed("qk-layernorm", "attention with LayerNorm of queries and keys, gain and shift for all heads", "layer"),
        normed("qk-l2norm", "attention with queries and keys of norm 1", "l2"),
    ]


def score_settings() -> list[Setting]:
    """How scores become weights, and what is added to them."""

    def score(name: str, title: str, source: str = ATTENTION, **options: Any) -> Setting:
        def build(n: int, d: int) -> b.Net:
            return b.SelfAttention(n, 1, 0, d, **options)

        return Setting(name, title, "DotProductAttention", build, ONE, input=lambda n, d: tokens(n), source=source)

    return [
        _heads("linear-attention", "attention without softmax", {"n": 2, "d": 2}, BALANCE, scores="linear"),
        score("relu-attention", "attention with weights relu(q k)", BALANCE, scores="relu"),
        score("squared-relu-attention", "attention with weights relu(q k)^2", BALANCE, scores="relu2"),
        score("sigmoid-attention", "attention with weights sigmoid(q k)", scores="sigmoid"),
        score("capped-attention", "softmax attention with a soft cap of the scores", cap=2.0),
        score("window-attention", "softmax attention to itself and one neighbour on each side", window=2),
        score("alibi", "softmax attention with a fixed bias that grows with the distance", alibi=True),
        score("zero-sink", "softmax attention with one more score of 0", bias=True, sink="zero"),
        score("learned-sink", "softmax attention with one more trained score", bias=True, sink="learned"),
        Setting(
            "relative-bias",
            "softmax attention with a trained bias for every offset in a window",
            "DotProductAttention",
            lambda n, d, h: b.SelfAttention(n, h, 0, d, relative="window", window_shape=(3,), table=b.Table(5, h)),
            {"n": 2, "d": 2, "h": 2},
            input=lambda n, d, h: tokens(n),
            source=ATTENTION,
            linear_source=SHIFT,
        ),
        Setting(
            "t5-bias",
            "causal softmax attention with a trained bias for buckets of distances",
            "DotProductAttention",
            lambda n, d: b.SelfAttention(
                n, 1, 0, d, causal=True, relative="t5", rows=4, distance=4, table=b.Table(4, 1)
            ),
            ONE,
            input=lambda n, d: tokens(n, 4),
            source=ATTENTION,
            linear_source=SHIFT,
        ),
        Setting(
            "attention-residual",
            "softmax attention in a residual branch between linear maps",
            "SelfAttention",
            lambda m, n, d, p: b.chain(
                stem=linear(m, n), block=b.residual(b.SelfAttention(n, 1, 0, d)), head=linear(n, p)
            ),
            {"m": 2, "n": 2, "d": 2, "p": 2},
            input=lambda m, n, d, p: tokens(m),
            source=BALANCE,
        ),
    ]
