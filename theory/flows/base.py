"""What a flow is: how the state of training moves, with and without a loss gradient.

The state is `(t, theta, v)`: time where the flow depends on it, the parameters, and their velocity where the flow has
one.  A flow is a *drift*, which acts without any loss, and a *push*, which a loss gradient gives.  The push is linear
in the gradient (sign descent apart), so a function of the state is conserved for every data set exactly when the drift
and the push of every single output gradient leave it alone, and Frobenius counts such functions:
`dim(state) - dim Lie{drift, pushes}`.

Source: Marcotte, Gribonval, Peyré, Keep the momentum (2024), section 3.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import grad

from ..oracle.counting import Count, count_span
from ..oracle.signal import Potential, Sampler, potential_moves
from ..typed import typed_methods
from .errors import FlowError

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """The trainable parameters in the order in which they are laid end to end.

    Attributes:
        shapes: shape by name.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """Number of scalars."""
        return sum(map(math.prod, self.shapes.values()))

    def flatten(self, tensors: Tensors) -> torch.Tensor:
        """One vector of all parameters; other names are left out."""
        return torch.cat([tensors[n].reshape(-1) for n in self.shapes])

    def split(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parameters by name from one vector."""
        parts = vector.split([math.prod(s) for s in self.shapes.values()])
        return {n: p.reshape(s) for (n, s), p in zip(self.shapes.items(), parts, strict=True)}


@dataclass(frozen=True)
class State:
    """A point of a flow, or a direction at one.

    Attributes:
        time: a scalar tensor.
        theta: all trainable parameters as one vector.
        velocity: likewise.
    """

    time: torch.Tensor
    theta: torch.Tensor
    velocity: torch.Tensor


@typed_methods(FlowError, least={"known": 0}, leave=("__init__",))
@dataclass(frozen=True)
class Flow(ABC):
    """A way of training in continuous time.

    Subclasses say what they keep besides the parameters (`timed`, `inertial`) and how they move.
    """

    @property
    def timed(self) -> bool:
        """Whether laws may depend on time."""
        return False

    @property
    def inertial(self) -> bool:
        """Whether the state has a velocity."""
        return False

    def fit(self, layout: Layout) -> None:  # noqa: B027 (most flows fit everything)
        """Checks that the flow fits some parameters.

        Raises:
            FlowError: if it names parameters that are not there.
        """

    def generic(self, theta: torch.Tensor, layout: Layout) -> torch.Tensor:
        """A random point moved to where the flow is defined.

        Raises:
            FlowError: if the flow is not defined there.
        """
        return theta

    def drift(self, state: State, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
        """How parameters and velocity move without a loss (time moves at rate 1)."""
        return torch.zeros_like(state.theta), torch.zeros_like(state.velocity)

    @abstractmethod
    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """What a loss gradient takes from the velocity, or from the parameters where there is no velocity."""

    def motion(self, state: State, gradient: torch.Tensor, layout: Layout) -> State:
        """The derivative of the state along the flow of a loss with this gradient."""
        theta, velocity = self.drift(state, layout)
        push = self.push(state, gradient, layout)
        time = torch.ones_like(state.time)
        if self.inertial:
            return State(time, theta, velocity - push)
        return State(time, theta - push, velocity)

    def count(
        self,
        potential: Potential,
        theta: torch.Tensor,
        sample: Sampler,
        layout: Layout,
        generator: torch.Generator,
        *,
        known: int | None = None,
        depth: int = 6,
        progress: Callable[[str], None] | None = None,
    ) -> Count:
        """Counts the independent laws of the flow by the Lie algebra of its fields.

        Args:
            potential: `f(theta, data)`, whose gradients are those that losses can send.
            theta: a random point, shape `(D,)`; moved to where the flow is defined.
            sample: gives data with one leading axis.
            layout: names and shapes of what `theta` holds.
            generator: of the random time, velocity and combinations.
            known: a number of laws proved already; reaching it ends the search early.
            depth: largest number of nested brackets.
            progress: called with a line before each level.

        Raises:
            FlowError: if the flow names parameters that are not there, or its metric is none.
        """
        self.fit(layout)
        d = theta.numel()
        if not d:
            return count_span(self._no_field, theta, sample, moves=lambda: False)
        theta = self.generic(theta, layout)
        options: dict[str, Any] = {"dtype": theta.dtype, "generator": generator}
        time = 0.5 + torch.rand(int(self.timed), **options)
        velocity = torch.randn(d if self.inertial else 0, **options)
        slope = grad(potential)

        def field(z: torch.Tensor, data: Any) -> torch.Tensor:
            fresh, weight = data
            t, q, v = z.split([len(time), d, len(velocity)])
            now = State(t.sum() if self.timed else t.new_zeros(()), q, v if self.inertial else torch.zeros_like(q))
            push, (dq, dv) = self.push(now, slope(q, fresh), layout), self.drift(now, layout)
            if not (self.timed or self.inertial):
                return push
            # A random multiple of the drift in every field: combinations of both span what each of them does.
            moved = [weight * dq, weight * dv + push] if self.inertial else [weight * dq + push]
            return torch.cat([weight * torch.ones_like(t), *moved])

        def draw(n: int) -> Any:
            return sample(n), torch.randn(n, **options)

        state = torch.cat([time, theta, velocity])
        alive = lambda: potential_moves(potential, theta, sample)  # noqa: E731
        return count_span(field, state, draw, moves=alive, known=known, depth=depth, progress=progress)

    @staticmethod
    def _no_field(state: torch.Tensor, data: Any) -> torch.Tensor:
        return torch.zeros_like(state)


def as_flow(flow: object) -> Flow:
    """A flow as it is.

    Raises:
        FlowError: for anything else.
    """
    if isinstance(flow, Flow):
        return flow
    called = flow.__name__ if isinstance(flow, type) else repr(flow)
    raise FlowError(f"the flow is {called}; pass an object of lawful.flows, such as Momentum(0.5)")
