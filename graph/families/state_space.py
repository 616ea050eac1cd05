"""State-space language models: Mamba."""

from __future__ import annotations

from lawful.blocks import Embedding, Mamba, Net, RMSNorm, TiedHead, chain, repeat, residual

from ..architecture.architecture import Architecture

EPSILON = 1e-5  # of every RMSNorm


def mamba(
    layers: int = 24,
    width: int = 768,
    hidden: int = 0,
    states: int = 16,
    rank: int = 0,
    kernel: int = 4,
    vocabulary: int = 50280,
    context: int = 2048,
) -> Architecture:
    """Mamba, 130M by default: 129,135,360 parameters.

    The 2.8B model is `mamba(layers=64, width=2560)`, 2,768,345,600 parameters.

    Args:
        layers: selective state-space blocks, an RMSNorm before each.
        width: features of the stream.
        hidden: inner features of a block, `2 * width` by default.
        states: states per inner feature.
        rank: width of the low-rank step size, a sixteenth of the stream by default, rounded up.
        kernel: length of the causal convolution.
        vocabulary: number of tokens, padded.
        context: number of positions; no parameter depends on it.

    Returns:
        The architecture; it reads tokens of shape `(context,)`.

    Source: Gu, Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces* (2023), section 3.4.
    """
    embedding = Embedding(vocabulary, width)

    def layer() -> Net:
        return residual(chain(norm=RMSNorm(width, epsilon=EPSILON), mixer=Mamba(width, hidden, states, rank, kernel)))

    net = chain(
        embedding=embedding,
        layers=repeat([layer() for _ in range(layers)]),
        norm=RMSNorm(width, epsilon=EPSILON),
        head=TiedHead(embedding),
    )
    return Architecture(net, space=(context,))
