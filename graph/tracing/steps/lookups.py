"""Rows of tables by whole numbers, of the data or fixed."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from lawful.blocks import Embedding, L2Norm, Signal

from ..context import Context
from ..layout import COPIES, Atom, Dim, view
from ..purity import name_of
from ..sources import arranged_name
from ..values import Data, Fixed, NotUnderstood, Rows, Stream, Value, Weight
from .applied import apply
from .formed import Unit, is_weight
from .maps import dense
from .parameters import piece_of


def embedding(low: Context, node: Node, weight: Value, tokens: Value, padding: int = -1, *rest: Any) -> Value:
    """Rows of a table by integers of the data, or by fixed ones."""
    if rest and rest[0]:
        raise NotUnderstood("its backward divides by how often a row is read (scale_grad_by_freq): no derivative")
    if is_weight(weight) and not isinstance(weight, Weight) and isinstance(tokens, Data) and len(weight.shape) == 2:
        return _formed_lookup(low, node, weight, tokens, padding)
    if not isinstance(weight, Weight):
        raise NotUnderstood("a lookup in a table that is computed")
    if isinstance(tokens, Fixed):
        return picked(weight, tokens.tensor)
    if not isinstance(tokens, Data):
        raise NotUnderstood("a lookup by integers that are computed")
    if tokens.moved and tokens.base is not None:
        y = embedding(low, node, weight, Data(tokens.base), padding)
        return y.arranged((*tokens.dims, y.dims[-1]))
    shape = tokens.shape
    if not shape or shape[0] != low.batch:
        raise NotUnderstood("a lookup by integers without a batch axis")
    signal = Signal(weight.shape[0], shape[1:], tokens=True)
    s = low.add_input(tokens.node, signal, "tokens")
    name = arranged_name(weight, [a for d in weight.dims for a in d])
    still = padding if padding is not None and padding >= 0 else -1
    block = Embedding(weight.shape[0], weight.shape[1], padding_index=still, padding_zero=False)
    (y,) = low.emit(node, block, [s], {"weight": name})
    return y


def _formed_lookup(low: Context, node: Node, weight: Value, tokens: Data, padding: int) -> Stream:
    """Rows of a table that is made of parameters by moves of its columns."""
    rows = Signal(weight.shape[0], tokens.shape[1:], tokens=True)
    words = low.add_input(tokens.node, rows, "tokens")

    def leaf(z: Stream, w: Weight | Unit, turned: bool) -> Stream:
        if z is not words:
            return dense(low, node, z, w, None, int(turned), int(not turned))
        if not turned or w.shape[0] != weight.shape[0]:
            raise NotUnderstood("a lookup in a table whose rows are moved")
        out = embedding(low, node, w.v if isinstance(w, Unit) else w, tokens, padding)
        assert isinstance(out, Stream)
        return low.emit(node, L2Norm(out.signal.features), [out])[0].arranged(out.dims) if isinstance(w, Unit) else out

    if tokens.moved or (padding is not None and padding >= 0):
        raise NotUnderstood("a lookup in a table that is computed")
    return apply(low, node, words, weight, leaf, len(tokens.shape), turned=True)


def line_of(index: Data) -> Data:
    """Places that are the same for all features: a view of those of the positions.

    Raises:
        NotUnderstood: for places that are no such view.
    """
    call = index.node
    while name_of(call) in ("expand", "expand_as", "unsqueeze", "view", "repeat", "broadcast_to", "reshape"):
        call = call.args[0]  # type: ignore[assignment]
    if call is index.node or call.meta["val"].ndim != 1:
        raise NotUnderstood("every feature has places of its own")
    return Data(call)


def picked(weight: Weight, index: torch.Tensor) -> Weight | Rows:
    """Rows of a table by fixed integers."""
    if index.device.type == "meta":
        raise NotUnderstood("the rows that are picked are not known on the meta device")
    copies = 0
    if index.ndim > 1 and bool((index == index[:1]).all()):  # the same for every example
        copies, index = int(index.shape[0]), index[:1]
    found = _rows(weight, index)
    return found.arranged(((Atom(COPIES, copies),) if copies > 1 else (), *found.dims[1:])) if copies else found


def _rows(weight: Weight, index: torch.Tensor) -> Weight | Rows:
    flat = index.reshape(-1).tolist()
    n, width = weight.shape
    least, most = min(flat), max(flat)
    if (least, most) != (0, n - 1) and flat != list(range(least, most + 1)):
        weight, index = piece_of(weight, 0, least, most + 1), index - least
        if least == most:  # one row for all
            copies = [(Atom(COPIES, k),) if k > 1 else () for k in index.shape]
            return weight.arranged((*copies, weight.dims[-1]))
        return _rows(weight, index)
    shape = tuple(index.shape)
    if flat and flat == list(range(flat[0], flat[0] + len(flat))):
        part = weight if len(flat) == n else piece_of(weight, 0, flat[0], flat[0] + len(flat))
        return part.arranged(view(part.dims, (*shape, width)))
    steps: list[Dim] = []
    step = len(flat)
    for k in shape:
        step //= max(k, 1)
        steps.append((Atom(0, k, step),) if k > 1 else ())
    return Rows(weight=weight, index=index, dims=(*steps, (Atom(1, width),) if width > 1 else ()))
