"""The flows: gradient flow, momentum, weight decay, mirror and natural gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property

import torch

from .base import Flow, FlowError, Layout, State
from .potentials import EUCLIDEAN, Potential, read_potential
from .rate import Rate

Time = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class GradientFlow(Flow):
    """`theta' = -grad L`."""

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient."""
        return gradient


@dataclass(frozen=True)
class WeightDecay(Flow):
    """`theta' = -grad L - decay(t) theta`.

    Args:
        decay: a number, or a smooth function of time.

    Source: Marcotte, Gribonval, Peyré 2025, theorem 2.1.
    """

    decay: float | Time = 0.1

    @property
    def rate(self) -> Rate:
        """The decay as a rate."""
        return Rate(self.decay)

    @property
    def timed(self) -> bool:
        """Laws depend on time."""
        return True

    def drift(self, state: State, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
        """`-decay theta`."""
        return -self.rate(state.time) * state.theta, torch.zeros_like(state.velocity)

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient."""
        return gradient


@dataclass(frozen=True)
class Mirror(Flow):
    """`theta' = -phi''(theta)^{-1} grad L`, with a potential `phi` for every parameter.

    Args:
        potentials: for name patterns (`*` stands for anything, the first match counts) the name of a potential
            (`entropy`, `burg`, `hypentropy`, `euclidean`), the weight of a quadratic one (the inverse of a learning
            rate), or a `Potential`.  Parameters that no pattern matches are euclidean.

    Source: Marcotte, Gribonval, Peyré 2024 (NMF and ICNN).
    """

    potentials: Mapping[str, str | float | Potential] = field(default_factory=dict)

    @cached_property
    def _read(self) -> dict[str, Potential]:
        return {pattern: read_potential(p) for pattern, p in self.potentials.items()}

    def potential(self, name: str) -> Potential:
        """The potential of a parameter.

        Raises:
            FlowError: for an unknown potential.
        """
        return next((p for pattern, p in self._read.items() if fnmatchcase(name, pattern)), EUCLIDEAN)

    def fit(self, layout: Layout) -> None:
        """Checks that every pattern matches a parameter.

        Raises:
            FlowError: for a pattern that matches none, and an unknown potential.
        """
        for pattern in self._read:
            if not any(fnmatchcase(name, pattern) for name in layout.shapes):
                known = ", ".join(list(layout.shapes)[:8])
                raise FlowError(f"the potential of {pattern!r} fits no trainable parameter; there are {known}")

    def generic(self, theta: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The point with positive entries where a potential wants them."""
        parts = layout.split(theta)
        return layout.flatten({n: p.abs() + 0.5 if self.potential(n).positive else p for n, p in parts.items()})

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient over the metric."""
        parts, slopes = layout.split(state.theta), layout.split(gradient)
        return layout.flatten({n: slopes[n] / self.potential(n).metric(p) for n, p in parts.items()})


@dataclass(frozen=True)
class Momentum(Flow):
    """`theta'' + damping(t) theta' = -grad L`, or with a metric `-phi''(theta + ahead theta')^{-1} grad L`.

    The metric is read `ahead` of the parameters in the accelerated mirror flow of Wibisono, Wilson and Jordan (2016),
    and there the laws of NMF are lost; with the metric at the parameters they are not.

    Args:
        damping: a number, or a smooth function of time.
        metric: the potentials of a mirror flow (NMF and ICNN with momentum); euclidean if not given.
        ahead: how far ahead of the parameters the metric is read, in time.

    Source: Marcotte, Gribonval, Peyré 2024.
    """

    damping: float | Time = 0.5
    metric: Mirror = field(default_factory=Mirror)
    ahead: float = 0.0

    @property
    def rate(self) -> Rate:
        """The damping as a rate."""
        return Rate(self.damping)

    @property
    def timed(self) -> bool:
        """Laws depend on time."""
        return True

    @property
    def inertial(self) -> bool:
        """The state has a velocity."""
        return True

    def fit(self, layout: Layout) -> None:
        """Checks that the metric fits.

        Raises:
            FlowError: for a pattern that matches no parameter, and an unknown potential.
        """
        self.metric.fit(layout)

    def generic(self, theta: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The point with positive entries where the metric wants them."""
        return self.metric.generic(theta, layout)

    def drift(self, state: State, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
        """`(v, -damping v)`."""
        return state.velocity, -self.rate(state.time) * state.velocity

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient over the metric, on the velocity."""
        if not self.metric.potentials:
            return gradient
        return self.metric.push(replace(state, theta=state.theta + self.ahead * state.velocity), gradient, layout)


@dataclass(frozen=True)
class NaturalGradient(Flow):
    """`theta' = -M(theta)^{-1} grad L` with any metric.

    Args:
        metric: `M(theta)` for a dict of tensors: a positive definite `(D, D)` tensor, or a vector of `D` positive
            numbers for a diagonal metric, with the parameters laid end to end in their order.
    """

    metric: Callable[[dict[str, torch.Tensor]], torch.Tensor]

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient over the metric.

        Raises:
            FlowError: for a metric of another shape.
        """
        metric, d = self.metric(layout.split(state.theta)), state.theta.numel()
        if tuple(metric.shape) not in ((d,), (d, d)):
            raise FlowError(f"the metric has shape {tuple(metric.shape)}, {d} parameters need ({d}, {d}) or ({d},)")
        return gradient / metric if metric.ndim == 1 else torch.linalg.solve(metric, gradient)
