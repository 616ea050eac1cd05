"""Decoder-only transformers on text: GPT-2 and Llama 2."""

from __future__ import annotations

from lawful.blocks import (
    Embedding,
    LayerNorm,
    LearnedPosition,
    Linear,
    Net,
    Pointwise,
    RMSNorm,
    SelfAttention,
    ShapeError,
    SwiGLU,
    TiedHead,
    TransformerLayer,
    chain,
    repeat,
    residual,
)

from ..architecture.architecture import Architecture


def gpt2(
    layers: int = 12, width: int = 768, heads: int = 12, vocabulary: int = 50257, context: int = 1024, hidden: int = 0
) -> Architecture:
    """GPT-2: pre-LayerNorm layers with biases, learned positions and a tied head; 124,439,808 parameters by default.

    Args:
        layers: layers of causal attention and a GELU (tanh) MLP.
        width: features of the stream.
        heads: attention heads.
        vocabulary: number of tokens.
        context: number of positions.
        hidden: hidden features of the MLPs, `4 * width` by default.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width.

    Source: Radford et al., *Language Models are Unsupervised Multitask Learners* (2019), section 2.3.
    """
    check_heads(width, heads)
    embedding = Embedding(vocabulary, width)

    def layer() -> Net:
        return TransformerLayer(width, heads, hidden or 4 * width, Pointwise("gelu_tanh"), causal=True)

    net = chain(
        embedding=embedding,
        position=LearnedPosition(context, width),
        layers=repeat([layer() for _ in range(layers)]),
        norm=LayerNorm(width),
        head=TiedHead(embedding),
    )
    return Architecture(net, space=(context,))


def llama(
    layers: int = 32,
    width: int = 4096,
    heads: int = 32,
    kv_heads: int = 32,
    hidden: int = 11008,
    vocabulary: int = 32000,
    context: int = 4096,
    base: float = 10000.0,
    epsilon: float = 1e-5,
    tied: bool = False,
) -> Architecture:
    """Llama 2, 7B by default: 6,738,415,616 parameters.

    The 70B model is `llama(layers=80, width=8192, heads=64, kv_heads=8, hidden=28672)`, 68,976,648,192 parameters.

    Args:
        layers: layers of causal attention with rotary position and a SwiGLU MLP, RMSNorm before each.
        width: features of the stream.
        heads: query heads.
        kv_heads: key and value heads; each serves `heads / kv_heads` query heads.
        hidden: hidden features of the MLPs.
        vocabulary: number of tokens.
        context: number of positions.
        base: base of the rotary frequencies.
        epsilon: of every RMSNorm.
        tied: whether the head is the embedding.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width, or the key heads the query heads.

    Source: Touvron et al., *Llama 2: Open Foundation and Fine-Tuned Chat Models* (2023), section 2.2.
    """
    check_heads(width, heads)
    embedding = Embedding(vocabulary, width)

    def norm() -> Net:
        return RMSNorm(width, epsilon=epsilon)

    def layer() -> Net:
        attention = SelfAttention(width, heads, kv_heads, causal=True, rotary=base)
        return chain(
            attention=residual(chain(norm=norm(), attention=attention)),
            mlp=residual(chain(norm=norm(), mlp=SwiGLU(width, hidden))),
        )

    net = chain(
        embedding=embedding,
        layers=repeat([layer() for _ in range(layers)]),
        norm=norm(),
        head=TiedHead(embedding) if tied else Linear(width, vocabulary, bias=False),
    )
    return Architecture(net, space=(context,))


def check_heads(width: int, heads: int) -> None:
    """Checks that the heads divide the stream.

    Raises:
        ShapeError: with both numbers.
    """
    if width % heads:
        raise ShapeError(f"{heads} heads do not divide a width of {width}; change one of the two")
