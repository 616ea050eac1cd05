"""Laws of a flow: functions of parameters, velocity and time that training does not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from ..arguments import expect_counted, expect_text, of_right_kinds, plural
from ..laws.law import as_parameters
from ..laws.named import Named
from ..laws.pages import Printed
from ..laws.statement import ramp_like
from ..parts import base, with_parts
from ..typed import typed_methods
from .base import Layout
from .errors import FlowError

if TYPE_CHECKING:
    from .base import Flow

Tensors = Mapping[str, torch.Tensor]
Measure = Callable[[Tensors, Tensors, torch.Tensor], torch.Tensor]


@typed_methods(leave=("__init__",))
@dataclass(frozen=True, eq=False)
@of_right_kinds
class FlowLaw:
    """A family of conserved quantities of a flow.

    Attributes:
        name: readable and unique within its set.
        kind: `balance`, `shift` or `frozen` as for the gradient flow; under momentum `angular` (bilinear in parameters
            and velocity), `linear` (a velocity) or `centre` (a position, corrected by the velocity).
        count: number of scalars.
        independent: how many of them are independent at a generic state.
        parameters: names of the parameters that it reads, as laws name them (also parts of parameters).
        formula: the law in plain text.
        source: paper and theorem.
        timed: whether it depends on time.
        inertial: whether it reads the velocity.
        measure: its scalars, from parameters, velocities and time.
        positive: those of `parameters` whose entries have to be above 0.
    """

    name: str
    kind: str
    count: int
    independent: int
    parameters: tuple[str, ...]
    formula: str
    source: str
    timed: bool
    inertial: bool
    measure: Measure = field(repr=False)
    positive: tuple[str, ...] = ()

    def value(self, parameters: object, velocity: object = None, time: float | torch.Tensor = 0.0) -> torch.Tensor:
        """The law's scalars as one tensor.

        Args:
            parameters: a module, a state dict or a dict of tensors.
            velocity: their time derivatives, likewise; needed by laws of momentum only.
            time: how long training has run.

        Raises:
            KeyError: if a parameter is missing.
            FlowError: if the law reads velocities and gets none, and for entries of 0 or less where the potential of a
                mirror flow is defined for positive ones.
        """
        names = list(dict.fromkeys(base(n) for n in self.parameters))
        if self.inertial and velocity is None:
            raise FlowError(f"{self.name} reads velocities but gets none; pass velocity= with one for each parameter")
        theta = with_parts(as_parameters(parameters, names), self.parameters)
        speed = {} if velocity is None else with_parts(as_parameters(velocity, names), self.parameters)
        for n in self.positive:
            if not bool((theta[n] > 0).all()):
                raise FlowError(
                    f"{self.name} reads {n} through a potential of positive numbers, but its smallest entry is "
                    f"{float(theta[n].min()):.3g}; start training from positive ones, or take another potential"
                )
        some = next(iter(theta.values()))
        return self.measure(theta, speed, torch.as_tensor(time, dtype=some.dtype, device=some.device))

    @property
    def corruptions(self) -> tuple[FlowLaw, ...]:
        """False laws of the same shape: one parameter read through an uneven curve, and the clock read wrongly.

        A parameter that never moves has no false law of its own.
        """
        first, measure = self.parameters[0], self.measure

        def uneven(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
            # A factor alone would be forgiven by a logarithm, an offset by a linear law.
            x = theta[first]
            bent = x + ramp_like(x) * x * x
            # A linear law of velocities does not read the parameters.
            return measure({**theta, first: bent}, {**speed, first: bent} if self.kind == "linear" else speed, time)

        def late(theta: Tensors, speed: Tensors, time: torch.Tensor) -> torch.Tensor:
            return measure(theta, speed, 0.5 * time)

        out = [] if self.kind == "frozen" else [uneven]
        return tuple(replace(self, measure=m) for m in out + ([late] if self.timed else []))


@typed_methods(skip=("loss", "independent"))
class FlowLaws(Printed, Named[FlowLaw]):
    """The laws of one network under one flow.

    Attributes:
        flow: the flow.
        loss: the loss they were derived for.
        layout: the trainable parameters.
        independent: number of independent scalar laws at a generic state.
        notes: what was not derived, with its place.  Without notes the list is all that the theorems give; whether it
            is complete is for `count` to say.
    """

    def __init__(
        self, laws: Sequence[FlowLaw], flow: Flow, loss: str, layout: Layout, independent: int, notes: Sequence[str]
    ) -> None:
        super().__init__(laws)
        expect_counted("FlowLaws", independent=independent)
        expect_text("FlowLaws", loss=loss)
        self.flow = flow
        self.loss = loss
        self.layout = layout
        self.independent = independent
        self.notes = tuple(dict.fromkeys(notes))

    def __str__(self) -> str:
        """The size of the set, its laws and its notes, a line each."""
        rows = [f"{law.name}: {law.formula}" for law in self._laws] or ["no law of this flow was derived"]
        rows += [f"note: {note}" for note in self.notes]
        return "\n".join([repr(self)[1:-1], *(f"  {row}" for row in rows)])

    def __repr__(self) -> str:
        flow = type(self.flow).__name__
        notes = f", {plural(len(self.notes), 'note')}" if self.notes else ""
        size = f"{plural(len(self), 'family', 'families')}, {plural(self.count, 'scalar law')}"
        return f"<FlowLaws of {flow}: {size}, {self.independent} independent{notes}>"
