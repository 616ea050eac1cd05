"""Transformers with an encoder and a decoder: T5 on text, Whisper on speech."""

from __future__ import annotations

from lawful.blocks import (
    GELU,
    MLP,
    Add,
    Conv1d,
    CrossAttention,
    DotProductAttention,
    Embedding,
    GatedLinearUnit,
    LayerNorm,
    LearnedPosition,
    Linear,
    Net,
    Parallel,
    Pointwise,
    RMSNorm,
    Scale,
    SelfAttention,
    Signal,
    Sinusoidal,
    Table,
    TiedHead,
    ToTokens,
    Wiring,
    chain,
    repeat,
    residual,
)

from ..architecture.architecture import Architecture
from .language import check_heads

BUCKETS = 32  # rows of a table of relative biases


def t5(
    layers: int = 6,
    width: int = 512,
    heads: int = 8,
    head_width: int = 64,
    hidden: int = 2048,
    vocabulary: int = 32128,
    context: int = 512,
    gated: bool = False,
    tied: bool = True,
) -> Architecture:
    """T5, small by default: 60,506,624 parameters.

    All layers of a stack add one table of relative biases to their scores, which are not divided by anything.  No map
    has a bias.  T5 base is `t5(12, 768, 12, 64, 3072)`, 222,903,552 parameters, and T5 1.1 base (Flan-T5)
    `t5(12, 768, 12, 64, 2048, gated=True, tied=False)`, 247,577,856.

    Args:
        layers: layers of the encoder, and of the decoder; RMSNorm before attention, cross attention and MLP.
        width: features of the stream.
        heads: attention heads.
        head_width: features per head.
        hidden: hidden features of the MLPs.
        vocabulary: number of tokens.
        context: number of positions of either input.
        gated: gated MLPs with GELU (T5 1.1) instead of ReLU.
        tied: whether the head is the embedding, which reads the stream divided by `sqrt(width)`.

    Returns:
        The architecture, without dropout; it reads the tokens of the encoder and those of the decoder.

    Source: Raffel et al., *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer* (2020),
    section 2.1.
    """
    embedding = Embedding(vocabulary, width)
    tables = {causal: Table(BUCKETS, heads) for causal in (False, True)}

    def attention(causal: bool) -> Net:
        return SelfAttention(
            width,
            heads,
            head_width=head_width,
            causal=causal,
            table=tables[causal],
            scale=1.0,
            relative="t5",
            rows=BUCKETS,
        )

    def mlp() -> Net:
        if gated:
            return GatedLinearUnit(width, hidden, Pointwise("gelu_tanh"))
        return MLP(width, hidden, bias=False)

    def norm() -> Net:
        return RMSNorm(width)

    encoder = [
        chain(
            attention=residual(chain(norm=norm(), attention=attention(False))),
            mlp=residual(chain(norm=norm(), mlp=mlp())),
        )
        for _ in range(layers)
    ]
    decoder = [
        _decoder_layer(
            residual(chain(norm=norm(), attention=attention(True))),
            (norm(), CrossAttention(width, heads, head_width=head_width, scale=1.0)),
            residual(chain(norm=norm(), mlp=mlp())),
        )
        for _ in range(layers)
    ]
    end: dict[str, Net] = {"norm": norm()}
    if tied:
        end |= {"scale": Scale(width**-0.5), "head": TiedHead(embedding)}
    else:
        end |= {"head": Linear(width, vocabulary, bias=False)}
    net = _two_stacks(chain(embedding=embedding, layers=repeat(encoder), norm=norm()), embedding, decoder, chain(**end))
    return Architecture(net, input=[Signal(vocabulary, (context,), tokens=True) for _ in range(2)])


