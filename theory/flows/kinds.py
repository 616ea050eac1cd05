"""The flows: gradient flow, momentum, weight decay, mirror and natural gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from numbers import Real

import torch

from ..arguments import there_are
from ..oracle.composed import solve
from ..typed import named_arguments, typed_methods
from .base import Flow, Layout, State
from .errors import FlowError
from .potentials import EUCLIDEAN, Potential, read_potential
from .rate import Rate

Time = Callable[[torch.Tensor], torch.Tensor]

SYMMETRIC = 1e-10  # largest relative skew part of a metric
SINGULAR = 1e-12  # smallest eigenvalue of a metric over the largest


@typed_methods(FlowError, leave=("__init__",))
@named_arguments
@dataclass(frozen=True)
class GradientFlow(Flow):
    """`theta' = -grad L`."""

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient."""
        return gradient


@typed_methods(FlowError, leave=("__init__",))
@named_arguments
@dataclass(frozen=True)
class WeightDecay(Flow):
    """`theta' = -grad L - decay(t) theta`.

    Args:
        decay: a number, or a smooth function of time.

    Source: Marcotte, Gribonval, Peyré 2025, theorem 2.1.
    """

    decay: float | Time = 0.1

    def __post_init__(self) -> None:
        self.rate  # noqa: B018 (a property that checks)

    @cached_property
    def rate(self) -> Rate:
        """The decay as a rate.

        Raises:
            FlowError: for a decay that is neither a number of 0 or more nor a function of time.
        """
        return Rate(self.decay, "decay")

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


@typed_methods(FlowError, leave=("__init__",))
@named_arguments
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

    def __post_init__(self) -> None:
        if not isinstance(self.potentials, Mapping) or not all(isinstance(p, str) for p in self.potentials):
            raise FlowError(
                f"the potentials are {self.potentials!r}; pass one for each pattern of names, as {{'*': 'entropy'}}"
            )
        self._read  # noqa: B018 (a property that checks)

    @cached_property
    def _read(self) -> dict[str, Potential]:
        return {pattern: read_potential(p) for pattern, p in self.potentials.items()}

    def potential(self, name: str) -> Potential:
        """The potential of a parameter."""
        return next((p for pattern, p in self._read.items() if fnmatchcase(name, pattern)), EUCLIDEAN)

    def fit(self, layout: Layout) -> None:
        """Checks that every pattern matches a parameter.

        Raises:
            FlowError: for a pattern that matches none.
        """
        for pattern in self._read:
            if not any(fnmatchcase(name, pattern) for name in layout.shapes):
                raise FlowError(f"the potential of {pattern!r} fits no trainable parameter; {there_are(layout.shapes)}")

    def generic(self, theta: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The point with positive entries where a potential wants them.

        Raises:
            FlowError: if a potential is not strictly convex there.
        """
        parts = {n: p.abs() + 0.5 if self.potential(n).positive else p for n, p in layout.split(theta).items()}
        for n, p in parts.items():
            metric = self.potential(n).metric(p)
            if not bool((torch.isfinite(metric) & (metric > 0)).all()):
                raise FlowError(
                    f"the potential {self.potential(n).name!r} of {n} has second derivatives down to "
                    f"{float(metric.min()):.3g} at a random point; a mirror flow needs them above 0"
                )
        return layout.flatten(parts)

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient over the metric."""
        parts, slopes = layout.split(state.theta), layout.split(gradient)
        return layout.flatten({n: slopes[n] / self.potential(n).metric(p) for n, p in parts.items()})


@typed_methods(FlowError, leave=("__init__",))
@named_arguments
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

    def __post_init__(self) -> None:
        self.rate  # noqa: B018 (a property that checks)
        if not isinstance(self.metric, Mirror):
            raise FlowError(f"the metric of momentum is {self.metric!r}; pass a Mirror({{pattern: potential}})")
        if isinstance(self.ahead, bool) or not isinstance(self.ahead, Real) or not 0 <= self.ahead < math.inf:
            raise FlowError(f"the metric is read {self.ahead!r} ahead; pass a number of 0 or more, in time")

    @cached_property
    def rate(self) -> Rate:
        """The damping as a rate.

        Raises:
            FlowError: for a damping that is neither a number of 0 or more nor a function of time.
        """
        return Rate(self.damping, "damping")

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
            FlowError: for a pattern that matches no parameter.
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


@typed_methods(FlowError, leave=("__init__",))
@named_arguments
@dataclass(frozen=True)
class NaturalGradient(Flow):
    """`theta' = -M(theta)^{-1} grad L` with any metric.

    Args:
        metric: `M(theta)` for a dict of tensors: a positive definite `(D, D)` tensor, or a vector of `D` positive
            numbers for a diagonal metric, with the parameters laid end to end in their order.
    """

    metric: Callable[[dict[str, torch.Tensor]], torch.Tensor]

    def __post_init__(self) -> None:
        if not callable(self.metric):
            raise FlowError(f"the metric is {type(self.metric).__name__}; pass a function of a dict of tensors")

    def generic(self, theta: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The point itself, where the metric has to be one.

        Raises:
            FlowError: for a metric of another shape or dtype, and one that is not symmetric and positive definite.
        """
        metric, d = self.metric(layout.split(theta)), theta.numel()
        if not isinstance(metric, torch.Tensor) or tuple(metric.shape) not in ((d,), (d, d)):
            shape = tuple(metric.shape) if isinstance(metric, torch.Tensor) else type(metric).__name__
            raise FlowError(f"the metric has shape {shape}, {d} parameters need ({d}, {d}) or ({d},)")
        if metric.dtype != theta.dtype:
            raise FlowError(f"the metric is {metric.dtype}, the parameters are {theta.dtype}; give both the same dtype")
        if not bool(torch.isfinite(metric).all()):
            raise FlowError("the metric is not finite at a random point")
        if metric.ndim == 2 and not float((metric - metric.T).norm()) <= SYMMETRIC * float(metric.norm()):
            raise FlowError("the metric is not symmetric at a random point; pass (M + M^T) / 2 if that is meant")
        values = torch.linalg.eigvalsh(metric) if metric.ndim == 2 else metric
        least, most = float(values.min()), float(values.max())
        if not least > SINGULAR * most:
            raise FlowError(
                f"the metric is not positive definite: its eigenvalues at a random point run from {least:.3g} to "
                f"{most:.3g}; add a small multiple of the identity to one that is only semidefinite"
            )
        return theta

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The gradient over the metric."""
        metric = self.metric(layout.split(state.theta))
        return gradient / metric if metric.ndim == 1 else solve(metric, gradient)
