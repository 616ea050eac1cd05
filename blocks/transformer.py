"""Attention with its projections, and transformer layers: graphs of primitive blocks."""

from __future__ import annotations

from typing import Any

from .attention import DotProductAttention
from .base import Net, Parallel, Series, ShapeError, Wiring, chain
from .composites import MLP, residual
from .heads import HeadNorm
from .joins import Split
from .linear import Linear
from .norms import LayerNorm
from .pointwise import Pointwise
from .rotary import Rotary


def SelfAttention(
    features: int,
    heads: int,
    kv_heads: int = 0,
    head_width: int = 0,
    bias: bool = False,
    causal: bool = False,
    rotary: float = 0.0,
    scores: str = "softmax",
    *,
    rotated: int = 0,
    interleaved: bool = False,
    shared: int = 1,
    qk_norm: str = "",
    epsilon: float = 1e-6,
    packed: bool = False,
    out_bias: bool | None = None,
    table: Net | None = None,
    **core: Any,
) -> Net:
    """Multi-head or grouped-query self-attention with output projection.

    Args:
        features: width of the stream.
        heads: query heads.
        kv_heads: key and value heads (default: as many as query heads).
        head_width: features per head (default `features / heads`).
        bias: whether the projections have biases.
        causal: whether later tokens are hidden.
        rotary: base of the rotary frequencies, 0 for none.
        scores: how scores become weights, see `DotProductAttention`.
        rotated: features of a head that are rotated, 0 for all.
        interleaved: whether rotary planes are neighbouring features.
        shared: rotary planes for each frequency.
        qk_norm: a norm of every query and key head with one gain: `rms` (Qwen3), `layer` (gain and shift), `l2` (no
            gain), or none.
        epsilon: of these norms.
        packed: one projection to queries, keys and values, cut afterwards.
        out_bias: whether the output projection has a bias (default: as `bias`).
        table: a net without input that gives relative biases of shape `(rows, heads)`; share one block to share it.
        **core: further options of `DotProductAttention` (`window`, `cap`, `sink`, `alibi`, `relative`, ...).

    Raises:
        ShapeError: if the heads do not divide the features.
    """
    if heads < 1 or (not head_width and features % heads):
        raise ShapeError(f"{heads} heads do not divide {features} features; change one of them or give head_width")
    width = head_width or features // heads
    kv = kv_heads or heads
    attention = DotProductAttention(heads, kv, causal, scores, **core)

    def turned(projection: Net | None, n: int) -> Net | None:
        parts: dict[str, Net] = {"proj": projection} if projection else {}
        if qk_norm:
            parts["norm"] = _head_norm(qk_norm, n, width, epsilon)
        if rotary:
            parts["rotary"] = Rotary(n, rotary, interleaved, rotated, shared)
        return projection if len(parts) == 1 and projection else chain(**parts) if parts else None

    out = Linear(heads * width, features, bias if out_bias is None else out_bias)
    if not packed:
        branches: list[tuple[str, Net]] = []
        for name, n in (("q", heads), ("k", kv)):
            branch = turned(Linear(features, n * width, bias), n)
            assert branch is not None
            branches.append((name, branch))
        branches.append(("v", Linear(features, kv * width, bias)))
        if table is not None:
            branches.append(("table", table))
        return chain(heads=Parallel(tuple(branches), attention), out=out)
    nodes: dict[str, Net] = {
        "qkv": Linear(features, (heads + 2 * kv) * width, bias),
        "split": Split((heads * width, kv * width, kv * width)),
    }
    reads: dict[str, tuple[str, ...]] = {"qkv": ("input",), "split": ("qkv",)}
    ends = ["split:0", "split:1", "split:2"]
    for i, (name, n) in enumerate((("q", heads), ("k", kv))):
        after = turned(None, n)
        if after is not None:
            nodes[name], reads[name], ends[i] = after, (ends[i],), name
    if table is not None:
        nodes["table"], reads["table"] = table, ()
        ends.append("table")
    nodes |= {"attention": attention, "out": out}
    reads |= {"attention": tuple(ends), "out": ("attention",)}
    return Wiring(nodes, reads, ("out",))


def _head_norm(kind: str, heads: int, width: int, epsilon: float) -> Net:
    if kind not in ("rms", "layer", "l2"):
        raise ShapeError(f"no query and key norm {kind!r}; there are rms, layer, l2")
    layer = kind == "layer"
    return HeadNorm(heads, width, gain=kind != "l2", centre=layer, shift=layer, epsilon=epsilon)


def CrossAttention(
    features: int,
    heads: int,
    memory: int = 0,
    kv_heads: int = 0,
    head_width: int = 0,
    bias: bool = False,
    **core: Any,
) -> Net:
    """Attention of a stream to a memory: two inputs, the stream and the memory (use it inside a `Wiring`).

    Args:
        features: width of the stream.
        heads: query heads.
        memory: width of the memory (default: that of the stream).
        kv_heads: key and value heads (default: as many as query heads).
        head_width: features per head (default `features / heads`).
        bias: whether the projections have biases.
        **core: options of `DotProductAttention`.
    """
    width = head_width or features // heads
    kv = kv_heads or heads
    nodes: dict[str, Net] = {
        "q": Linear(features, heads * width, bias),
        "k": Linear(memory or features, kv * width, bias),
        "v": Linear(memory or features, kv * width, bias),
        "attention": DotProductAttention(heads, kv, **core),
        "out": Linear(heads * width, features, bias),
    }
    reads = {
        "q": ("input:0",),
        "k": ("input:1",),
        "v": ("input:1",),
        "attention": ("q", "k", "v"),
        "out": ("attention",),
    }
    return Wiring(nodes, reads, ("out",), inputs=2)


def TransformerLayer(
    features: int,
    heads: int,
    hidden: int,
    activation: Net | None = None,
    bias: bool = True,
    causal: bool = False,
    epsilon: float = 1e-5,
    post: bool = False,
) -> Net:
    """A layer with LayerNorm: attention and an MLP, each in a residual branch.

    Args:
        features: width of the stream.
        heads: attention heads.
        hidden: hidden features of the MLP.
        activation: of the MLP (GELU by default).
        bias: whether the linear maps have biases.
        causal: whether later tokens are hidden.
        epsilon: of the norms.
        post: norms after the junctions (the original transformer, BERT) and not before the branches.
    """

    def norm() -> Net:
        return LayerNorm(features, epsilon=epsilon)

    attention = SelfAttention(features, heads, bias=bias, causal=causal)
    mlp = MLP(features, hidden, activation or Pointwise("gelu"), bias)
    if post:
        return Series(
            (("attention", residual(attention)), ("norm1", norm()), ("mlp", residual(mlp)), ("norm2", norm()))
        )
    return chain(attention=residual(chain(norm=norm(), attention=attention)), mlp=residual(chain(norm=norm(), mlp=mlp)))
