"""Recurrent layers and cells: one block for every layer and direction."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import GRU, LSTM, RNN, Block, Concat, ConcatPositions, ConcatTokens, Dropout, Positions

from ..arrange import exact
from ..context import Context, handles
from ..layout import COPIES, Dims
from ..sources import arranged_name
from ..values import Data, NotUnderstood, Stacked, Stream, Value, Weight

Kind = Callable[..., Block]


_KINDS: dict[str, Kind] = {
    "lstm": LSTM,
    "gru": GRU,
    "rnn_tanh": RNN,
    "rnn_relu": functools.partial(RNN, nonlinearity="relu"),
}


_LOCAL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@handles("lstm.input")
def lstm(
    low: Context,
    node: Node,
    x: Value,
    states: Sequence[Value],
    params: Sequence[Value],
    biased: bool,
    layers: int,
    dropout: float,
    training: bool,
    both: bool,
    batch_first: bool,
) -> Value:
    """Layers of LSTM: the states of all tokens, and the last h and c of every layer and direction."""
    ends = {n for _, n in low.program.outputs}
    used = any(u.target is operator.getitem and u.args[1] == 2 and (u.users or u in ends) for u in node.users)
    return _layers(
        low, node, x, states, params, biased, layers, dropout if training else 0.0, both, batch_first, cell=used
    )


@handles("gru.input", "rnn_tanh.input", "rnn_relu.input")
def simple(
    low: Context,
    node: Node,
    x: Value,
    state: Value,
    params: Sequence[Value],
    biased: bool,
    layers: int,
    dropout: float,
    training: bool,
    both: bool,
    batch_first: bool,
) -> Value:
    """Layers with one state: the states of all tokens, and the last ones of every layer and direction."""
    return _layers(low, node, x, (state,), params, biased, layers, dropout if training else 0.0, both, batch_first)


def _layers(
    low: Context,
    node: Node,
    x: Value,
    states: Sequence[Value],
    params: Sequence[Value],
    biased: bool,
    layers: int,
    dropout: float,
    both: bool,
    batch_first: bool,
    cell: bool = False,
) -> Value:
    stream = _tokens(low, node, x, batch_first)
    directions = 2 if both else 1
    per = 4 if biased else 2
    if len(params) != per * layers * directions:
        raise NotUnderstood("a recurrent layer with a projection of its state")
    origins = node.args[1] if isinstance(node.args[1], (tuple, list)) else (node.args[1],)
    given = [_initial(low, node, s, o, layers * directions) for s, o in zip(states, origins, strict=True)]
    if len({g is None for g in given}) > 1:
        raise NotUnderstood("an initial state for a part of the states")
    last: list[list[Stream]] = [[], []]
    for layer in range(layers):
        if layer and dropout:
            (stream,) = low.emit(node, Dropout(dropout), [stream], label=f"dropout{layer}")
        outs = []
        for direction in range(directions):
            at = layer * directions + direction
            label = f"{_kind(node)}.l{layer}{'_reverse' if direction else ''}"
            first = [g[at] for g in given if g is not None]
            found = _layer(low, node, stream, first, params[per * at : per * at + per], label, bool(direction), cell)
            outs.append(found[0])
            end = 0 if direction else stream.signal.space[-1] - 1
            cut = Positions("slice", (end, end + 1, 1), len(stream.signal.space) - 1)
            for all_tokens, ends in zip(found, last, strict=False):
                ends += low.emit(node, cut, [all_tokens], label=f"{label}.last")
        stream = outs[0] if len(outs) == 1 else low.emit(node, Concat(), outs, label=f"{_kind(node)}.both")[0]
    rows, tokens, features = _sequences(stream)
    dims = (rows, tokens, features) if batch_first else (tokens, rows, features)
    return (stream.arranged(dims), *(_ends(low, node, ends) for ends in last if ends))


def _sequences(s: Stream) -> Dims:
    """The dimensions of a stream as `(sequences, tokens, features)`: windows of an example are sequences too."""
    *rows, tokens, features = s.dims
    return (tuple(a for d in rows for a in d), tokens, features)


def _kind(node: Node) -> str:
    return str(node.target).split(".")[1].removesuffix("_cell")


def _tokens(low: Context, node: Node, x: Value, batch_first: bool) -> Stream:
    """The tokens that a layer reads, examples first.

    Raises:
        NotUnderstood: where the axis that should hold examples does not.
    """
    s = low.stream(x, node, channels_first=False)
    if len(s.dims) != 3:
        raise NotUnderstood("a recurrent layer on a single sequence without a batch axis")
    if not batch_first:
        s = s.arranged((s.dims[1], s.dims[0], s.dims[2]))
    if any(a.axis == 0 for d in s.dims[1:] for a in d):
        raise NotUnderstood(
            "it reads (tokens, examples, features), but examples are the first axis of all inputs of a trace; give the "
            f"layer batch_first={not batch_first}, or trace a module that takes examples first and transposes them"
        )
    return exact(low, node, s, 2)


def _layer(
    low: Context,
    node: Node,
    stream: Stream,
    first: Sequence[Stream],
    params: Sequence[Value],
    label: str,
    reverse: bool,
    cell: bool,
) -> tuple[Stream, ...]:
    """One layer in one direction: h (and c) of all tokens in their own order."""
    names, hidden = _names(params)
    options = {"cell": True} if cell else {}
    block = _KINDS[_kind(node)](stream.signal.features, hidden, len(params) == 4, given=bool(first), **options)
    flip = Positions("flip", axis=len(stream.signal.space) - 1)
    if reverse:
        (stream,) = low.emit(node, flip, [stream], label=f"{label}.flip")
    found = low.emit(node, block, [stream, *first], names, label=label)
    if reverse:
        found = tuple(low.emit(node, flip, [s], label=f"{label}.flip")[0] for s in found)
    return found


def _names(params: Sequence[Value]) -> tuple[dict[str, str], int]:
    """The parameters of a layer by local name, and the width of its state."""
    if not all(isinstance(p, Weight) for p in params):
        raise NotUnderstood("a recurrent layer whose weights are computed")
    names = {k: arranged_name(p, [a for d in p.dims for a in d]) for k, p in zip(_LOCAL, params, strict=False)}
    return names, int(params[1].shape[-1])


def _initial(low: Context, node: Node, state: Value, origin: Any, rows: int) -> list[Stream] | None:
    """Initial states `(rows, examples, hidden)` as a stream of one token each, None for zeros."""
    if _is_zero(origin):
        return None
    if isinstance(state, Data) and not state.moved:
        raise NotUnderstood("an initial state whose examples are not on the first axis of an input")
    s = low.stream(state, node, channels_first=False)
    if len(s.dims) != 3:
        raise NotUnderstood("an initial state without a batch axis")
    examples = s.dims[1] if s.dims[1] and s.dims[1][0].axis != COPIES else ()
    s = exact(low, node, s.arranged((examples, s.dims[0], s.dims[2])), 2)
    if rows == 1:
        return [s]
    return list(low.emit(node, Positions("slice", (i, i + 1, 1)), [s], label="initial")[0] for i in range(rows))


def _ends(low: Context, node: Node, ends: Sequence[Stream]) -> Stream:
    """The last states of all layers and directions, `(rows, examples, hidden)`."""
    axis = len(ends[0].signal.space) - 1
    joins = ConcatPositions(axis) if axis else ConcatTokens()
    (s,) = low.emit(node, joins, list(ends), label="last") if len(ends) > 1 else ends
    parts = tuple(e.arranged(_sequences(e)[::2]) for e in ends)
    rows, layers, features = _sequences(s)
    return Stacked(s.port, s.signal, (layers, rows, features), parts)


def _is_zero(node: Any) -> bool:
    """Whether a tensor is zero because it was made so."""
    if not isinstance(node, Node):
        return False
    name = str(node.target).partition("aten.")[2].partition(".")[0]
    if name in ("zeros", "new_zeros", "zeros_like"):
        return True
    return name in ("expand", "view", "reshape", "contiguous", "clone", "to", "unsqueeze", "select") and _is_zero(
        node.args[0]
    )


@handles("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell_(low: Context, node: Node, x: Value, state: Value, *params: Value) -> Value:
    """One step of a recurrent layer: a layer over one token that begins at the state before."""
    params = tuple(p for p in params if p is not None)
    names, hidden = _names(params)
    states = list(state) if isinstance(state, (tuple, list)) else [state]
    kind = _kind(node)
    token = _one(low, node, x)
    origins = node.args[1] if isinstance(node.args[1], (tuple, list)) else (node.args[1],)
    given = not all(map(_is_zero, origins))
    first = [_one(low, node, s) for s in states] if given else []
    options = {"cell": True} if kind == "lstm" else {}
    block = _KINDS[kind](token.signal.features, hidden, len(params) == 4, given=given, **options)
    found = low.emit(node, block, [token, *first], names)
    rows = (*token.dims[0], *(token.dims[1] if len(token.dims) > 3 else ()))
    flat = tuple(s.arranged((rows, s.dims[-1])) for s in found)
    return flat if kind == "lstm" else flat[0]


def _one(low: Context, node: Node, x: Value) -> Stream:
    """A tensor `(examples, features)` as one token, with positions in the place of what is no example."""
    s = low.stream(x, node, channels_first=False)
    if len(s.dims) != 2:
        raise NotUnderstood("a cell on a single example without a batch axis")
    rows = s.dims[0] if s.dims[0] and s.dims[0][0].axis != COPIES else ()
    examples = tuple(a for a in rows[:1] if a.axis == 0)
    positions = rows[len(examples) :]
    dims = (examples, positions, (), s.dims[1]) if positions else (examples, (), s.dims[1])
    return exact(low, node, s.arranged(dims), len(dims) - 1)
