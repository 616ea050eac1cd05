"""Parameters as matrices: what the symbols of a formula stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .statement import Part, Statement
from .style import TEXT

if TYPE_CHECKING:
    import torch


def arrays(law: Statement, params: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The matrix that every symbol of `formula(law)` stands for, by the symbol's name.

    Args:
        law: the law.
        params: tensors by parameter name.

    Raises:
        KeyError: if a parameter of the law is missing.
    """
    out = {}
    for part in dict.fromkeys(p for t in law.terms for p in (t.part, t.partner) if p is not None):
        tensor = params[part.parameter]
        if part.offset:
            tensor = tensor + float(part.offset) * part.identity_like(tensor)
        name, plain = matrix_name(part)
        if not plain:
            tensor = part.viewed(tensor)
        out[name] = tensor.reshape(part.view.shape[0] if plain else part.sizes[0], -1)
    return out


def matrix_name(part: Part) -> tuple[str, bool]:
    """Name of the symbol that a part reads, and whether it is the parameter itself."""
    name = TEXT.shifted(part.parameter, part.offset, len(part.view.shape) == 1) if part.offset else part.parameter
    if len(part.view.shape) <= 2:
        return name, True
    along = str(part.view.order[0]) if part.view.lead == 1 or part.view.paired else "groups"
    return f"{name}_({along}{'*' if part.view.conjugate else ''})", False


def columns(part: Part) -> tuple[int, int]:
    """Columns of the matrix that a part reads, and how many of them are not indexed by the law."""
    total = math.prod(part.view.shape)
    return total // part.sizes[0], total // math.prod(part.sizes)
