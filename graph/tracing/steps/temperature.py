"""Learned temperatures of attention, and biases of its scores that a network computes."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.fx import Node

from lawful.blocks import Temperature

from ..arrange import each_repeated, exact
from ..context import Context
from ..layout import COPIES, size
from ..sources import arranged_name, source
from ..values import Bias, NotUnderstood, Scores, Stream, Weight
from .patterns import plain

LOOKS = ("aten.view", "aten.reshape", "aten.unsqueeze", "aten.squeeze", "aten.expand", "aten.permute")


PLAIN = {"aten.exp": "exp", "aten.sigmoid": "sigmoid", "aten.tanh": "tanh", "aten.softplus": "softplus"}


def temperature(low: Context, node: Node, scores: Scores) -> Scores | None:
    """Scores times a function of one parameter per head, as a factor of the queries; None if they are not that."""
    other = next((n for n in node.args[:2] if isinstance(n, Node) and not isinstance(low.env.get(n), Scores)), None)
    found = _chain(low, other)
    if found is None or other is None or scores.biases or scores.cap:
        return None
    weight, steps = found
    lengths = tuple(int(n) for n in other.meta["val"].shape)
    heads = math.prod(lengths)
    if heads != math.prod(weight.full):
        return None
    if heads > 1:
        at = next(i for i, n in enumerate(lengths) if n > 1) - len(lengths)
        dim = scores.dims[at] if -at <= len(scores.dims) else ()
        if size(dim) != heads or any(a.axis != 1 for a in dim):
            return None
    q = scores.q
    if heads not in (1, q.signal.features // size(q.dims[-1])):
        return None
    names = {"weight": arranged_name(weight, [a for d in weight.dims for a in d])}
    (y,) = low.emit(node, Temperature(heads, steps), [q], names, label="temperature")
    return replace(scores, q=y.arranged(q.dims))


def _chain(low: Context, node: Node | None) -> tuple[Weight, tuple[tuple[str, float], ...]] | None:
    """A parameter and the functions that it went through."""
    steps: list[tuple[str, float]] = []
    current = node
    while isinstance(current, Node):
        current = plain(current)
        value = low.env.get(current)
        if isinstance(value, Weight):
            return value, tuple(reversed(steps))
        if current.op != "call_function" or not current.args:
            return None
        name, args = str(current.target), current.args
        op = ".".join(name.split(".")[:2])
        if op in PLAIN and len(args) == 1:
            steps.append((PLAIN[op], 0.0))
        elif op == "aten.mul" and isinstance(args[1], (int, float)):
            steps.append(("times", float(args[1])))
        elif op in ("aten.clamp", "aten.clamp_max", "aten.clamp_min"):
            bounds = (None, *args[1:2]) if op == "aten.clamp_max" else (*args[1:], None, None)
            least = current.kwargs.get("min", bounds[0])
            most = current.kwargs.get("max", bounds[1])
            found = [("least", least), ("most", most)]
            if any(n is not None and not isinstance(n, (int, float)) for _, n in found):
                return None
            steps += [(f, float(n)) for f, n in found if n is not None]
        elif op not in LOOKS:
            return None
        current = args[0]
    return None


def computed_bias(low: Context, node: Node, scores: Scores, bias: Stream | Weight) -> Bias:
    """A bias for every head and pair of positions that depends on no example, as a table of pairs.

    Raises:
        NotUnderstood: if it depends on the data, or is arranged in another way.
    """
    n, m = scores.shape[-2:]
    heads = size(tuple(a for d in scores.q.dims[:-1] for a in d if a.axis == scores.q.feature_axis))
    if len(bias.dims) == 2:
        bias = bias.arranged(((), *bias.dims))
    lead = len(bias.dims) - 3
    if lead < 0 or any(bias.dims[i] and any(a.axis != COPIES for a in bias.dims[i]) for i in range(lead)):
        raise NotUnderstood("scores of attention plus something that differs between examples or windows")
    s = source(low, node, bias, lead) if isinstance(bias, Weight) else bias
    whole = all(a.axis == s.feature_axis for a in s.dims[-3]) and size(s.dims[-3]) == s.signal.features
    if s.shape_batch > 1 or s.shape[-3:] not in ((heads, n, m), (1, n, m)) or not whole:
        raise NotUnderstood("scores of attention plus something that is no bias of pairs of positions")
    flat = exact(low, node, s.arranged(((), (*s.dims[-2], *s.dims[-1]), s.dims[-3])), 2)
    if s.signal.features < heads:  # one for all heads
        flat = each_repeated(low, node, flat, heads)
    return Bias(table=flat, rows=torch.arange(n * m).reshape(n, m))
