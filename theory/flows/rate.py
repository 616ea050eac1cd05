"""Rates that may depend on time, and the integrals that laws need of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

NODES = 48  # of Gauss-Legendre quadrature: rounding for rates that are smooth on [0, t]


@dataclass(frozen=True)
class Rate:
    """A damping or decay `r(t)`.

    Args:
        value: a number, or a smooth function of a time tensor that `torch` can differentiate.
    """

    value: float | Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, t: torch.Tensor) -> torch.Tensor:
        """`r(t)`, of the shape of `t`."""
        return self.value(t) if callable(self.value) else torch.full_like(t, self.value)

    @property
    def zero(self) -> bool:
        """Whether it is the number 0."""
        return not callable(self.value) and self.value == 0

    def integral(self, t: torch.Tensor) -> torch.Tensor:
        """`int_0^t r`, of the shape of `t`."""
        if not callable(self.value):
            return self.value * t
        nodes, weights = (x.to(t) for x in _gauss())
        return t * (self(t[..., None] * nodes) * weights).sum(-1)

    def memory(self, t: torch.Tensor) -> torch.Tensor:
        """`int_0^t exp(int_s^t r) ds`, the solution of `G' = r G + 1` with `G(0) = 0`."""
        if not callable(self.value):
            if self.value == 0:
                return t
            return torch.expm1(self.value * t) / self.value
        nodes, weights = (x.to(t) for x in _gauss())
        past = self.integral(t[..., None] * nodes)
        return t * (torch.exp(self.integral(t)[..., None] - past) * weights).sum(-1)


@lru_cache(maxsize=1)
def _gauss() -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)
