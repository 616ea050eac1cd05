"""Parts of parameters: a law may read a slice of a parameter, or the parameter in another arrangement, by its name.

`in_proj_weight[0:64]`, `qkv.weight.view(4,3,8,32)[:,1]` and `pos_embed.permute(1,0)` are parts; anything else is a
whole parameter.  Names are read by a fixed grammar, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STEP = re.compile(r"\.(view|permute)\((\d+(?:,\d+)*)\)$|\[([:\d,]+)\]$")


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
    kind, sizes, index = match.groups()
    if kind == "view":
        return whole.reshape([int(n) for n in sizes.split(",")])
    if kind == "permute":
        return whole.permute([int(n) for n in sizes.split(",")])
    return whole[tuple(_index(text) for text in index.split(","))]


def with_parts(params: Mapping[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Parameters by name, with those among some names that are parts of them."""
    found = dict(params)
    for name in names:
        if name not in found and base(name) in params:
            found[name] = read(name, params)
    return found


def _index(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)
