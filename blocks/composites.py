"""Composites: graphs of primitive blocks, no rules of their own."""

from __future__ import annotations

import dataclasses

from .base import Block, Net, Parallel, Series, ShapeError, Tie, Wiring, chain
from .joins import Add, ConcatTokens
from .linear import Embedding, Linear, Table
from .pointwise import Identity, ReLU


def parallel(*branches: Net, join: Block | None = None, **named: Net) -> Parallel:
    """Branches that read the same input, joined by a sum or by `join` (Product, Concat, attention, ...)."""
    parts = [(str(i), n) for i, n in enumerate(branches)] + list(named.items())
    if len(parts) < 2:
        raise ShapeError(f"parallel needs two or more branches, got {len(parts)}")
    return _fitting(Parallel(tuple(parts), join or Add()))


def _fitting(net: Parallel) -> Parallel:
    net.carry(None)  # refuses widths that do not fit
    return net


def residual(branch: Net, skip: Net | None = None) -> Parallel:
    """`x + branch(x)`, or `skip(x) + branch(x)`.

    The junction adds no law and forbids those that straddle it (Marcotte et al. 2025, proposition 3.2, theorem 4.7).
    """
    return _fitting(Parallel((("skip", skip or Identity()), ("branch", branch)), Add()))


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


def MLP(features: int, hidden: int, activation: Net | None = None, bias: bool = True) -> Net:
    """Two linear layers with an activation (ReLU by default) between them."""
    return chain(
        up=Linear(features, hidden, bias), activation=activation or ReLU(), down=Linear(hidden, features, bias)
    )


def TiedHead(embedding: Embedding) -> Linear:
    """A head that reads the stream with the rows of an embedding."""
    return Linear(embedding.width, embedding.vocabulary, bias=False, tie=Tie(embedding))
