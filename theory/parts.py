"""Parts of parameters: a law may read a slice of a parameter, or the parameter in another arrangement, by its name.

`in_proj_weight[0:64]`, `qkv.weight.view(4,3,8,32)[:,1]` and `pos_embed.permute(1,0)` are parts, `w.flip(0)`,
`w.roll(2,0)` and `w.pick(0,2,0,1)` (its entries 2, 0, 1 along axis 0) have another order, `w.real()` and `w.imag()` are
the parts of a complex parameter, whose numbers are pairs along its last axis; anything else is a whole parameter.
Names are read by a fixed grammar, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

HALVES = (".real()", ".imag()")  # how names of the parts of a complex parameter end

_STEP = re.compile(r"\.(view|permute|flip|roll|pick)\((\d+(?:,\d+)*)\)$|\[([:\d,]+)\]$|\.(real|imag)\(\)$")


def base(name: str) -> str:
    """The parameter that a name is a part of."""
    while match := _STEP.search(name):
        name = name[: match.start()]
    return name


def is_part(name: str) -> bool:
    """Whether a name stands for a part of a parameter."""
    return _STEP.search(name) is not None


def read(name: str, params: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A parameter, or a part of one.

    Args:
        name: name of either.
        params: whole parameters by name.

    Raises:
        KeyError: if there is no such parameter.
    """
    if name in params:
        return params[name]
    match = _STEP.search(name)
    if not match:
        raise KeyError(name)
    whole = read(name[: match.start()], params)
    kind, sizes, index, part = match.groups()
    if part is not None:
        return whole.select(-1, int(part == "imag"))
    if kind is not None:
        return _moved(whole, kind, [int(n) for n in sizes.split(",")])
    return whole[tuple(_index(text) for text in index.split(","))]


def _moved(whole: torch.Tensor, kind: str, numbers: list[int]) -> torch.Tensor:
    if kind == "view":
        return whole.reshape(numbers)
    if kind == "permute":
        return whole.permute(numbers)
    if kind == "flip":
        return whole.flip(numbers)
    if kind == "roll":
        return whole.roll(numbers[0], numbers[1])
    axis, *places = numbers
    import torch

    return whole.index_select(axis, torch.tensor(places, device=whole.device))


def ordered(name: str, axis: int, order: Sequence[int]) -> str:
    """The name of a parameter whose entries along an axis have another order.

    Args:
        name: of the parameter, or of a part of it.
        axis: the axis.
        order: at every new place the number of the old one.
    """
    n, start = len(order), order[0] if order else 0
    if list(order) == list(range(n)):
        return name
    if list(order) == list(range(n - 1, -1, -1)):
        return f"{name}.flip({axis})"
    if list(order) == [(start + i) % n for i in range(n)]:
        return f"{name}.roll({n - start},{axis})"
    return f"{name}.pick({axis},{','.join(map(str, order))})"


def viewed(name: str, shape: Sequence[int]) -> str:
    """The name of a parameter in the shape that a block sees, which may be another one than it has."""
    return f"{name}.view({','.join(map(str, shape))})"


def with_parts(params: Mapping[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Parameters by name, with those among some names that are parts of them, or parts of parts."""
    found = dict(params)
    for name in names:
        if name not in found and _is_held(name, params):
            found[name] = read(name, params)
    return found


def _is_held(name: str, params: Mapping[str, torch.Tensor]) -> bool:
    """Whether some parameters hold what a name reads: the whole, or a part that it is a part of."""
    while name not in params:
        if not (match := _STEP.search(name)):
            return False
        name = name[: match.start()]
    return True


def _index(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)
