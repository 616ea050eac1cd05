"""Attention with a sink: one more score for every head, a parameter or 0, that takes part in the softmax alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch.fx import Node

from ..layout import COPIES, Atom, size
from ..purity import name_of
from ..values import Fixed, Lazy, NotUnderstood, Scores, Value, Weight
from .patterns import plain
from .scores import heads_of


@dataclass(frozen=True, kw_only=True)
class Sunk(Lazy):
    """Scores of attention, or their softmax, with the score of the sink behind the keys.

    Attributes:
        scores: the scores of the keys.
        sink: the parameter that holds the others, empty for zeros.
    """

    scores: Scores
    sink: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the traced tensor."""
        *lead, keys = self.scores.shape
        return (*lead, keys + 1)


def with_sink(parts: Sequence[Value], dim: int) -> Sunk | None:
    """Scores with one more key that is a parameter of every head, or 0; None for any other concatenation."""
    if len(parts) != 2 or not isinstance(parts[0], Scores) or parts[0].done or dim != len(parts[0].dims) - 1:
        return None
    scores, sink = parts
    if isinstance(sink, Fixed) and sink.known and sink.shape[-1] == 1 and not bool(sink.tensor.any()):
        return Sunk(scores=scores, sink="")
    if not isinstance(sink, Weight) or sink.shape != (*scores.shape[:-1], 1):
        return None
    heads = size(heads_of(scores.q))
    own = [(i, a) for i, d in enumerate(sink.dims) for a in d if a.axis != COPIES]
    home = [i for i, d in enumerate(scores.dims) if any(a.axis == 1 for a in d)]
    if sink.full != (heads,) or [a for _, a in own] != [Atom(0, heads)] or [i for i, _ in own] != home:
        return None
    return Sunk(scores=scores, sink=sink.name)


def without_largest(node: Node) -> bool:
    """Whether a difference takes away the largest entry of a row, which no softmax sees."""
    largest: Any = plain(node.args[1])
    if isinstance(largest, Node) and str(largest.target) == "<built-in function getitem>":
        largest = largest.args[0]
    if not isinstance(largest, Node) or name_of(largest) not in ("max", "amax") or len(largest.args) < 2:
        return False
    dims: Any = largest.args[1]
    rank = len(node.meta["val"].shape)
    last = [d % rank for d in (dims if isinstance(dims, (list, tuple)) else [dims])] == [rank - 1]
    return last and plain(largest.args[0]) is plain(node.args[0])


def sink_softmax(x: Sunk, dim: int) -> Sunk:
    """The softmax over keys and sink."""
    if x.scores.done or dim % len(x.scores.dims) != len(x.scores.dims) - 1:
        raise NotUnderstood("a softmax of scores over something that is no key")
    return replace(x, scores=replace(x.scores, done="softmax"))


def keys_alone(x: Sunk, dim: int, first: int, last: int) -> Scores:
    """The weights of the keys, without that of the sink."""
    if not x.scores.done or dim != len(x.scores.dims) - 1 or (first, last) != (0, x.scores.shape[-1]):
        raise NotUnderstood("weights of attention with a sink are taken apart")
    return replace(x.scores, sink=x.sink or "zero")


def dropped(x: Sunk, probability: float) -> Sunk:
    """Dropout of the weights."""
    if not x.scores.done or x.scores.dropout:
        raise NotUnderstood("dropout of the scores of attention before their softmax, or twice")
    return replace(x, scores=replace(x.scores, dropout=probability))


def sink_options(scores: Scores) -> tuple[dict[str, Any], dict[str, str]]:
    """How a block of attention has a sink, and the name of its parameter."""
    if not scores.sink:
        return {}, {}
    return ({"sink": "zero"}, {}) if scores.sink == "zero" else ({"sink": "learned"}, {"sink": scores.sink})
