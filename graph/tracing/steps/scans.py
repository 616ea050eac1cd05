"""The selective scan of Mamba, written out token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from lawful.blocks import SelectiveScan

from ..arrange import exact
from ..context import Context
from ..sources import arranged_name
from ..values import NotUnderstood, Stream, Weight

SAME = ("to", "_to_copy", "contiguous", "clone", "alias")


def selective_scan(low: Context, node: Node, parts: Sequence[Any], dim: int) -> Stream | None:
    """The outputs `C_t h_t` of all tokens of `h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t`, None for any other stack.

    Source: Gu, Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces* (2023), algorithm 2.

    Args:
        low: the program.
        node: the call that puts the outputs of all tokens together.
        parts: the call's first argument.
        dim: the new dimension.

    Raises:
        NotUnderstood: for a scan of tensors that are not arranged as features of tokens.
    """
    if dim != 2 or len(parts) < 2:
        return None
    state: Any = None
    found: set[tuple[Node, Node, Node]] = set()
    for t, part in enumerate(parts):
        step = _step(part, state, t)
        if step is None:
            return None
        *tensors, state = step
        found.add((tensors[0], tensors[1], tensors[2]))
    if len(found) != 1:
        return None
    ((decay, drive, readout),) = found
    read = _factors(decay, drive)
    if read is None or int(readout.meta["val"].shape[1]) != len(parts):
        return None
    rates, dt, b, x = read
    if not isinstance(low.env[rates], Weight):
        return None
    ports = [_tokens(low, node, n, 1) for n in (x, dt)] + [_tokens(low, node, n, 2) for n in (b, readout)]
    weight: Weight = low.env[rates]
    name = arranged_name(weight, [a for d in weight.dims for a in d])
    block = SelectiveScan(ports[0].signal.features, ports[2].signal.features, skip=False)
    (y,) = low.emit(node, block, ports, {"log_a": name}, label="scan")
    return y.arranged((y.dims[0], y.dims[2], y.dims[1]))


def _step(part: Any, state: Any, t: int) -> tuple[Node, Node, Node, Node] | None:
    """The decays, the inputs and the readouts of all tokens, and the state, if a tensor is the output of one token."""
    product = _argument(part, ("select", "squeeze"))
    if _name(product) not in ("matmul", "bmm"):
        return None
    h, column = _plain(product.args[0]), _plain(product.args[1])
    c = _entry(_argument(column, ("unsqueeze",)), 1, t)
    if c is None or _name(h) != "add":
        return None
    kept, new = (_plain(a) for a in h.args)
    if _name(kept) != "mul":
        kept, new = new, kept
    drive = _entry(new, 2, t)
    if _name(kept) != "mul" or drive is None:
        return None
    one, two = (_plain(a) for a in kept.args)
    decay, before = (_entry(one, 2, t), two) if _entry(one, 2, t) is not None else (_entry(two, 2, t), one)
    if decay is None or (before is not state if t else _name(before) != "zeros"):
        return None
    return decay, drive, c, h


def _factors(decay: Node, drive: Node) -> tuple[Node, Node, Node, Node] | None:
    """The rates, the step sizes, B and x of a scan."""
    product = _argument(decay, ("exp",))
    if _name(product) != "mul":
        return None
    sides = [_bare(a) for a in product.args]
    rates = next((n for n in sides if _name(n) == "neg"), None)
    dt = next((n for n in sides if n is not rates), None)
    log = _argument(_argument(rates, ("neg",)), ("exp",))
    leaves = _leaves(drive)
    rank = len(drive.meta["val"].shape)
    if log is None or dt is None or rank != 4 or len(leaves) != 3:
        return None
    width, tokens, states = (int(n) for n in drive.meta["val"].shape[1:])
    rest = {tuple(int(k) for k in n.meta["val"].shape[1:]): n for n in leaves if _bare(n) is not dt}
    b, x = rest.get((1, tokens, states)), rest.get((width, tokens, 1))
    if b is None or x is None or tuple(dt.meta["val"].shape[1:]) != (width, tokens):
        return None
    return log, dt, _bare(b), _bare(x)


def _leaves(node: Any) -> list[Node]:
    """The factors of a product of products."""
    plain = _plain(node)
    return [leaf for a in plain.args for leaf in _leaves(a)] if _name(plain) == "mul" else [plain]


def _tokens(low: Context, node: Node, source: Node, feature: int) -> Stream:
    """What a call gives, as features of tokens."""
    s = low.stream(low.env[source], node)
    if len(s.dims) != 3:
        raise NotUnderstood("a scan of something else than tokens")
    return exact(low, node, s.arranged((s.dims[0], s.dims[3 - feature], s.dims[feature])), 2)


def _name(node: Any) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0] if isinstance(node, Node) else ""


def _plain(node: Any) -> Any:
    """What stands before casts and copies."""
    while _name(node) in SAME:
        node = node.args[0]
    return node


def _bare(node: Any) -> Any:
    """What stands before casts, copies and new dimensions of length 1."""
    while _name(node) in (*SAME, "unsqueeze"):
        node = node.args[0]
    return node


def _argument(node: Any, names: Sequence[str]) -> Any:
    """The argument of a call with one of some names, None for others."""
    plain = _plain(node)
    return _plain(plain.args[0]) if _name(plain) in names else None


def _entry(node: Any, dim: int, index: int) -> Any:
    """The tensor of which one entry of a dimension is taken."""
    plain = _plain(node)
    taken = _name(plain) == "select" and plain.args[1:] == (dim, index)
    return _plain(plain.args[0]) if taken else None
