"""Decoder-only transformers on text that differ in how a layer is wired: GPT-J, GPT-NeoX, Qwen3, Gemma 2."""

from __future__ import annotations

import math

from lawful.blocks import (
    MLP,
    Embedding,
    GatedLinearUnit,
    LayerNorm,
    Linear,
    Net,
    Pointwise,
    RMSNorm,
    Scale,
    SelfAttention,
    SwiGLU,
    TiedHead,
    chain,
    parallel,
    repeat,
    residual,
)

from ..architecture.architecture import Architecture
from .language import check_heads


def gptj(
    layers: int = 28,
    width: int = 4096,
    heads: int = 16,
    rotated: int = 64,
    hidden: int = 0,
    vocabulary: int = 50400,
    context: int = 2048,
) -> Architecture:
    """GPT-J, 6B by default: 6,050,882,784 parameters.

    Attention and MLP of a layer read one LayerNorm and write side by side; the first features of every head are rotated
    in neighbouring pairs.  The projections of attention have no biases, MLP and head have.

    Args:
        layers: layers of causal attention and a GELU (tanh) MLP.
        width: features of the stream.
        heads: attention heads.
        rotated: features of a head that are rotated.
        hidden: hidden features of the MLPs, `4 * width` by default.
        vocabulary: number of tokens.
        context: number of positions.

    Returns:
        The architecture, without dropout; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width, or have fewer features than are rotated.

    Source: Wang, Komatsuzaki, *GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model* (2021).
    """
    check_heads(width, heads)

    def layer() -> Net:
        attention = SelfAttention(width, heads, causal=True, rotary=10000.0, rotated=rotated, interleaved=True)
        mlp = MLP(width, hidden or 4 * width, Pointwise("gelu_tanh"))
        return residual(chain(norm=LayerNorm(width), both=parallel(attention=attention, mlp=mlp)))

    net = chain(
        embedding=Embedding(vocabulary, width),
        layers=repeat([layer() for _ in range(layers)]),
        norm=LayerNorm(width),
        head=Linear(width, vocabulary),
    )
    return Architecture(net, space=(context,))


def gpt_neox(
    layers: int = 44,
    width: int = 6144,
    heads: int = 64,
    rotated: int = 24,
    hidden: int = 0,
    vocabulary: int = 50432,
    context: int = 2048,
) -> Architecture:
    """GPT-NeoX, 20B by default: 20,554,567,680 parameters.

    Attention and MLP of a layer have a LayerNorm each and write side by side; a quarter of every head is rotated.  The
    published weights hold queries, keys and values in one matrix whose rows alternate head by head; here they are
    three matrices with the same rows, hence with the same laws.

    Args:
        layers: layers of causal attention and a GELU MLP, all with biases.
        width: features of the stream.
        heads: attention heads.
        rotated: features of a head that are rotated.
        hidden: hidden features of the MLPs, `4 * width` by default.
        vocabulary: number of tokens, padded.
        context: number of positions.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width, or have fewer features than are rotated.

    Source: Black et al., *GPT-NeoX-20B: An Open-Source Autoregressive Language Model* (2022), section 2.1.
    """
    check_heads(width, heads)

    def layer() -> Net:
        attention = SelfAttention(width, heads, bias=True, causal=True, rotary=10000.0, rotated=rotated)
        mlp = MLP(width, hidden or 4 * width, Pointwise("gelu"))
        return residual(
            parallel(
                attention=chain(norm=LayerNorm(width), attention=attention), mlp=chain(norm=LayerNorm(width), mlp=mlp)
            )
        )

    net = chain(
        embedding=Embedding(vocabulary, width),
        layers=repeat([layer() for _ in range(layers)]),
        norm=LayerNorm(width),
        head=Linear(width, vocabulary, bias=False),
    )
    return Architecture(net, space=(context,))


