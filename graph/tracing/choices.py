"""Forwards that take out the rows a mask chooses, read as if they took all: what is put back is put back by the mask.

`x[mask]`, `torch.where(mask)`, `index_add_` at such rows, and branches on whether a mask chooses anything have no fixed
shape, so that no graph shows them.  A mixture of experts written so gives the same when every expert reads every token
and what it gives is multiplied by the mask.  Whether that is so is not taken on trust: the module itself runs as it is
written when the rebuilt network is compared with it.

This file is long because every way to choose rows stands beside the one in which they are put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .rows import SAME, Column, Number, Numbers, Rows, Taken, Unreadable, mark, marked

COUNTS = frozenset("sum any count_nonzero bincount histc max amax".split())


class AllRows(TorchFunctionMode):
    """Inside, rows that a mask chooses are all rows; what is written back, or added, is multiplied by the mask."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        handler = _HANDLERS.get(name)
        if handler is not None:
            found = handler(*args, **named)
            if found is not NotImplemented:
                return found
        out = func(*args, **named)
        seen = marked(args[0]) if args else None
        if seen is not None and name in SAME and isinstance(out, torch.Tensor) and marked(out) is None:
            mark(out, seen if not isinstance(seen, Taken) else None)
        elif name in COUNTS and isinstance(out, torch.Tensor) and args and isinstance(args[0], torch.Tensor):
            if args[0].dtype == torch.bool or not args[0].is_floating_point():
                mark(out, "count")
        elif seen == "count" and name in ("__getitem__", "select", "unbind", "__iter__"):
            for part in out if isinstance(out, tuple) else (out,):
                mark(part, "count")
        return out


def _where(mask: Any, *rest: Any, **options: Any) -> Any:
    return NotImplemented if rest or options else _columns(mask)


def _nonzero(mask: Any, as_tuple: bool = False, **options: Any) -> Any:
    if marked(mask) == "truth":
        every = Numbers(Number(i) for i in range(mask.numel()))
        return (every,) if as_tuple else every
    return _columns(mask) if as_tuple else NotImplemented


def _columns(mask: Any) -> Any:
    """All entries of every axis of a mask, each marked."""
    if not isinstance(mask, torch.Tensor):
        return NotImplemented
    if marked(mask) == "truth":
        return (Numbers(Number(i) for i in range(mask.numel())),)
    rows = Rows(mask, 0 if mask.ndim == 1 else None)
    sizes = [torch.arange(n, device=mask.device) for n in mask.shape]
    return tuple(mark(t, Column(rows, i)) for i, t in enumerate(sizes))


def _found(index: Any) -> tuple[Rows, list[int], int] | None:
    """The rows that an index takes, the axes of their mask in its order, and where it stands in the index."""
    items = index if isinstance(index, tuple) else (index,)
    places = [i for i, v in enumerate(items) if isinstance(marked(v), Column)]
    if places:
        marks = [marked(items[i]) for i in places]
        if places != list(range(places[0], places[0] + len(places))) or any(m.rows is not marks[0].rows for m in marks):
            raise Unreadable("rows of several masks at once")
        return marks[0].rows, [m.axis for m in marks], places[0]
    masks = [i for i, v in enumerate(items) if isinstance(v, torch.Tensor) and v.dtype == torch.bool]
    if len(masks) == 1:
        mask = items[masks[0]]
        known = marked(mask)
        rows = known if isinstance(known, Rows) else Rows(mask, -1)
        if known is None:
            mark(mask, rows)
        return rows, list(range(mask.ndim)), masks[0]
    return None


def _getitem(x: Any, index: Any) -> Any:
    if not isinstance(x, torch.Tensor):
        return NotImplemented
    found = _found(index)
    if found is None:
        return NotImplemented
    rows, axes, at = found
    items = list(index) if isinstance(index, tuple) else [index]
    count = len(axes) if rows.axis == -1 else sum(isinstance(marked(v), Column) for v in items)
    before, after = items[:at], items[at + (1 if rows.axis == -1 else count) :]
    if any(v is not None for v in before) or any(isinstance(v, torch.Tensor) for v in after):
        raise Unreadable("rows of a tensor together with other indices")
    if rows.axis is None and len(axes) > 1 and x.ndim > len(axes):
        rows.axis = -1
    whole = rows.axis == -1
    if whole and len(axes) == rows.mask.ndim:
        y = x.flatten(0, len(axes) - 1)
    elif len(axes) == 1:
        rows.settle(axes[0])
        y = x
    else:
        y = rows.entries(x, axes)
    plain = not after
    for _ in before:
        y = y.unsqueeze(0)
    if after:
        y = y[(slice(None),) * (1 + len(before)) + tuple(after)]
    y = y.reshape(y.shape)  # a tensor of its own, to be marked
    return mark(y, Taken(x, rows)) if plain and not before else y


