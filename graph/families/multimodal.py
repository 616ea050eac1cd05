"""Networks on images and text: CLIP."""

from __future__ import annotations

from collections.abc import Sequence

from lawful.blocks import (
    ClassToken,
    Conv2d,
    CosineSimilarity,
    Embedding,
    LayerNorm,
    LearnedPosition,
    Linear,
    Net,
    Pointwise,
    SelectToken,
    Signal,
    ToTokens,
    TransformerLayer,
    Wiring,
    chain,
    repeat,
)

from ..architecture.architecture import Architecture
from .language import check_heads
from .vit import count_patches


def clip(
    embedding: int = 512,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    patch: int = 32,
    space: Sequence[int] = (224, 224),
    text_layers: int = 12,
    text_width: int = 512,
    text_heads: int = 8,
    vocabulary: int = 49408,
    context: int = 77,
) -> Architecture:
    """CLIP, ViT-B/32 by default: 151,277,313 parameters.

    A vision transformer of an image and a causal transformer of a text, each mapped to one vector; the output is the
    scaled cosine of the two.  CLIP compares all images of a batch with all texts; any loss of one pair sees the same
    gradients.  CLIP ViT-L/14 is `clip(768, 24, 1024, 16, 14, text_width=768, text_heads=12)`, 427,616,513 parameters.

    Args:
        embedding: features that both towers are mapped to.
        layers: layers of the image tower, LayerNorm before attention and a GELU (quick) MLP.
        width: features of its stream.
        heads: its attention heads.
        patch: side of a patch; images are cut by a convolution of that kernel and stride.
        space: height and width of the images.
        text_layers: layers of the text tower, which sees earlier tokens only.
        text_width: features of its stream.
        text_heads: its attention heads.
        vocabulary: number of tokens.
        context: number of positions of the text; the last token is read, as if it were that which ends the text.

    Returns:
        The architecture; it reads images of shape `(3, *space)` and tokens of shape `(context,)`.

    Raises:
        ShapeError: if patches or heads do not divide.

    Source: Radford et al., *Learning Transferable Visual Models From Natural Language Supervision* (2021), section 2.4.
    """
    check_heads(width, heads)
    check_heads(text_width, text_heads)

    def tower(count: int, features: int, n: int, causal: bool) -> Net:
        return repeat(
            [TransformerLayer(features, n, 4 * features, Pointwise("gelu_quick"), causal=causal) for _ in range(count)]
        )

    image = chain(
        patches=Conv2d(3, width, patch, patch, bias=False),
        tokens=ToTokens(),
        class_token=ClassToken(width),
        position=LearnedPosition(count_patches(space, patch) + 1, width),
        pre_norm=LayerNorm(width),
        layers=tower(layers, width, heads, False),
        select=SelectToken(0),
        post_norm=LayerNorm(width),
        projection=Linear(width, embedding, False),
    )
    text = chain(
        embedding=Embedding(vocabulary, text_width),
        position=LearnedPosition(context, text_width),
        layers=tower(text_layers, text_width, text_heads, True),
        norm=LayerNorm(text_width),
        select=SelectToken(-1),
        projection=Linear(text_width, embedding, False),
    )
    nodes: dict[str, Net] = {"image": image, "text": text, "similarity": CosineSimilarity()}
    reads: dict[str, tuple[str, ...]] = {"image": ("input:0",), "text": ("input:1",), "similarity": ("image", "text")}
    signals = [
        Signal(3, tuple(space), channels_first=True),
        Signal(vocabulary, (context,), tokens=True),
    ]
    return Architecture(Wiring(nodes, reads, ("similarity",), inputs=2), input=signals)
