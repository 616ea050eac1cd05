"""Encoder-only transformers on text: BERT."""

from __future__ import annotations

from lawful.blocks import (
    GELU,
    Add,
    Embedding,
    LayerNorm,
    Linear,
    Net,
    SelectToken,
    ShapeError,
    Signal,
    Table,
    Tanh,
    Tie,
    TransformerLayer,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture
from .language import check_heads

HEADS = ("none", "pooler", "mlm", "pretraining")
EPSILON = 1e-12  # of every LayerNorm


def bert(
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    hidden: int = 0,
    vocabulary: int = 30522,
    context: int = 512,
    head: str = "pooler",
) -> Architecture:
    """BERT, base by default: 109,482,240 parameters with its pooler.

    Masked language modelling (`head="mlm"`) has 109,514,298, pre-training (`head="pretraining"`) 110,106,428; BERT
    large is `bert(layers=24, width=1024, heads=16)`, 335,141,888.

    Args:
        layers: layers of attention and a GELU MLP, LayerNorm after each junction.
        width: features of the stream.
        heads: attention heads.
        hidden: hidden features of the MLPs, `4 * width` by default.
        vocabulary: number of tokens.
        context: number of positions.
        head: what reads the stream: `none` (its output is that of the last layer), `pooler` (a map and a tanh of the
            first token), `mlm` (a map, GELU, LayerNorm, and the embedding as a tied map with a bias of its own), or
            `pretraining` (the last one, and next-sentence logits of the pooler, each with a loss of its own).

    Returns:
        The architecture, without dropout; it reads tokens and their types (0 or 1), both of shape `(context,)`.  Its
        outputs are `mlm.decoder` and `next_sentence` in pre-training, else there is one.

    Raises:
        ShapeError: if the heads do not divide the width, and for an unknown head.

    Source: Devlin, Chang, Lee, Toutanova, *BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding* (2019), section 3.
    """
    check_heads(width, heads)
    if head not in HEADS:
        raise ShapeError(f"no head {head!r}; there are {', '.join(HEADS)}")
    words = Embedding(vocabulary, width)
    nodes: dict[str, Net] = {
        "embedding.words": words,
        "embedding.types": Embedding(2, width),
        "embedding.positions": Table(context, width),
        "embedding.add": Add(),
        "embedding.norm": LayerNorm(width, epsilon=EPSILON),
        "layers": repeat(
            [TransformerLayer(width, heads, hidden or 4 * width, epsilon=EPSILON, post=True) for _ in range(layers)]
        ),
    }
    reads: dict[str, tuple[str, ...]] = {
        "embedding.words": ("input:0",),
        "embedding.types": ("input:1",),
        "embedding.positions": (),
        "embedding.add": ("embedding.words", "embedding.types", "embedding.positions"),
        "embedding.norm": ("embedding.add",),
        "layers": ("embedding.norm",),
    }
    ends: tuple[str, ...] = () if head != "none" else ("layers",)
    if head in ("mlm", "pretraining"):
        nodes["mlm"] = chain(
            transform=Linear(width, width),
            activation=GELU(),
            norm=LayerNorm(width, epsilon=EPSILON),
            decoder=Linear(width, vocabulary, tie=Tie(words)),
        )
        reads["mlm"] = ("layers",)
        ends = ("mlm",)
    if head in ("pooler", "pretraining"):
        nodes["pooler"] = chain(select=SelectToken(0), proj=Linear(width, width), activation=Tanh())
        reads["pooler"] = ("layers",)
        if head == "pooler":
            ends = ("pooler",)
        else:
            nodes["next_sentence"] = Linear(width, 2)
            reads["next_sentence"] = ("pooler",)
            ends = (*ends, "next_sentence")
    tokens = [Signal(n, (context,), tokens=True) for n in (vocabulary, 2)]
    return Architecture(Wiring(nodes, reads, ends, inputs=2), input=tokens)
