"""Settings with attention, tables, routers and cut feature axes."""

from __future__ import annotations

from typing import Any

from lawful import blocks as b

from .settings import BALANCE, SHIFT, Setting, linear, relu_branch, tokens

TABLE = "marcotte2025, section 3"
ATTENTION = "marcotte2025, corollary 3.9; tran2026, theorem 4.3"


def attention_settings() -> list[Setting]:
    """Attention with everything that changes its laws."""
    per_head = {"n": 2, "h": 2, "d": 2}

    def heads(name: str, title: str, sizes: dict[str, int], source: str = ATTENTION, **options: Any) -> Setting:
        def build(n: int, d: int, h: int = 1, g: int = 1) -> b.Net:
            return b.SelfAttention(n, h * g, h if "g" in sizes else 0, d, **options)

        return Setting(name, title, "SelfAttention", build, sizes, input=lambda n, **_: tokens(n), source=source)

    def rotary(name: str, title: str, sizes: dict[str, int], grouped: bool = False) -> Setting:
        def build(n: int, r: int, h: int = 1, g: int = 1) -> b.Net:
            return b.SelfAttention(n, h * g, h, 2 * r, rotary=100.0)

        source = "tran2026, theorem 4.4; marcotte2025, corollary 3.9"
        return Setting(
            name,
            title,
            "Rotary",
            build,
            sizes,
            input=lambda n, **_: tokens(n),
            source=source,
            hypotheses=("r planes of different frequencies per head",),
        )

    return [
        heads("attention", "softmax attention, one head", {"n": 3, "d": 2}),
        heads("attention-bias", "softmax attention with biases", {"n": 3, "d": 2}, bias=True),
        heads("causal-attention", "causal softmax attention", {"n": 3, "d": 2}, causal=True),
        heads("multi-head-attention", "softmax attention with h heads", per_head),
        heads("grouped-queries", "h key heads, each for g query heads", {"n": 2, "d": 2, "h": 2, "g": 2}),
        heads("linear-attention", "attention without softmax", {"n": 2, "d": 2}, softmax=False, source=BALANCE),
        rotary("rotary", "attention with rotary positions, one head of width 2 r", {"n": 3, "r": 2}),
    ]


def table_settings() -> list[Setting]:
    """Embeddings, positions, class tokens and heads that share a table."""

    def tied(v: int, n: int, h: int) -> b.Net:
        table = b.Embedding(v, n)
        return b.chain(table=table, block=b.residual(relu_branch(n, h)), head=b.TiedHead(table))

    return [
        Setting(
            "embedding",
            "a token table and a linear map",
            "Embedding",
            lambda v, n, p: b.chain(E=b.Embedding(v, n), U=linear(n, p)),
            {"v": 3, "n": 2, "p": 2},
            space=(3,),
            least={"v": 3},
        ),
        Setting(
            "position",
            "a token table and a learned position",
            "LearnedPosition",
            lambda v, n, p: b.chain(E=b.Embedding(v, n), P=b.LearnedPosition(3, n), U=linear(n, p)),
            {"v": 4, "n": 2, "p": 2},
            space=(3,),
            least={"v": 3},
            source=TABLE,
        ),
        Setting(
            "class-token",
            "a class token and positions before attention, read at the class token",
            "ClassToken",
            lambda m, n, p: b.chain(
                patch=linear(m, n, True),
                token=b.ClassToken(n),
                position=b.LearnedPosition(4, n),
                mix=b.residual(b.SelfAttention(n, 1)),
                read=b.SelectToken(0),
                head=linear(n, p),
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: tokens(m),
            source=BALANCE,
        ),
        Setting(
            "tied-head",
            "a language model whose head reads the token table",
            "TiedHead",
            tied,
            {"v": 4, "n": 2, "h": 2},
            space=(3,),
            loss="cross_entropy",
            least={"v": 3},
            source=BALANCE,
        ),
        Setting(
            "transformer-block",
            "a pre-LayerNorm Transformer with a GELU MLP",
            "TransformerLayer",
            lambda v, n, h, p: b.chain(
                E=b.Embedding(v, n),
                layer=b.TransformerLayer(n, 1, h, bias=False, causal=True, epsilon=0.0),
                norm=b.LayerNorm(n, epsilon=0.0),
                head=linear(n, p),
            ),
            {"v": 3, "n": 3, "h": 2, "p": 3},
            space=(3,),
            loss="cross_entropy",
            least={"v": 3, "n": 3, "p": 3},
            source=BALANCE,
        ),
    ]


def routing_settings() -> list[Setting]:
    """Routers, and feature axes that are joined or cut."""

    def experts(n: int, h: int, e: int) -> b.Net:
        return b.MixtureOfExperts(n, [relu_branch(n, h) for _ in range(e)])

    return [
        Setting(
            "mixture",
            "ReLU experts behind a dense softmax router",
            "MixtureOfExperts",
            experts,
            {"n": 2, "h": 2, "e": 2},
            input=lambda n, h, e: b.Signal(n),
            source="tran2026, theorem 4.5",
            linear_source="tran2026, theorem 4.5",
        ),
        Setting(
            "concat",
            "one layer with two readers, side by side",
            "Concat",
            lambda m, n, k, p: b.chain(
                W=linear(m, n),
                act=b.ReLU(),
                both=b.parallel(
                    A=linear(n, k), B=b.chain(up=linear(n, k), act=b.ReLU(), down=linear(k, k)), join=b.Concat()
                ),
                V=linear(2 * k, p),
            ),
            {"m": 2, "n": 2, "k": 2, "p": 4},
            source=BALANCE,
        ),
        Setting(
            "split",
            "one map cut into a gate and a value",
            "Split",
            lambda m, n, p: b.chain(
                W=linear(m, 2 * n),
                glu=b.Wiring(
                    {"cut": b.Split((n, n)), "act": b.ReLU(), "product": b.Product()},
                    {"cut": ("input",), "act": ("cut:0",), "product": ("act", "cut:1")},
                    ("product",),
                ),
                V=linear(n, p),
            ),
            {"m": 2, "n": 2, "p": 2},
            source=BALANCE,
        ),
        Setting(
            "parallel-biases",
            "two branches whose biases enter as a sum",
            "parallel",
            lambda m, n, p: b.parallel(
                A=linear(m, p, True), B=b.chain(W=linear(m, n), act=b.ReLU(), V=linear(n, p, True))
            ),
            {"m": 2, "n": 2, "p": 2},
            input=lambda m, n, p: b.Signal(m),
            source=BALANCE,
            linear_source=SHIFT,
        ),
    ]