def pythia(layers: int = 12, width: int = 768, heads: int = 12, vocabulary: int = 50304) -> Architecture:
    """Pythia, 160M by default: 162,322,944 parameters; the wiring of `gpt_neox`, a quarter of every head rotated.

    The 6.9B model is `pythia(layers=32, width=4096, heads=32, vocabulary=50432)`, 6,857,302,016 parameters.

    Args:
        layers: as in `gpt_neox`.
        width: as in `gpt_neox`.
        heads: as in `gpt_neox`.
        vocabulary: number of tokens, padded.

    Returns:
        The architecture; it reads 2048 tokens.

    Raises:
        ShapeError: if the heads do not divide the width.

    Source: Biderman et al., *Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling* (2023),
    section 2.
    """
    check_heads(width, heads)
    return gpt_neox(layers, width, heads, width // heads // 4, vocabulary=vocabulary)


def qwen3(
    layers: int = 28,
    width: int = 1024,
    heads: int = 16,
    kv_heads: int = 8,
    head_width: int = 128,
    hidden: int = 3072,
    vocabulary: int = 151936,
    context: int = 32768,
    tied: bool = True,
) -> Architecture:
    """Qwen3, 0.6B by default: 596,049,920 parameters.

    Every query and key head has an RMSNorm, with one gain for the queries and one for the keys of a layer.  The 8B
    model is `qwen3(36, 4096, 32, 8, 128, 12288, tied=False)`, 8,190,735,360 parameters.

    Args:
        layers: layers of causal attention with rotary position and a SwiGLU MLP, RMSNorm before each.
        width: features of the stream.
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads.
        head_width: features per head.
        hidden: hidden features of the MLPs.
        vocabulary: number of tokens.
        context: number of positions.
        tied: whether the head is the embedding.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the key heads do not divide the query heads.

    Source: Yang et al., *Qwen3 Technical Report* (2025), section 2.
    """
    embedding = Embedding(vocabulary, width)

    def layer() -> Net:
        attention = SelfAttention(width, heads, kv_heads, head_width, causal=True, rotary=1e6, qk_norm="rms")
        return chain(
            attention=residual(chain(norm=RMSNorm(width), attention=attention)),
            mlp=residual(chain(norm=RMSNorm(width), mlp=SwiGLU(width, hidden))),
        )

    net = chain(
        embedding=embedding,
        layers=repeat([layer() for _ in range(layers)]),
        norm=RMSNorm(width),
        head=TiedHead(embedding) if tied else Linear(width, vocabulary, bias=False),
    )
    return Architecture(net, space=(context,))


def gemma2(
    layers: int = 26,
    width: int = 2304,
    heads: int = 8,
    kv_heads: int = 4,
    head_width: int = 256,
    hidden: int = 9216,
    vocabulary: int = 256000,
    context: int = 8192,
    window: int = 4096,
    query_width: int = 0,
) -> Architecture:
    """Gemma 2, 2B by default: 2,614,341,888 parameters.

    RMSNorm before and after each branch, soft caps on scores and logits, and a tied head; every other layer sees a
    window only.  The published gains are stored as `w` with `gain = 1 + w`: a law with `gain` in it has `1 + w` there.
    The 9B model is `gemma2(42, 3584, 16, 8, 256, 14336)`, 9,241,705,984 parameters.

    Args:
        layers: layers of causal attention with rotary position and a gated MLP (GELU tanh).
        width: features of the stream.
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads.
        head_width: features per head.
        hidden: hidden features of the MLPs.
        vocabulary: number of tokens.
        context: number of positions.
        window: how many tokens the layers 0, 2, 4, ... see.
        query_width: scores are divided by its root, `head_width` by default (144 for the 27B model).

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the key heads do not divide the query heads.

    Source: Gemma Team, *Gemma 2: Improving Open Language Models at a Practical Size* (2024), section 2.
    """
    embedding = Embedding(vocabulary, width)
    scale = query_width**-0.5 if query_width else 0.0

    def layer(i: int) -> Net:
        seen = 0 if i % 2 else window
        attention = SelfAttention(
            width, heads, kv_heads, head_width, causal=True, rotary=10000.0, cap=50.0, window=seen, scale=scale
        )
        mlp = GatedLinearUnit(width, hidden, Pointwise("gelu_tanh"))
        return chain(
            attention=residual(chain(norm=RMSNorm(width), attention=attention, post=RMSNorm(width))),
            mlp=residual(chain(norm=RMSNorm(width), mlp=mlp, post=RMSNorm(width))),
        )

    net = chain(
        embedding=embedding,
        scale=Scale(math.sqrt(width)),
        layers=repeat([layer(i) for i in range(layers)]),
        norm=RMSNorm(width),
        head=TiedHead(embedding),
        cap=chain(down=Scale(1 / 30), tanh=Pointwise("tanh"), up=Scale(30.0)),
    )
    return Architecture(net, space=(context,))