def _chosen(rows: Rows, like: torch.Tensor) -> torch.Tensor:
    """The mask of tokens as numbers that multiply rows."""
    m = rows.chosen()
    return m.reshape(-1, *[1] * (like.ndim - 1)).to(like.dtype)


def _added(x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    seen = marked(x)
    if not isinstance(seen, Taken) or rest or options or not isinstance(y, torch.Tensor):
        return NotImplemented
    out = torch.add(x, y)
    more = y if seen.added is None else seen.added + y
    return mark(out, Taken(seen.source, seen.rows, more))


def _setitem(x: Any, index: Any, value: Any) -> Any:
    found = _found(index)
    if found is None or not isinstance(x, torch.Tensor):
        return NotImplemented
    rows, axes, at = found
    items = index if isinstance(index, tuple) else (index,)
    if at or len(items) != (1 if isinstance(items[0], torch.Tensor) and items[0].dtype == torch.bool else len(axes)):
        raise Unreadable("rows are written together with other indices")
    flat = x.reshape(-1, *x.shape[rows.mask.ndim :]) if rows.axis == -1 else x
    if rows.axis != -1:
        rows.settle(axes[0])
    m, seen = _chosen(rows, flat), marked(value)
    if isinstance(seen, Taken) and seen.source is x and seen.rows is rows and seen.added is not None:
        new = flat + seen.added.to(flat.dtype) * m
    else:
        value = value.to(flat.dtype) if isinstance(value, torch.Tensor) else value
        new = flat * (1 - m) + value * m
    x.copy_(new.reshape(x.shape))
    return None


def _index_add(inplace: bool) -> Callable[..., Any]:
    def index_add(x: Any, dim: int, index: Any, source: Any, **options: Any) -> Any:
        seen = marked(index)
        if not isinstance(seen, Column) or dim != 0 or options:
            return NotImplemented
        seen.rows.settle(seen.axis)
        more = source * _chosen(seen.rows, source)
        return x.add_(more) if inplace else x + more

    return index_add


def _index_put(inplace: bool) -> Callable[..., Any]:
    def index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
        found = _found(tuple(indices))
        if found is None:
            return NotImplemented
        target = x if inplace else x.clone()
        if accumulate:
            rows, axes, _ = found
            rows.settle(axes[0])
            target.add_(values * _chosen(rows, values))
        else:
            _setitem(target, tuple(indices), values)
        return target

    return index_put


def _compared(holds: Callable[[float], bool | None]) -> Callable[..., Any]:
    """A comparison of a count, which is taken to be positive, with a number."""

    def compare(x: Any, y: Any, **options: Any) -> Any:
        if marked(x) != "count" or not isinstance(y, (int, float)):
            return NotImplemented
        truth = holds(y)
        if truth is None:
            return NotImplemented
        return mark(torch.full(x.shape, truth, dtype=torch.bool, device=x.device), "truth" if truth else "never")

    return compare


def _truth(x: Any) -> Any:
    return {"count": True, "truth": True, "never": False}.get(
        marked(x) if isinstance(marked(x), str) else "", NotImplemented
    )


def _bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Counts of numbers below a given one, with the shape that this gives."""
    if weights is not None or not minlength or not isinstance(x, torch.Tensor):
        return NotImplemented
    return mark((x.unsqueeze(-1) == torch.arange(minlength, device=x.device)).sum(0), "count")


def _listed(x: Any) -> Any:
    if marked(x) != "count":
        return NotImplemented
    ones: Any = 1
    for n in reversed(x.shape):
        ones = [ones] * n
    return ones


_HANDLERS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "nonzero": _nonzero,
    "argwhere": _nonzero,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    **dict.fromkeys(("add", "__add__", "__iadd__", "add_", "__radd__"), _added),
    "index_add_": _index_add(True),
    "index_add": _index_add(False),
    "index_put_": _index_put(True),
    "index_put": _index_put(False),
    **dict.fromkeys(("gt", "greater", "__gt__"), _compared(lambda n: True if n <= 0 else None)),
    **dict.fromkeys(("ge", "__ge__"), _compared(lambda n: True if n <= 1 else None)),
    **dict.fromkeys(("ne", "__ne__"), _compared(lambda n: True if n == 0 else None)),
    **dict.fromkeys(("eq", "__eq__"), _compared(lambda n: False if n == 0 else None)),
    "bincount": _bincount,
    "__bool__": _truth,
    **dict.fromkeys(("item", "tolist"), _listed),
}

__all__ = ["AllRows", "Unreadable"]
