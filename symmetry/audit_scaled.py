"""The parameters of a model as a tool leaves them that reads a map: rows divided, columns multiplied."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lawful.theory.parts import base

from .export import Scaling
from .moves import moved
from .order import axis_of
from .reach import not_behind
from .running import Tensors, real_shape
from .symmetries import Symmetries


def scaled(
    found: Symmetries, tensors: Tensors, smooth: str, balance: Sequence[str], closest: Scaling | None, seed: int
) -> tuple[Tensors, str]:
    """The parameters under random factors, as a tool that reads the map scales them; or why that is impossible."""
    if closest is not None and closest.ordered:
        return _answered(found, tensors, smooth, balance, closest, seed)
    columns = {b: axis_at(found, tensors, b, 1) for b in balance}
    idle = not_behind(found, smooth, [b for b, end in columns.items() if end is None])
    ends = {smooth: axis_at(found, tensors, smooth, 0)} | {b: end for b, end in columns.items() if b not in idle}
    known = [end for end in ends.values() if end is not None]
    if len(known) < len(ends):
        name = next(n for n, end in ends.items() if end is None)
        gain = name in tensors or f"{name}.weight" in tensors
        return {}, f"{name} has {'one number for a channel' if gain else 'no weight'}, and nothing that reads channels"
    sizes = [tensors[n].shape[axis] for n, axis in known]
    if len(set(sizes[1:])) > 1 or sizes[0] < sizes[-1]:
        return {}, f"{smooth} writes {sizes[0]} channels and {balance[0]} reads {sizes[1]}"
    n = sizes[-1]
    factors = torch.exp(0.4 * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    out: Tensors = {}
    (weight, axis), *others = known
    offset = offset_of(found, weight)
    out[weight] = times(tensors[weight] + offset, 1 / factors, axis) - offset
    bias = f"{smooth}.bias"
    if bias in tensors and tensors[bias].ndim == 1:
        out[bias] = times(tensors[bias], 1 / factors, 0)
    for name, at in others:
        out[name] = times(out.get(name, tensors[name]), factors, at)
    return out, ""


def _answered(
    found: Symmetries, tensors: Tensors, smooth: str, balance: Sequence[str], closest: Scaling, seed: int
) -> tuple[Tensors, str]:
    """The same where a symmetry says how most of them are scaled: heads, experts and packed parts as they are."""
    s = closest.symmetry
    shape = s.shape if s.kind == "scale" else s.shape[:-1]
    logs = 0.4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    element = s.exp(logs if s.kind == "scale" else torch.diag_embed(logs))
    moves = tuple(m for m in s.moves if found.home(m.parameter) in (smooth, *balance))
    out = moved(moves, s.kinds, element, tensors)
    for name in (b for b in balance if b not in closest.balance):
        end = axis_at(found, tensors, name, 1)
        if end is None or tensors[end[0]].shape[end[1]] != logs.numel():
            return out if set(closest.balance) - set(balance) else {}, f"{name} has no weight of {logs.numel()} inputs"
        out[end[0]] = times(out.get(end[0], tensors[end[0]]), torch.exp(-logs).reshape(-1), end[1])
    return out, ""


def axis_at(found: Symmetries, tensors: Tensors, module: str, side: int) -> tuple[str, int] | None:
    """The weight of a module and the axis of its outputs (side 0) or inputs (side 1)."""
    name = module if module in found.sizes else f"{module}.weight"
    if name not in tensors:
        return None
    for part, uses in found.uses.items():
        if base(part) == name:
            for _, use in uses:
                for ends, view in zip(use.axes, use.views, strict=True):
                    if (max(s for _, s in ends) > 0) == (side == 0):
                        axis = axis_of(part, view, real_shape(tensors[name]))
                        if axis is not None:
                            return name, axis
    return (name, side) if side < tensors[name].ndim else None


def offset_of(found: Symmetries, weight: str) -> float:
    """What a forward adds to a gain before it multiplies."""
    return float(next((u.offset for _, u in found.uses.get(weight, ())), 0))


def times(tensor: torch.Tensor, factors: torch.Tensor, axis: int) -> torch.Tensor:
    """A tensor with the last entries of an axis multiplied."""
    every = torch.ones(tensor.shape[axis], dtype=torch.float64)
    every[-len(factors) :] = factors
    return tensor * every.to(tensor).reshape([-1 if i == axis else 1 for i in range(tensor.ndim)])
