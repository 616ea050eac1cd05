"""Potentials of mirror descent that act on every entry by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import torch
from torch.func import grad

from ..arguments import of_right_kinds
from ..typed import named_arguments
from .errors import FlowError

Function = Callable[[torch.Tensor], torch.Tensor]


@named_arguments
@dataclass(frozen=True)
@of_right_kinds
class Potential:
    """A strictly convex `phi`, applied to every entry; the mirror map is `phi'`, the metric `phi''`.

    Attributes:
        name: what laws call it.
        function: `phi` on tensors, entry by entry.
        positive: whether it is defined for positive entries only.
        weight: `w` for `phi = w x^2 / 2`, whose metric is constant; None for all others.
        closed: `x phi' - phi`, where it is known in closed form.
    """

    name: str
    function: Function
    positive: bool = False
    weight: float | None = None
    closed: Function | None = None

    def dual(self, x: torch.Tensor) -> torch.Tensor:
        """`phi'`, the law of a constant field: `int phi''`."""
        return grad(lambda y: self.function(y).sum())(x)

    def metric(self, x: torch.Tensor) -> torch.Tensor:
        """`phi''`, entry by entry."""
        return grad(lambda y: self.dual(y).sum())(x)

    def energy(self, x: torch.Tensor) -> torch.Tensor:
        """`x phi'(x) - phi(x) = int x phi''`, the law of a scaling field; `x^2 / 2` for `phi = x^2 / 2`."""
        return self.closed(x) if self.closed else x * self.dual(x) - self.function(x)


EUCLIDEAN = Potential("euclidean", lambda x: x * x / 2, weight=1.0)
ENTROPY = Potential("entropy", lambda x: x * torch.log(x) - x, positive=True, closed=lambda x: x)
BURG = Potential("burg", lambda x: -torch.log(x), positive=True)
HYPENTROPY = Potential("hypentropy", lambda x: x * torch.asinh(x) - torch.sqrt(1 + x * x))
POTENTIALS = {p.name: p for p in (EUCLIDEAN, ENTROPY, BURG, HYPENTROPY)}


def scaled(weight: float) -> Potential:
    """`weight x^2 / 2`: a learning rate of `1 / weight` for these parameters.

    Raises:
        FlowError: for a weight that is no positive number.
    """
    if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < weight < math.inf:
        raise FlowError(f"a quadratic potential has weight {weight!r}, a convex one needs a number above 0")
    return Potential(f"{weight:g} euclidean", lambda x: weight * x * x / 2, weight=float(weight))


def read_potential(given: str | float | Potential) -> Potential:
    """A potential by its name, by the weight of a quadratic one, or as it is.

    Raises:
        FlowError: for an unknown name and a weight that is not positive.
    """
    if isinstance(given, Potential):
        return given
    if isinstance(given, str):
        if given not in POTENTIALS:
            raise FlowError(
                f"no potential is called {given!r}; there are {', '.join(POTENTIALS)}, or pass a flows.Potential"
            )
        return POTENTIALS[given]
    return scaled(given)
