"""Attention with its projections, and transformer layers: graphs of primitive blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lawful.theory.arguments import shown

from .attention import DotProductAttention
from .base import Net, Parallel, Series, ShapeError, Wiring, chain
from .composites import MLP, residual
from .heads import HeadNorm
from .joins import Split
from .linear import Linear
from .norms import LayerNorm
from .pointwise import Pointwise
from .rotary import Rotary


@dataclass(frozen=True)
class _Turned:
    """What happens to the heads of queries and keys behind their projections: a norm, then rotary position.

    Attributes:
        rotary: base of the rotary frequencies, 0 for none.
        rotated: features of a head that are rotated, 0 for all.
        interleaved: whether rotary planes are neighbouring features.
        shared: rotary planes for each frequency.
        qk_norm: kind of the norm, empty for none.
        epsilon: of the norm.
    """

    rotary: float = 0.0
    rotated: int = 0
    interleaved: bool = False
    shared: int = 1
    qk_norm: str = ""
    epsilon: float = 1e-6

    def parts(self, heads: int, width: int) -> dict[str, Net]:
        """The nets by name, none where nothing happens."""
        found: dict[str, Net] = {}
        if self.qk_norm:
            if self.qk_norm not in ("rms", "layer", "l2"):
                raise ShapeError(f"no query and key norm {self.qk_norm!r}; there are rms, layer, l2")
            gain, layer = self.qk_norm != "l2", self.qk_norm == "layer"
            found["norm"] = HeadNorm(heads, width, gain=gain, centre=layer, shift=layer, epsilon=self.epsilon)
        if self.rotary:
            found["rotary"] = Rotary(heads, self.rotary, self.interleaved, self.rotated, self.shared)
        return found


def SelfAttention(
    features: int,
    heads: int,
    kv_heads: int = 0,
    head_width: int = 0,
    bias: bool = False,
    *,
    packed: bool = False,
    out_bias: bool | None = None,
    table: Net | None = None,
    **options: Any,
) -> Net:
    """Multi-head or grouped-query self-attention with output projection.

    Args:
        features: width of the stream.
        heads: query heads.
        kv_heads: key and value heads (default: as many as query heads).
        head_width: features per head (default `features / heads`).
        bias: whether the projections have biases.
        packed: one projection to queries, keys and values, cut afterwards.
        out_bias: whether the output projection has a bias (default: as `bias`).
        table: a net without input that gives relative biases of shape `(rows, heads)`; share one block to share it.
        **options: what happens to the heads of queries and keys: `rotary`, base of the rotary frequencies, with
            `rotated` features of a head (default: all), `interleaved` planes and `shared` planes for each frequency;
            `qk_norm`, a norm of every head with one gain: `rms` (Qwen3), `layer` (gain and shift) or `l2` (no gain),
            with its `epsilon`.  And those of `DotProductAttention`: `causal`, `scores`, `window`, `cap`, `sink`,
            `alibi`, `relative`, ...

    Raises:
        ShapeError: if the heads do not divide the features.
    """
    if heads < 1 or (not head_width and features % heads):
        raise ShapeError(f"{heads} heads do not divide {features} features; change one of them or give head_width")
    width = head_width or features // heads
    kv = kv_heads or heads
    _expect_options("SelfAttention", options, _Turned, DotProductAttention)
    turned = _Turned(**{f.name: options.pop(f.name) for f in fields(_Turned) if f.name in options})
    attention = DotProductAttention(heads, kv, **options)
    out = Linear(heads * width, features, bias if out_bias is None else out_bias)
    if not packed:
        branches: list[tuple[str, Net]] = []
        for name, n in (("q", heads), ("k", kv)):
            projection, behind = Linear(features, n * width, bias), turned.parts(n, width)
            branches.append((name, chain(proj=projection, **behind) if behind else projection))
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
        behind = turned.parts(n, width)
        if behind:
            nodes[name], reads[name], ends[i] = chain(**behind), (ends[i],), name
    if table is not None:
        nodes["table"], reads["table"] = table, ()
        ends.append("table")
    nodes |= {"attention": attention, "out": out}
    reads |= {"attention": tuple(ends), "out": ("attention",)}
    return Wiring(nodes, reads, ("out",))


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
    _expect_options("CrossAttention", core, DotProductAttention)
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


def _expect_options(where: str, options: Mapping[str, Any], *owners: type) -> None:
    """Checks the names of options that are handed on.

    Raises:
        ShapeError: for one that none of the owners has; names those that there are.
    """
    known = [f.name for owner in owners for f in fields(owner) if f.name not in ("heads", "kv_heads")]
    for name in options:
        if name not in known:
            raise ShapeError(f"{where}: no option {shown(name)}; it has {', '.join(known)}")


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
