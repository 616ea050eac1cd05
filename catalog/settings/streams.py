"""Settings with the residual stream: one wire with many writers and readers, and whole Transformer layers."""

from __future__ import annotations

from collections.abc import Callable

from lawful import blocks as b

from .setting import BALANCE, Builder, Setting, linear, relu_branch, tokens

Norm = Callable[[int], b.Net]


def stream_settings() -> list[Setting]:
    """Residual networks without and with norms."""
    core, rms = b.LayerNormCore, b.RMSNormCore
    sizes = {"m": 2, "n": 2, "h": 2, "p": 2}
    wide, least = {"m": 2, "n": 4, "h": 3, "p": 2}, {"n": 3}

    def stem_head(block: Callable[[int, int], b.Net], end: Norm | None = None) -> Builder:
        def build(m: int, n: int, h: int, p: int) -> b.Net:
            middle = {"block": block(n, h)} | ({"norm": end(n)} if end else {})
            return b.chain(stem=linear(m, n), **middle, head=linear(n, p))

        return build

    def before(norm: Norm) -> Callable[[int, int], b.Net]:
        return lambda n, h: b.residual(b.chain(norm=norm(n), mlp=relu_branch(n, h)))

    return [
        Setting(
            "residual",
            "two residual blocks without stem and head",
            "residual",
            lambda n, h, k: b.chain(one=b.residual(relu_branch(n, h)), two=b.residual(relu_branch(n, k))),
            {"n": 3, "h": 2, "k": 2},
            input=lambda n, h, k: b.Signal(n),
            source="marcotte2025, proposition 3.2 and theorem 4.7",
            hypotheses=("a residual junction adds no law and forbids those that straddle it",),
        ),
        Setting(
            "stream",
            "the stream of a residual network",
            "residual",
            stem_head(lambda n, h: b.residual(relu_branch(n, h))),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "stream-relu",
            "the stream of a residual network with ReLU before every reader",
            "residual",
            lambda m, n, h, p: b.chain(
                stem=linear(m, n),
                block=b.residual(b.chain(pre=b.ReLU(), mlp=relu_branch(n, h))),
                last=b.ReLU(),
                head=linear(n, p),
            ),
            sizes,
            source=BALANCE,
        ),
        Setting(
            "stream-layernorm",
            "the stream of a pre-LayerNorm network",
            "residual",
            stem_head(before(lambda n: core(n, 0.0)), lambda n: core(n, 0.0)),
            wide,
            least=least,
            source=BALANCE,
        ),
        Setting(
            "stream-rmsnorm",
            "the stream of a pre-RMSNorm network",
            "residual",
            stem_head(before(lambda n: rms(n, 0.0)), lambda n: rms(n, 0.0)),
            wide,
            least=least,
            source=BALANCE,
        ),
    ]


def transformer_settings() -> list[Setting]:
    """Transformer layers with norms before and after, and attention to a memory."""
    sizes, least = {"v": 3, "n": 3, "h": 2, "p": 3}, {"v": 3, "n": 3, "p": 3}

    def model(layer: Callable[[int, int], b.Net], norm: Norm | None) -> Builder:
        def build(v: int, n: int, h: int, p: int) -> b.Net:
            last = {"norm": norm(n)} if norm else {}
            return b.chain(E=b.Embedding(v, n), layer=layer(n, h), **last, head=linear(n, p))

        return build

    def rms_layer(n: int, h: int) -> b.Net:
        attention = b.chain(norm=b.RMSNorm(n, epsilon=0.0), attention=b.SelfAttention(n, 1, causal=True))
        mlp = b.chain(norm=b.RMSNorm(n, epsilon=0.0), mlp=b.SwiGLU(n, h))
        return b.chain(attention=b.residual(attention), mlp=b.residual(mlp))

    return [
        Setting(
            "transformer-block",
            "a pre-LayerNorm Transformer with a GELU MLP",
            "TransformerLayer",
            model(
                lambda n, h: b.TransformerLayer(n, 1, h, bias=False, causal=True, epsilon=0.0),
                lambda n: b.LayerNorm(n, epsilon=0.0),
            ),
            sizes,
            space=(3,),
            loss="cross_entropy",
            least=least,
            source=BALANCE,
        ),
        Setting(
            "post-norm-transformer",
            "a post-LayerNorm Transformer with a ReLU MLP",
            "TransformerLayer",
            model(lambda n, h: b.TransformerLayer(n, 1, h, b.ReLU(), bias=False, epsilon=0.0, post=True), None),
            sizes,
            space=(3,),
            loss="cross_entropy",
            least=least,
            source=BALANCE,
        ),
        Setting(
            "llama-block",
            "a pre-RMSNorm Transformer with SwiGLU",
            "SwiGLU",
            model(rms_layer, lambda n: b.RMSNorm(n, epsilon=0.0)),
            sizes,
            space=(3,),
            loss="cross_entropy",
            least=least,
            source=BALANCE,
        ),
        Setting(
            "cross-attention",
            "attention of a stream to a memory",
            "CrossAttention",
            lambda n, k, d: b.CrossAttention(n, 1, k, head_width=d),
            {"n": 2, "k": 3, "d": 2},
            input=lambda n, k, d: (tokens(n), tokens(k, 4)),
            source="marcotte2025, corollary 3.9; tran2026, theorem 4.3",
        ),
    ]
