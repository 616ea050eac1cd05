"""Parameters and fixed numbers as streams: what a network adds to or puts beside what depends on data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lawful.blocks import Given, Numbers, Positions, Signal, Table

from .layout import COPIES, Atom, Dim
from .values import Fixed, NotUnderstood, Rows, Stream, Value, Weight

if TYPE_CHECKING:
    from torch.fx import Node

    from .context import Context


def source(low: Context, node: Node, value: Value, feature: int = -1) -> Stream:
    """A stream that reads nothing.

    Args:
        low: the program.
        node: the call that needs it.
        value: a parameter, rows of one, or fixed numbers.
        feature: the dimension of the traced tensor that is to be the features.

    Raises:
        NotUnderstood: if it has no such form.
    """
    if isinstance(value, Fixed):
        return _numbers(low, node, value.tensor)
    if isinstance(value, Weight):
        return _table(low, node, value, feature)
    if isinstance(value, Rows):
        return _rows(low, node, value)
    raise NotUnderstood(f"a {type(value).__name__.lower()} is used as a tensor")


def _numbers(low: Context, node: Node, tensor: torch.Tensor) -> Stream:
    if not tensor.is_floating_point():
        raise NotUnderstood("fixed integers are used as numbers")
    copies = len(tensor.shape) > 1 and tensor.shape[0] == low.batch > 1 and same_rows(tensor)
    if copies:  # made for the batch that was traced, the same for every example
        one = _numbers(low, node, tensor[:1])
        return one.arranged(((Atom(COPIES, low.batch),), *one.dims[1:]))
    shape = tuple(tensor.shape) or (1,)
    inner = shape[1:] if shape[0] == 1 and len(shape) > 1 else shape
    signal = Signal(inner[-1], tuple(inner[:-1]))
    (out,) = low.emit(node, Given(Numbers(tensor.reshape(inner)), signal), [], label="numbers")
    dims = out.dims if len(inner) < len(shape) else out.dims[1:]
    return out.arranged(dims)


def same_rows(tensor: torch.Tensor) -> bool:
    """Whether a tensor is the same all along its first axis (on the meta device there is nothing to differ)."""
    return tensor.device.type == "meta" or bool((tensor == tensor[:1]).all())


def _table(low: Context, node: Node, w: Weight, feature: int) -> Stream:
    """A table whose rows are what the traced tensor has along all dimensions but one."""
    name, rows, width = ordered(w, feature % len(w.dims))
    block = Table(rows, width)
    (out,) = low.emit(node, block, [], {"weight": name}, label=w.base.rpartition(".")[2], key=("table", name, rows))
    if rows == 1:
        flat: list[Dim] = [tuple(a for a in d if a.axis == COPIES) for d in w.dims]
    else:
        flat = _row_dims(w, feature % len(w.dims))
    flat[feature % len(w.dims)] = (Atom(2, width),) if width > 1 else ()
    return out.arranged(tuple(flat))


def ordered(w: Weight, feature: int) -> tuple[str, int, int]:
    """The name of a parameter as rows of features, their number and width.

    Raises:
        NotUnderstood: if features are mixed with rows, or repeated.
    """
    axes = [a for i, d in enumerate(w.dims) if i != feature for a in d if a.axis != COPIES]
    own = list(w.dims[feature])
    if any(a.axis == COPIES for a in own):
        raise NotUnderstood("a parameter is repeated along the features")
    width = math.prod(a.size for a in own)
    total = math.prod(w.full)
    if width * math.prod(a.size for a in axes) != total:
        raise NotUnderstood("only a part of a parameter is there")
    return arranged_name(w, [*axes, *own]), total // width, width


def arranged_name(w: Weight, atoms: list[Atom]) -> str:
    """The name of a parameter whose axes are in another order.

    Raises:
        NotUnderstood: if entries are repeated: no order of the axes does that.
    """
    if any(a.axis == COPIES for a in atoms):
        raise NotUnderstood("a parameter whose entries are repeated")
    memory = sorted(atoms, key=lambda a: (a.axis, -a.stride))
    if memory == atoms:
        return w.name
    sizes = ",".join(str(a.size) for a in memory)
    order = ",".join(str(memory.index(a)) for a in atoms)
    plain = tuple(a.size for a in memory) == tuple(n for n in w.full)
    return f"{w.name}{'' if plain else f'.view({sizes})'}.permute({order})"


def _row_dims(w: Weight, feature: int) -> list[Dim]:
    """The dimensions of a table's stream: runs of its row axis."""
    atoms = [a for i, d in enumerate(w.dims) if i != feature for a in d if a.axis != COPIES]
    strides: dict[tuple[int, int], int] = {}
    step = 1
    for a in reversed(atoms):
        strides[a.axis, a.stride] = step
        step *= a.size
    out: list[Dim] = []
    for i, d in enumerate(w.dims):
        if i == feature:
            out.append(())
            continue
        out.append(
            tuple(a if a.axis == COPIES else Atom(1, a.size, strides[a.axis, a.stride]) for a in d),
        )
    return out


def _rows(low: Context, node: Node, value: Rows) -> Stream:
    """Rows of a table that fixed indices pick."""
    s = _table(low, node, value.weight, -1)
    index = value.index.reshape(-1)
    if not torch.equal(index, torch.arange(s.signal.space[0])):
        (s,) = low.emit(node, Positions("pick", tuple(index.tolist())), [s], label="pick")
    out = []
    for d in value.dims:
        out.append(tuple(Atom(a.axis + 1 if a.axis != COPIES else COPIES, a.size, a.stride) for a in d))
    return s.arranged(tuple(out))
