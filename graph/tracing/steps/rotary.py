"""Rotary position: sums of a product with cosines and a product of the turned features with sines."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Numbers, TableRotary

from ..arrange import focus
from ..context import Context
from ..layout import COPIES, size
from ..values import Fixed, NotUnderstood, Stream
from .patterns import plain


def rotated(low: Context, node: Node) -> Stream | None:
    """The rotation that a sum is the end of, if it is one."""
    found = _read(low, node)
    if found is None:
        return None
    x, cos, sin, interleaved = found
    value = low.env.get(plain(x))
    return rotary(low, node, value, cos, sin, interleaved) if isinstance(value, Stream) else None


def partly(low: Context, node: Node) -> Stream | None:
    """A rotation of the first features of every head, with the rest behind it (GPT-NeoX), if a `cat` is one."""
    parts = [plain(n) for n in node.args[0]]
    if len(parts) != 2 or not all(isinstance(n, Node) for n in parts):
        return None
    found, rest = _read(low, parts[0]), run_of(parts[1])
    start = run_of(plain(found[0])) if found else None
    if found is None or rest is None or start is None or plain(start[0]) is not plain(rest[0]):
        return None
    n = int(start[0].meta["val"].shape[-1])
    value = low.env.get(plain(start[0]))
    if start[1] or start[2] != rest[1] or rest[2:] != (n, 1) or not isinstance(value, Stream):
        return None
    return rotary(low, node, value, *found[1:])


def _read(low: Context, node: Any) -> tuple[Node, torch.Tensor, torch.Tensor, bool] | None:
    """What is rotated, by which cosines and sines, and whether planes are neighbouring features."""
    if not isinstance(node, Node) or not str(node.target).startswith("aten.add.Tensor"):
        return None
    a, b = plain(node.args[0]), plain(node.args[1])
    for straight, turned in ((a, b), (b, a)):
        one, two = _factors(low, straight), _factors(low, turned)
        if one is None or two is None:
            continue
        (x, cos), (y, sin) = one, two
        turn = _turned(plain(y))
        if turn is None or plain(turn[0]) is not plain(x):
            continue
        return x, cos, sin, turn[1]
    return None


def _factors(low: Context, node: Any) -> tuple[Node, torch.Tensor] | None:
    """What is multiplied, and the fixed numbers it is multiplied by."""
    if not isinstance(node, Node) or not str(node.target).startswith("aten.mul.Tensor"):
        return None
    for x, t in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        if isinstance(t, Node) and isinstance(low.env.get(t), Fixed) and isinstance(x, Node):
            return x, low.env[t].tensor
    return None


def _turned(node: Any) -> tuple[Node, bool] | None:
    """What was turned by a quarter of a circle: `cat(-second half, first half)`, or pairs of neighbours."""
    node = _reshaped(node)
    if not isinstance(node, Node):
        return None
    name, parts = str(node.target), list(node.args[:1])
    if not name.startswith(("aten.cat", "aten.stack")) or not isinstance(parts[0], (list, tuple)) or len(parts[0]) != 2:
        return None
    minus, plus = (plain(n) for n in parts[0])
    if not isinstance(minus, Node) or not str(minus.target).startswith("aten.neg"):
        return None
    second, first = run_of(plain(minus.args[0])), run_of(plus)
    if second is None or first is None or plain(first[0]) is not plain(second[0]):
        return None
    x = first[0]
    n = int(x.meta["val"].shape[-1])
    if name.startswith("aten.cat") and first[1:] == (0, n // 2, 1) and second[1:] == (n // 2, n, 1):
        return x, False
    if name.startswith("aten.stack") and first[1:] == (0, n, 2) and second[1:] == (1, n, 2):
        return x, True
    return None


def _reshaped(node: Any) -> Any:
    while isinstance(node, Node) and str(node.target).startswith(("aten.view", "aten.reshape", "aten.flatten")):
        node = node.args[0]
    return plain(node)


def run_of(node: Any) -> tuple[Node, int, int, int] | None:
    """The run of the last dimension that a node takes: what of, start, stop, step."""
    if not isinstance(node, Node):
        return None
    name, args = str(node.target), list[Any](node.args)
    if name == "<built-in function getitem>":
        whole, i = args
        if isinstance(whole, Node) and str(whole.target).startswith(("aten.chunk", "aten.split", "aten.unbind")):
            x: Any = whole.args[0]
            dim = whole.args[2] if len(whole.args) > 2 else whole.kwargs.get("dim", 0)
            widths = [int(t.shape[-1]) for t in whole.meta["val"]]
            if isinstance(x, Node) and dim in (-1, len(x.meta["val"].shape) - 1) and "unbind" not in str(whole.target):
                start = sum(widths[:i])
                return x, start, start + widths[i], 1
        return None
    if name.startswith("aten.slice.Tensor"):
        padded: list[Any] = [*args, *[None] * (4 - len(args))]
        x, dim, start, stop, *step = padded
        if dim in (-1, len(x.meta["val"].shape) - 1):
            first, last, by = slice(start, stop, step[0] if step else 1).indices(int(x.meta["val"].shape[-1]))
            return x, first, last, by
        x2 = run_of(plain(x))
        whole = slice(start, stop).indices(int(x.meta["val"].shape[dim])) == (0, int(x.meta["val"].shape[dim]), 1)
        return x2 if whole else None
    return None


def rotary(low: Context, node: Node, x: Stream, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> Stream:
    """A rotation of the last dimension, which holds the features of a head."""
    own, every = x.dims[-1], x.feature_atoms
    if not own or any(a.axis != x.feature_axis for a in own) or own != every[-len(own) :]:
        raise NotUnderstood("a rotation of something that is no head")
    width = size(own)
    heads = x.signal.features // width
    if x.signal.channels_first and x.signal.space:
        x = focus(low, node, x, len(x.dims) - 1)
    tokens = [i for i in range(1, len(x.signal.space) + 1)]
    if not tokens:
        raise NotUnderstood("a rotation without positions")
    tables = [_by_position(x, t, width) for t in (cos, sin)]
    block = TableRotary(heads, Numbers(tables[0]), Numbers(tables[1]), interleaved)
    (y,) = low.emit(node, block, [x], label="rotary")
    return y.arranged(x.dims)


def _by_position(x: Stream, table: torch.Tensor, width: int) -> torch.Tensor:
    """A table that broadcasts against the traced tensor, as `(*positions, width)`.

    Raises:
        NotUnderstood: if it differs between examples or heads.
    """
    rank = len(x.dims)
    t = table.reshape((1,) * (rank - table.ndim) + tuple(table.shape))
    kept: list[int] = []
    order: list[tuple[int, int]] = []
    for i, d in enumerate(x.dims[:-1]):
        positions = [a for a in d if a.axis not in (0, x.feature_axis, COPIES)]
        if t.shape[i] == 1:
            if positions:
                raise NotUnderstood("a rotation by the same angle at several positions")
            continue
        if len(positions) != len(d) or len(d) != 1:
            if bool((t == t.select(i, 0).unsqueeze(i)).all()) if t.device.type != "meta" else True:
                t = t.narrow(i, 0, 1)
                continue
            raise NotUnderstood("a rotation by angles that differ between examples or heads")
        kept.append(i)
        order.append((positions[0].axis, -positions[0].stride))
    by = [kept[order.index(o)] for o in sorted(order)]
    gone = [i for i in range(rank - 1) if i not in kept]
    t = t.expand(*t.shape[:-1], width) if t.shape[-1] == 1 else t
    return t.permute(*gone, *by, rank - 1).reshape(*x.signal.space, t.shape[-1])