def whisper(
    layers: int = 4,
    width: int = 384,
    heads: int = 6,
    vocabulary: int = 51865,
    mels: int = 80,
    frames: int = 3000,
    context: int = 448,
) -> Architecture:
    """Whisper, tiny by default: 37,184,640 parameters.

    The positions of the encoder are fixed sines and cosines and no parameters (the weights on Hugging Face hold them as
    a frozen table of 576,000 more).  Whisper large is `whisper(32, 1280, 20)`, 1,541,384,960 parameters.

    Args:
        layers: layers of the encoder, and of the decoder; LayerNorm before attention, cross attention and a GELU MLP.
        width: features of the stream.
        heads: attention heads; their keys have no bias.
        vocabulary: number of tokens.
        mels: bands of the spectrogram.
        frames: length of the spectrogram; the second of two convolutions halves it.
        context: number of positions of the decoder.

    Returns:
        The architecture; it reads a spectrogram of shape `(mels, frames)` and tokens of shape `(context,)`.

    Raises:
        ShapeError: if the heads do not divide the width.

    Source: Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision* (2022), section 2.2.
    """
    check_heads(width, heads)
    embedding = Embedding(vocabulary, width)

    def attention(causal: bool = False) -> Net:
        branches = tuple((n, Linear(width, width, bias=n != "k")) for n in "qkv")
        return chain(heads=Parallel(branches, DotProductAttention(heads, causal=causal)), out=Linear(width, width))

    def cross() -> Net:
        nodes: dict[str, Net] = {n: Linear(width, width, bias=n != "k") for n in "qkv"}
        nodes |= {"attention": DotProductAttention(heads), "out": Linear(width, width)}
        reads: dict[str, tuple[str, ...]] = {"q": ("input:0",), "k": ("input:1",), "v": ("input:1",)}
        reads |= {"attention": ("q", "k", "v"), "out": ("attention",)}
        return Wiring(nodes, reads, ("out",), inputs=2)

    def norm() -> Net:
        return LayerNorm(width)

    def mlp() -> Net:
        return residual(chain(norm=norm(), mlp=MLP(width, 4 * width, GELU())))

    encoder = chain(
        conv1=Conv1d(mels, width, 3, padding=1),
        gelu1=GELU(),
        conv2=Conv1d(width, width, 3, 2, 1),
        gelu2=GELU(),
        tokens=ToTokens(),
        positions=Sinusoidal(),
        layers=repeat(
            [chain(attention=residual(chain(norm=norm(), attention=attention())), mlp=mlp()) for _ in range(layers)]
        ),
        norm=norm(),
    )
    decoder = [
        _decoder_layer(residual(chain(norm=norm(), attention=attention(True))), (norm(), cross()), mlp())
        for _ in range(layers)
    ]
    start = chain(embedding=embedding, position=LearnedPosition(context, width))
    net = _two_stacks(encoder, start, decoder, chain(norm=norm(), head=TiedHead(embedding)))
    signals = [Signal(mels, (frames,), channels_first=True), Signal(vocabulary, (context,), tokens=True)]
    return Architecture(net, input=signals)


def _decoder_layer(attention: Net, cross: tuple[Net, Net], mlp: Net) -> Wiring:
    """Self-attention, a norm and cross attention to the second input, and an MLP, each around a junction."""
    nodes: dict[str, Net] = {
        "attention": attention,
        "norm": cross[0],
        "cross": cross[1],
        "add": Add(),
        "mlp": mlp,
    }
    reads = {
        "attention": ("input:0",),
        "norm": ("attention",),
        "cross": ("norm", "input:1"),
        "add": ("attention", "cross"),
        "mlp": ("add",),
    }
    return Wiring(nodes, reads, ("mlp",), inputs=2)


def _two_stacks(encoder: Net, start: Net, layers: list[Wiring], end: Net) -> Wiring:
    """An encoder of the first input, and a decoder of the second whose layers read what the encoder gives."""
    nodes: dict[str, Net] = {"encoder": encoder, "decoder.start": start}
    reads: dict[str, tuple[str, ...]] = {"encoder": ("input:0",), "decoder.start": ("input:1",)}
    stream = "decoder.start"
    for i, layer in enumerate(layers):
        name = f"decoder.layers.{i}"
        nodes[name], reads[name] = layer, (stream, "encoder")
        stream = name
    nodes["decoder.end"], reads["decoder.end"] = end, (stream,)
    return Wiring(nodes, reads, ("decoder.end",), inputs=2)
