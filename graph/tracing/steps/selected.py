"""Contractions of a table with fixed matrices that only choose its entries: relative biases by one-hot lookups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from ..context import Context
from ..layout import Atom, Dim
from ..values import Fixed, Rows, Weight

LARGEST = 2_000_000  # entries of what is chosen


def chosen_rows(low: Context, node: Node) -> Rows | None:
    """What a call gives as rows of one parameter, found by running it on the numbers of the entries.

    Args:
        low: the program.
        node: a call that reads one parameter and fixed numbers, maybe through calls that were chosen rows too.

    Returns:
        Rows of the parameter as a table, of which one axis is an axis of the result; None for anything else.
    """
    found = _made_of(low, node)
    if found is None or not 0 < node.meta["val"].numel() <= LARGEST:
        return None
    weight, run = found
    numbers = torch.arange(math.prod(weight.shape), dtype=torch.float64)
    index = run(numbers.reshape(weight.shape))
    whole = index.round()
    if bool((index - whole).abs().max() > 1e-9) or whole.min() < 0 or whole.max() >= len(numbers):
        return None
    entry = whole.long()
    table = torch.rand(len(numbers), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if not torch.allclose(run(table.reshape(weight.shape)), table[entry], rtol=1e-12, atol=0):
        return None  # a sum that happens to be a number of an entry
    return _by_width(weight, entry)


def _by_width(weight: Weight, entry: torch.Tensor) -> Rows | None:
    """Entries of a parameter as rows, if one of its axes is an axis of what is chosen."""
    places = torch.unravel_index(entry, weight.shape)
    for axis, n in enumerate(weight.shape):
        for dim, length in enumerate(entry.shape):
            shape = [1] * entry.ndim
            shape[dim] = length
            along = torch.arange(length).reshape(shape)
            others = [p for k, p in enumerate(places) if k != axis]
            if length != n or n < 2 or not bool((places[axis] == along).all()):
                continue
            if any(not bool((p == p.narrow(dim, 0, 1)).all()) for p in others):
                continue
            rows, lengths = torch.zeros_like(entry), [m for k, m in enumerate(weight.shape) if k != axis]
            for p, m in zip(others, lengths, strict=True):
                rows = rows * m + p
            atoms = tuple(a for k, d in enumerate(weight.dims) if k != axis for a in d)
            return _rows(weight.arranged((atoms, weight.dims[axis])), rows.select(dim, 0), dim)
    return None


def _rows(table: Weight, index: torch.Tensor, dim: int) -> Rows:
    dims: list[Dim] = []
    step = index.numel()
    for n in index.shape:
        step //= n
        dims.append((Atom(0, n, step),) if n > 1 else ())
    dims.insert(dim, (Atom(1, table.shape[1]),))
    return Rows(weight=table, index=index, dims=tuple(dims))


def _made_of(low: Context, node: Node) -> tuple[Weight, Callable[[torch.Tensor], torch.Tensor]] | None:
    """The parameter that a call is made of, beside fixed numbers, and the call as a function of it."""
    weights: dict[Node, Weight] = {}

    def known(n: Node, root: bool) -> bool:
        value = low.env.get(n)
        if not root and isinstance(value, Weight):
            weights[n] = value
            return True
        if not root and isinstance(value, Fixed):
            return value.known
        chosen = root or isinstance(value, Rows)
        return chosen and n.op == "call_function" and all(known(m, False) for m in n.all_input_nodes)

    if not known(node, True) or len(weights) != 1:
        return None
    ((leaf, weight),) = weights.items()

    def run(table: torch.Tensor) -> torch.Tensor:
        done: dict[Node, Any] = {leaf: table}

        def value(n: Node) -> Any:
            if n not in done:
                held = low.env.get(n)
                if isinstance(held, Fixed):
                    done[n] = held.tensor.double() if held.tensor.is_floating_point() else held.tensor
                else:
                    target: Callable[..., Any] = n.target  # type: ignore[assignment]
                    done[n] = target(*torch.fx.map_arg(n.args, value), **torch.fx.map_arg(n.kwargs, value))
            return done[n]

        found: torch.Tensor = value(node)
        return found

    return weight, run


__all__ = ["chosen_rows"]
