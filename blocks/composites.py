"""Composites: graphs of primitive blocks, no rules of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .attention import DotProductAttention, Rotary
from .base import Block, Net, Parallel, Series, ShapeError, Tie, Wiring, chain
from .joins import Add, ConcatTokens, Mixture, Product
from .linear import Embedding, Linear, Table
from .norms import LayerNorm
from .pointwise import Identity, Pointwise, ReLU, SiLU, Softmax
from .spectators import SelectToken


def parallel(*branches: Net, join: Block | None = None, **named: Net) -> Parallel:
    """Branches that read the same input, joined by a sum or by `join` (Product, Concat, attention, ...)."""
    parts = [(str(i), n) for i, n in enumerate(branches)] + list(named.items())
    if len(parts) < 2:
        raise ShapeError(f"parallel needs two or more branches, got {len(parts)}")
    return Parallel(tuple(parts), join or Add())


def residual(branch: Net, skip: Net | None = None) -> Parallel:
    """`x + branch(x)`, or `skip(x) + branch(x)`.

    The junction adds no law and forbids those that straddle it (Marcotte et al. 2025, proposition 3.2, theorem 4.7).
    """
    return Parallel((("skip", skip or Identity()), ("branch", branch)), Add())


def frozen(net: Net) -> Net:
    """The same net with all its parameters frozen: training does not move them."""
    if isinstance(net, Block):
        names = tuple(net.parameters)
        return dataclasses.replace(net, frozen=names) if names else net  # type: ignore[call-arg]
    if isinstance(net, Series):
        return Series(tuple((k, frozen(n)) for k, n in net.parts))
    if isinstance(net, Parallel):
        return Parallel(tuple((k, frozen(n)) for k, n in net.branches), net.join)
    assert isinstance(net, Wiring)
    return dataclasses.replace(net, nodes={k: frozen(n) for k, n in net.nodes.items()})


def LearnedPosition(tokens: int, width: int) -> Net:
    """Adds a learned table to a stream of tokens."""
    return Parallel((("stream", Identity()), ("table", Table(tokens, width))), Add())


def ClassToken(width: int) -> Net:
    """Puts one learned token before the others."""
    return Parallel((("token", Table(1, width)), ("stream", Identity())), ConcatTokens())


def GatedLinearUnit(
    features: int, hidden: int, activation: Net | None = None, bias: bool = False, width: int | None = None
) -> Net:
    """`down(activation(gate(x)) * up(x))`: GLU family; SwiGLU by default.

    Law: `||up_j||^2 - ||down_j||^2` per hidden unit, and one more for the gate if the activation is homogeneous
    (Tran et al. 2026, theorem 4.2).
    """
    gate = chain(proj=Linear(features, hidden, bias), activation=activation or SiLU())
    both = Parallel((("gate", gate), ("up", Linear(features, hidden, bias))), Product())
    return chain(glu=both, down=Linear(hidden, width or features, bias))


def SwiGLU(features: int, hidden: int, bias: bool = False) -> Net:
    """Gated linear unit with SiLU."""
    return GatedLinearUnit(features, hidden, SiLU(), bias)


def ReGLU(features: int, hidden: int, bias: bool = False) -> Net:
    """Gated linear unit with ReLU."""
    return GatedLinearUnit(features, hidden, ReLU(), bias)


def MLP(features: int, hidden: int, activation: Net | None = None, bias: bool = True) -> Net:
    """Two linear layers with an activation (ReLU by default) between them."""
    return chain(
        up=Linear(features, hidden, bias), activation=activation or ReLU(), down=Linear(hidden, features, bias)
    )


def SelfAttention(
    features: int,
    heads: int,
    kv_heads: int = 0,
    head_width: int = 0,
    bias: bool = False,
    causal: bool = False,
    rotary: float = 0.0,
    softmax: bool = True,
) -> Net:
    """Multi-head or grouped-query self-attention with output projection.

    Args:
        features: width of the stream.
        heads: query heads.
        kv_heads: key and value heads (default: as many as query heads).
        head_width: features per head (default `features / heads`).
        bias: whether the four projections have biases.
        causal: whether later tokens are hidden.
        rotary: base of the rotary frequencies, 0 for none.
        softmax: False for linear attention.
    """
    if heads < 1 or (not head_width and features % heads):
        raise ShapeError(f"{heads} heads do not divide {features} features; change one of them or give head_width")
    width = head_width or features // heads
    kv = kv_heads or heads
    core = DotProductAttention(heads, kv, causal, softmax)
    query: Net = Linear(features, heads * width, bias)
    key: Net = Linear(features, kv * width, bias)
    if rotary:
        query = chain(proj=query, rotary=Rotary(heads, rotary))
        key = chain(proj=key, rotary=Rotary(kv, rotary))
    value = Linear(features, kv * width, bias)
    mixed = Parallel((("q", query), ("k", key), ("v", value)), core)
    return chain(heads=mixed, out=Linear(heads * width, features, bias))


def TransformerLayer(
    features: int,
    heads: int,
    hidden: int,
    activation: Net | None = None,
    bias: bool = True,
    causal: bool = False,
    epsilon: float = 1e-5,
) -> Net:
    """A pre-LayerNorm layer: attention and an MLP, each in a residual branch."""
    attention = chain(
        norm=LayerNorm(features, epsilon=epsilon), attention=SelfAttention(features, heads, bias=bias, causal=causal)
    )
    mlp = chain(
        norm=LayerNorm(features, epsilon=epsilon), mlp=MLP(features, hidden, activation or Pointwise("gelu"), bias)
    )
    return chain(attention=residual(attention), mlp=residual(mlp))


def Recurrent(features: int, hidden: int, steps: int, activation: Net | None = None, bias: bool = False) -> Net:
    """A recurrent layer unrolled over `steps` tokens; gives the last hidden state.

    `h_t = activation(W x_t + U h_{t-1})`, `h_0 = 0`; one `W` and one `U` for all steps.
    """
    act = activation or ReLU()
    inp, rec = Linear(features, hidden, bias), Linear(hidden, hidden, False)
    nodes: dict[str, Net] = {}
    reads: dict[str, tuple[str, ...]] = {}
    previous = ""
    for t in range(steps):
        nodes[f"x{t}"], reads[f"x{t}"] = SelectToken(t), ("input",)
        nodes[f"in{t}"], reads[f"in{t}"] = inp, (f"x{t}",)
        source = f"in{t}"
        if previous:
            nodes[f"rec{t}"], reads[f"rec{t}"] = rec, (previous,)
            nodes[f"sum{t}"], reads[f"sum{t}"] = Add(), (f"in{t}", f"rec{t}")
            source = f"sum{t}"
        nodes[f"h{t}"], reads[f"h{t}"] = act, (source,)
        previous = f"h{t}"
    return Wiring(nodes, reads, (previous,))


def MixtureOfExperts(features: int, experts: Sequence[Net]) -> Net:
    """Experts weighted by a dense softmax router.

    Law: the experts' own and the column sums of the router (Tran et al. 2026, theorem 4.5).
    """
    router = chain(proj=Linear(features, len(experts), False), softmax=Softmax())
    return Parallel((("router", router), *((f"expert{i}", e) for i, e in enumerate(experts))), Mixture())


def TiedHead(embedding: Embedding) -> Linear:
    """A head that reads the stream with the rows of an embedding."""
    return Linear(embedding.width, embedding.vocabulary, bias=False, tie=Tie(embedding))
