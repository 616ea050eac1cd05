"""Decoder-only transformers whose MLPs are mixtures of experts: Mixtral and DeepSeekMoE."""

from __future__ import annotations

from lawful.blocks import (
    Embedding,
    Linear,
    MixtureOfExperts,
    Net,
    RMSNorm,
    Router,
    SelfAttention,
    SwiGLU,
    chain,
    repeat,
    residual,
)

from ..architecture.architecture import Architecture
from .language import check_heads


def mixtral(
    layers: int = 32,
    width: int = 4096,
    heads: int = 32,
    kv_heads: int = 8,
    hidden: int = 14336,
    experts: int = 8,
    top: int = 2,
    vocabulary: int = 32000,
    context: int = 32768,
) -> Architecture:
    """Mixtral, 8x7B by default: 46,702,792,704 parameters.

    Args:
        layers: layers of causal attention with rotary position and a mixture of SwiGLU MLPs, RMSNorm before each.
        width: features of the stream.
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads.
        hidden: hidden features of an expert.
        experts: number of experts.
        top: how many of them a token passes; their weights are a softmax over these.
        vocabulary: number of tokens.
        context: number of positions.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width, or the key heads the query heads.

    Source: Jiang et al., *Mixtral of Experts* (2024), section 2.
    """
    check_heads(width, heads)

    def layer() -> Net:
        attention = SelfAttention(width, heads, kv_heads, causal=True, rotary=1e6)
        mixture = MixtureOfExperts(width, [SwiGLU(width, hidden) for _ in range(experts)], Router(top=top))
        return _layer(width, 1e-5, attention, mixture)

    return _decoder([layer() for _ in range(layers)], width, vocabulary, context, 1e-5)


def deepseek_moe(
    layers: int = 28,
    width: int = 2048,
    heads: int = 16,
    hidden: int = 1408,
    experts: int = 64,
    top: int = 6,
    shared: int = 2,
    dense_hidden: int = 10944,
    vocabulary: int = 102400,
    context: int = 4096,
    gate: str = "softmax",
) -> Architecture:
    """DeepSeekMoE, 16B by default: 16,375,728,128 parameters.

    The first layer has a dense MLP, every other one a mixture of small experts and some that every token passes.

    Args:
        layers: layers of causal attention with rotary position and a mixture of SwiGLU MLPs, RMSNorm before each.
        width: features of the stream.
        heads: attention heads.
        hidden: hidden features of an expert.
        experts: number of routed experts.
        top: how many of them a token passes.
        shared: number of experts that every token passes; they are one MLP of so many times the hidden features.
        dense_hidden: hidden features of the MLP of the first layer.
        vocabulary: number of tokens.
        context: number of positions.
        gate: `softmax` over all experts (DeepSeekMoE), or `normalised_sigmoid`: sigmoid weights divided by the sum of
            those chosen (the router of DeepSeek-V3, whose bias for balancing the load is not trained by the gradient).

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width, and for an unknown gate.

    Source: Dai et al., *DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language Models*
    (2024), sections 3 and 5; DeepSeek-AI, *DeepSeek-V3 Technical Report* (2024), section 2.1.2.
    """
    check_heads(width, heads)
    router = Router(gate, top, renormalise=gate != "softmax")

    def layer(i: int) -> Net:
        attention = SelfAttention(width, heads, causal=True, rotary=10000.0)
        if not i:
            return _layer(width, 1e-6, attention, SwiGLU(width, dense_hidden))
        routed = [SwiGLU(width, hidden) for _ in range(experts)]
        every = SwiGLU(width, shared * hidden) if shared else None
        return _layer(width, 1e-6, attention, MixtureOfExperts(width, routed, router, shared=every))

    return _decoder([layer(i) for i in range(layers)], width, vocabulary, context, 1e-6)


def _layer(width: int, epsilon: float, attention: Net, mlp: Net) -> Net:
    return chain(
        attention=residual(chain(norm=RMSNorm(width, epsilon=epsilon), attention=attention)),
        mlp=residual(chain(norm=RMSNorm(width, epsilon=epsilon), mlp=mlp)),
    )


def _decoder(layers: list[Net], width: int, vocabulary: int, context: int, epsilon: float) -> Architecture:
    net = chain(
        embedding=Embedding(vocabulary, width),
        layers=repeat(layers),
        norm=RMSNorm(width, epsilon=epsilon),
        head=Linear(width, vocabulary, bias=False),
    )
    return Architecture(net, space=(context,))
