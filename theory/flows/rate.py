"""Rates that may depend on time, and the integrals that laws need of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real

import numpy as np
import torch

from .errors import FlowError

NODES = 24  # of Gauss-Legendre quadrature on each panel
PANELS = 8  # of equal length on [0, t]


@dataclass(frozen=True)
class Rate:
    """A damping or decay `r(t)`.

    Integrals of a function are Gauss-Legendre quadratures on `PANELS` equal parts of `[0, t]`: exact to rounding for
    one that is smooth and has at most some ten periods on each part, and only nearly so for one with a kink.

    Args:
        value: a number of 0 or more, or a smooth function of a time tensor that `torch` can differentiate.
        name: what errors call it.

    Raises:
        FlowError: for anything else.
    """

    value: float | Callable[[torch.Tensor], torch.Tensor]
    name: str = "rate"

    def __post_init__(self) -> None:
        if callable(self.value):
            self(torch.tensor([0.5, 1.0], dtype=torch.float64))
            first = self(torch.zeros(1, dtype=torch.float64))
            if not bool(torch.isfinite(first)):
                raise FlowError(
                    f"the {self.name} at time 0, from where laws are integrated, is {float(first)}; let time begin "
                    "later, as in lambda t: 3 / (1 + t)"
                )
        elif isinstance(self.value, bool) or not isinstance(self.value, Real) or not 0 <= self.value < math.inf:
            raise FlowError(
                f"the {self.name} is {self.value!r}; pass a number of 0 or more, or a function of the time tensor"
            )

    def __call__(self, t: torch.Tensor) -> torch.Tensor:
        """`r(t)`, of the shape of `t`.

        Raises:
            FlowError: for a function that gives anything but a number for each time.
        """
        if not callable(self.value):
            return torch.full_like(t, self.value)
        try:
            return torch.as_tensor(self.value(t), dtype=t.dtype, device=t.device).expand_as(t)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise FlowError(
                f"the {self.name} is a function that gives no number for each time of a tensor of shape "
                f"{tuple(t.shape)} ({reason}); write it with torch, as lambda t: 1 / (1 + t)"
            ) from error

    @property
    def zero(self) -> bool:
        """Whether it is the number 0."""
        return not callable(self.value) and self.value == 0

    def integral(self, t: torch.Tensor) -> torch.Tensor:
        """`int_0^t r`, of the shape of `t`."""
        if not callable(self.value):
            return self.value * t
        nodes, weights = (x.to(t) for x in _nodes())
        return t * (self(t[..., None] * nodes) * weights).sum(-1)

    def memory(self, t: torch.Tensor) -> torch.Tensor:
        """`int_0^t exp(int_s^t r) ds`, the solution of `G' = r G + 1` with `G(0) = 0`."""
        if not callable(self.value):
            if self.value == 0:
                return t
            return torch.expm1(self.value * t) / self.value
        nodes, weights = (x.to(t) for x in _nodes())
        past = self.integral(t[..., None] * nodes)
        return t * (torch.exp(self.integral(t)[..., None] - past) * weights).sum(-1)


@lru_cache(maxsize=1)
def _nodes() -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    starts = np.arange(PANELS)[:, None]
    nodes, weights = (starts + (x + 1) / 2) / PANELS, np.broadcast_to(w / 2 / PANELS, (PANELS, NODES))
    return torch.from_numpy(nodes.reshape(-1)), torch.from_numpy(weights.reshape(-1).copy())
