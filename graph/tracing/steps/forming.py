"""Calls that make weights of parameters: which of them are fixed moves that a map can follow (see `formed`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node

from lawful.blocks.norms import GUARD

from ..purity import name_of
from ..values import Fixed, Value, Weight
from .formed import (
    LARGEST,
    Formed,
    MeanRemoved,
    Multiplied,
    OnDiagonal,
    Scaled,
    Summed,
    Turned,
    Unit,
    beside,
    extended,
    holed,
    is_weight,
    plain,
    run,
    select,
    take,
    triangle,
    viewed_as,
)
from .parameters import is_repeated
from .patterns import length_pattern
from .reparametrised import Directed

Maker = Callable[..., Value | None]
SPREAD = 64  # entries along an axis that are repeated one by one


def formed(node: Node, name: str, args: Sequence[Any]) -> Value | None:
    """What a call makes of parameters alone, None where another handler is asked."""
    maker = MAKERS.get(name)
    if maker is None or not args or (not is_weight(args[0]) and name not in ("cat", "concat", "stack", "mul")):
        return None
    value: Value | None = maker(node, *args)
    return value


def _flip(node: Node, x: Value, dims: Sequence[int]) -> Value | None:
    for d in dims:
        axis = d % len(x.shape)
        x = take(plain(x), axis, range(x.shape[axis] - 1, -1, -1))
    return x


def _roll(node: Node, x: Value, shifts: Any, dims: Any = ()) -> Value | None:
    many = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    if len(many) != len(along):
        return None
    for n, d in zip(many, along, strict=True):
        axis = d % len(x.shape)
        x = take(plain(x), axis, torch.arange(x.shape[axis]).roll(n).tolist())
    return x


def _cat(node: Node, parts: Sequence[Value], dim: int = 0) -> Value | None:
    if not all(is_weight(p) for p in parts) or not any(len(p.shape) > 1 or isinstance(p, Formed) for p in parts):
        return None
    return beside([plain(p) for p in parts], dim % len(parts[0].shape))


def _stack(node: Node, parts: Sequence[Value], dim: int = 0) -> Value | None:
    if not all(is_weight(p) for p in parts) or not all(p.shape for p in parts):
        return None
    axis = dim % (len(parts[0].shape) + 1)
    return beside([extended(plain(p), axis) for p in parts], axis)


def _view(node: Node, x: Value, *shape: Any) -> Value | None:
    return viewed_as(x, [int(n) for n in node.meta["val"].shape]) if isinstance(x, Formed) else None


def _expand(node: Node, x: Value, *shape: Any, implicit: bool = False) -> Value | None:
    return _spread(x, [int(n) for n in node.meta["val"].shape]) if isinstance(x, Formed) else None


def _spread(x: Value, shape: Sequence[int]) -> Value:
    """A value that is repeated to a shape."""
    while len(x.shape) < len(shape):
        x = extended(x, 0)
    for axis, n in enumerate(shape):
        if x.shape[axis] != n:
            x = take(plain(x), axis, [0] * n)
    return x


def _interleaved(node: Node, x: Value, times: Any, dim: int | None = None) -> Value | None:
    if not isinstance(x, Formed) or not isinstance(times, int) or (dim is None and len(x.shape) > 1):
        return None
    axis = (dim or 0) % len(x.shape)
    return take(x, axis, [i for i in range(x.shape[axis]) for _ in range(times)])


def _mul(node: Node, a: Value, b: Value) -> Value | None:
    if isinstance(a, Fixed) or isinstance(a, (int, float)):
        a, b = b, a
    if isinstance(b, Unit):
        a, b = b, a
    if isinstance(a, Unit) and isinstance(b, Weight):
        return _lengthened(a, b)
    if isinstance(a, Formed) and isinstance(b, (int, float)) and b:
        return Scaled(shape=a.shape, base=a, axis=0, numbers=(float(b),) * a.shape[0])
    if not is_weight(a):
        return None
    if isinstance(b, Fixed) and b.known and len(a.shape) > 1:
        return _masked(plain(a), b.tensor.double())
    if isinstance(a, Weight) and isinstance(b, Weight):
        return _outer(a, b)
    return None


def _masked(a: Value, t: torch.Tensor) -> Value | None:
    """A matrix times numbers for its columns, or for its rows, or times a mask of zeros and ones."""
    shape = (1,) * (len(a.shape) - t.ndim) + tuple(t.shape)
    if shape == a.shape and len(shape) == 2 and min(shape) > 1 and bool(((t == 0) | (t == 1)).all()):
        return holed(a, t)
    long = [i for i, n in enumerate(shape) if n > 1]
    if len(shape) != len(a.shape) or len(long) != 1 or long[0] > 1:
        return None
    return Scaled(shape=a.shape, base=a, axis=long[0], numbers=tuple(t.reshape(-1).tolist()))


def _outer(a: Weight, b: Weight) -> Value | None:
    """A column times a row."""
    if len(a.shape) == 2 and len(b.shape) == 2 and a.shape[0] == 1 and b.shape[1] == 1:
        a, b = b, a
    if len(a.shape) != 2 or a.shape[1] != 1 or is_repeated(a) or is_repeated(b) or 1 in (a.shape[0], b.shape[-1]):
        return None
    if len(b.shape) == 1:
        b = b.arranged(((), *b.dims))
    if len(b.shape) != 2 or b.shape[0] != 1:
        return None
    return Multiplied(shape=(a.shape[0], b.shape[1]), first=a, second=b)


def _matmul(node: Node, a: Value, b: Value) -> Value | None:
    if not is_weight(b) or len(a.shape) != 2 or len(b.shape) != 2:
        return None
    return Multiplied(shape=(a.shape[0], b.shape[1]), first=a, second=b)


def _diag(node: Node, x: Value, offset: int = 0) -> Value | None:
    if offset or (isinstance(x, Weight) and is_repeated(x)):
        return None
    if len(x.shape) == 2 and 1 < min(x.shape) <= LARGEST:
        entries = [run(run(x, 0, i, i + 1), 1, i, i + 1) for i in range(min(x.shape))]
        return beside([select(e, 0, 0) for e in entries], 0)
    if not isinstance(x, Weight) or len(x.shape) != 1:
        return None
    return OnDiagonal(shape=(x.shape[0], x.shape[0]), vector=x)


def _triangle(upper: bool) -> Maker:
    def maker(node: Node, x: Value, offset: int = 0) -> Value | None:
        if len(x.shape) != 2 or offset or not isinstance(x, Weight):
            return None
        return triangle(x, upper)

    return maker


def _sub(node: Node, a: Value, b: Value, alpha: float = 1) -> Value | None:
    mean = node.args[1]
    if alpha == 1 and isinstance(mean, Node) and name_of(mean) == "mean" and mean.args[0] is node.args[0]:
        dims = mean.args[1] if len(mean.args) > 2 and mean.args[2] else ()
        if isinstance(dims, (list, tuple)) and len(dims) == 1 and isinstance(dims[0], int) and len(a.shape) > 1:
            axis = dims[0] % len(a.shape)
            return MeanRemoved(shape=a.shape, base=plain(a), axis=axis) if axis < 2 else None
    return _add(node, a, b, -alpha)


def _add(node: Node, a: Value, b: Value, alpha: float = 1) -> Value | None:
    if not is_weight(b) or not (isinstance(a, Formed) or isinstance(b, Formed) or a.shape != b.shape):
        return None
    shape = tuple(int(n) for n in node.meta["val"].shape)
    if not shape or not a.shape or not b.shape or max(shape) > SPREAD:
        return None
    return Summed(shape=shape, terms=(_spread(a, shape), _scaled(_spread(b, shape), alpha)))


def _scaled(x: Value, c: float) -> Value:
    return x if c == 1 else Scaled(shape=x.shape, base=x, axis=0, numbers=(float(c),) * x.shape[0])


def _neg(node: Node, x: Value) -> Value | None:
    return _scaled(x, -1) if isinstance(x, Formed) else None


def _turned(node: Node, x: Value, *dims: int) -> Value | None:
    swapped = sorted(d % len(x.shape) for d in dims) == [0, 1] if dims else True
    if not isinstance(x, Formed) or len(x.shape) != 2 or not swapped:
        return None
    return Turned(shape=(x.shape[1], x.shape[0]), base=x)


def _slice(
    node: Node, x: Value, dim: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
) -> Value | None:
    axis = dim % len(x.shape)
    first, last, step = slice(start, stop, step).indices(x.shape[axis])
    if step != 1:
        return take(plain(x), axis, range(first, last, step))
    return run(x, axis, first, last) if isinstance(x, Formed) else None


def _select(node: Node, x: Value, dim: int, index: int) -> Value | None:
    axis = dim % len(x.shape)
    return select(x, axis, index % x.shape[axis]) if isinstance(x, Formed) else None


def _same(node: Node, x: Value, *rest: Any) -> Value | None:
    return x if isinstance(x, Formed) else None


def _div(node: Node, a: Value, b: Value) -> Value | None:
    """`w / ||w||` row by row, or filter by filter, as `torch.nn.functional.normalize` writes it."""
    if isinstance(b, (int, float)) and isinstance(a, Formed) and b:
        return _scaled(a, 1 / b)
    found = length_pattern(node)
    if not isinstance(a, Weight) or len(a.shape) < 2 or is_repeated(a) or found is None:
        return None
    source, epsilon, dims = found
    rows = sorted(d % len(a.shape) for d in dims) == list(range(1, len(a.shape)))
    # a larger bound than one that keeps a division by zero away is a length that rows may have
    return Unit(shape=a.shape, v=a) if rows and source is node.args[0] and epsilon <= GUARD else None


def _lengthened(unit: Unit, g: Value) -> Value | None:
    """`g v / ||v||` with a parameter for every row."""
    rows = isinstance(g, Weight) and not is_repeated(g) and g.shape == (unit.shape[0], *(1,) * (len(unit.shape) - 1))
    return Directed(v=unit.v, g=g) if rows else None


MAKERS: dict[str, Maker] = {
    "flip": _flip,
    "roll": _roll,
    "cat": _cat,
    "concat": _cat,
    "stack": _stack,
    "view": _view,
    "reshape": _view,
    "_unsafe_view": _view,
    "view_as": _view,
    "flatten": _view,
    "unsqueeze": _view,
    "squeeze": _view,
    "expand": _expand,
    "expand_as": _expand,
    "repeat_interleave": _interleaved,
    "mul": _mul,
    "matmul": _matmul,
    "mm": _matmul,
    "diag": _diag,
    "diag_embed": _diag,
    "tril": _triangle(upper=False),
    "triu": _triangle(upper=True),
    "sub": _sub,
    "add": _add,
    "neg": _neg,
    "t": _turned,
    "mT": _turned,
    "numpy_T": _turned,
    "transpose": _turned,
    "slice": _slice,
    "select": _select,
    "div": _div,
    "clone": _same,
    "contiguous": _same,
    "alias": _same,
}
