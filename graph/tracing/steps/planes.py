"""Rotary position written out by halves: `cat(a cos - b sin, b cos + a sin)`, or by neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from ..context import Context
from ..layout import merged
from ..purity import name_of
from ..values import Fixed, Stream, Value
from .patterns import plain
from .rotary import rotary, run_of
from .shuffled import Shuffled


@dataclass(frozen=True)
class _Half:
    """Half of the features of a head: the first or the second run, or every second one.

    Attributes:
        source: what it is a part of.
        second: which half.
        neighbours: whether the halves alternate.
        paired: whether the source has the two halves on an axis of their own.
    """

    source: Node
    second: bool
    neighbours: bool
    paired: bool = False


@dataclass(frozen=True)
class _Factor:
    """A fixed factor with its sign."""

    node: Node
    sign: int


def halves_rotated(low: Context, node: Node, parts: Sequence[Any], neighbours: bool) -> Value | None:
    """The rotation whose two coordinates are put side by side, or on an axis of their own; None for anything else.

    Args:
        low: the program.
        node: the call that joins them.
        parts: the nodes of the two coordinates.
        neighbours: whether those of one plane become neighbours.
    """
    if len(parts) != 2:
        return None
    u, v = _combined(low, parts[0], 1), _combined(low, parts[1], 1)
    halves = sorted(u or (), key=lambda h: h.second)
    if not u or not v or u.keys() != v.keys() or [h.second for h in halves] != [False, True]:
        return None
    a, b = halves
    if (a.source, a.neighbours, a.paired) != (b.source, b.neighbours, b.paired):
        return None
    if not _equal(low, u[a], v[b], 1) or not _equal(low, u[b], v[a], -1):
        return None
    x = _stream(low, a)
    if x is None:
        return None
    cos, sin = (_table(low, f, a.neighbours) for f in (u[a], v[a]))
    y = rotary(low, node, x, cos, sin, a.neighbours)
    if a.neighbours == neighbours:
        return y
    n = int(x.shape[-1])
    natural = [i * 2 + k for k in range(2) for i in range(n // 2)]  # neighbours that become halves
    other = [k * (n // 2) + i for i in range(n // 2) for k in range(2)]
    return Shuffled(stream=y, order=tuple(natural if a.neighbours else other), dim=len(y.dims) - 1)


def _combined(low: Context, node: Any, sign: int) -> dict[_Half, _Factor] | None:
    """A sum of halves with fixed factors."""
    node = plain(node)
    if not isinstance(node, Node):
        return None
    name = name_of(node)
    if name == "neg":
        return _combined(low, node.args[0], -sign)
    if name in ("add", "sub") and len(node.args) == 2 and not node.kwargs:
        one = _combined(low, node.args[0], sign)
        two = _combined(low, node.args[1], -sign if name == "sub" else sign)
        return None if one is None or two is None or one.keys() & two.keys() else {**one, **two}
    if name != "mul":
        return None
    for x, t in (node.args[:2], node.args[1::-1]):
        if isinstance(t, Node) and isinstance(low.env.get(t), Fixed):
            x, minus = _unsigned(x)
            t, turned = _unsigned(t)
            half = _half(x)
            return None if half is None else {half: _Factor(t, sign * minus * turned)}
    return None


def _unsigned(node: Any) -> tuple[Any, int]:
    """A node without a minus before it, and the sign."""
    node, sign = plain(node), 1
    while isinstance(node, Node) and name_of(node) == "neg":
        node, sign = plain(node.args[0]), -sign
    return node, sign


def _half(node: Any) -> _Half | None:
    """The half of the features of a head that a node is."""
    found = run_of(node)
    if found is not None:
        x, start, stop, step = found
        n = int(x.meta["val"].shape[-1])
        if step == 2 and stop == n and start in (0, 1) and n % 2 == 0:
            return _Half(x, bool(start), True)
        if step == 1 and n % 2 == 0 and (start, stop) in ((0, n // 2), (n // 2, n)):
            return _Half(x, start > 0, False)
        return None
    which, of = _picked(node)
    if of is None or which not in (0, 1):
        return None
    return _Half(of, bool(which), True, paired=True)


def _picked(node: Any) -> tuple[int, Node | None]:
    """Which entry of a last axis of length 2 a node is, and of what."""
    x: Any
    dim: Any
    index: Any
    if isinstance(node, Node) and str(node.target) == "<built-in function getitem>":
        whole, index = node.args
        if isinstance(whole, Node) and name_of(whole) == "unbind":
            x = whole.args[0]
            dim = whole.args[1] if len(whole.args) > 1 else whole.kwargs.get("dim", 0)
            shape = x.meta["val"].shape
            if dim % len(shape) == len(shape) - 1 and shape[-1] == 2:
                return int(index), x
    if isinstance(node, Node) and name_of(node) == "select":
        x, dim, index = node.args[:3]
        shape = x.meta["val"].shape
        if dim % len(shape) == len(shape) - 1 and shape[-1] == 2:
            return int(index) % 2, x
    return -1, None


def _stream(low: Context, half: _Half) -> Stream | None:
    """What a half is one of, with its features on one dimension."""
    x = low.env.get(half.source)
    if not isinstance(x, Stream) or len(x.dims) < 3:
        return None
    if half.paired:
        x = x.arranged((*x.dims[:-2], merged((*x.dims[-2], *x.dims[-1]))))
    return x


def _table(low: Context, factor: _Factor, neighbours: bool) -> torch.Tensor:
    """The factors of both coordinates of every plane."""
    t: torch.Tensor = low.env[factor.node].tensor * factor.sign
    if t.shape[-1] == 1:
        return t
    return t.repeat_interleave(2, -1) if neighbours else torch.cat([t, t], -1)


def _equal(low: Context, a: _Factor, b: _Factor, sign: int) -> bool:
    """Whether two factors are equal, or opposite."""
    if a.node is b.node:
        return a.sign == sign * b.sign
    one, two = low.env[a.node], low.env[b.node]
    if not one.known or not two.known or one.shape != two.shape:
        return False
    return torch.equal(one.tensor * a.sign, two.tensor * b.sign * sign)
