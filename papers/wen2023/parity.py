"""The data of all parts: signs, and the product of two of them."""

from __future__ import annotations

import torch
from torch import Tensor


def parity(features: int, many: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform signs, shape `(many, features)`, and the product of the first two."""
    x = torch.randint(0, 2, (many, features), generator=generator).double() * 2 - 1
    return x, x[:, 0] * x[:, 1]
