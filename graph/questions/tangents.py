"""The directions in which a network's gauges move its parameters at one point, family by family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.func import jacrev

from lawful.theory.derive.lawset import LawSet
from lawful.theory.flows import FlowLaw, Layout, Momentum, flow_laws
from lawful.theory.gauge.solution import Solution
from lawful.theory.gauge.translations import Translations
from lawful.theory.losses import LossLike
from lawful.theory.parts import with_parts

from ..architecture.architecture import Architecture
from ..architecture.outputs import losses_of

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Tangents:
    """Some directions of a gauge at one point.

    Attributes:
        name: of what moves (`balance of fc0`, `rotations of fc0`).
        kind: `balance`, `shift`, `frozen` (gradients of laws), `rotation` or `translation` (which give no law).
        parameters: names of the parameters that they move.
        rows: shape `(directions, D)`; a basis or more.
    """

    name: str
    kind: str
    parameters: tuple[str, ...]
    rows: torch.Tensor

    @property
    def lawful(self) -> bool:
        """Whether they are gradients of laws."""
        return self.kind in ("balance", "shift", "frozen")


def tangents(
    arch: Architecture, laws: LawSet, loss: LossLike, layout: Layout, values: Tensors
) -> tuple[list[Tangents], tuple[str, ...]]:
    """All directions that the engine derives, and its notes on those that it does not.

    A quadratic law is a symmetric gauge, and its gradient the direction; an angular momentum under inertia is a skew
    one, and its gradient in the velocity the direction (Noether).

    Args:
        arch: the network.
        laws: its laws.
        loss: the loss of every output.
        layout: its trainable parameters.
        values: the point, with the frozen parameters.
    """
    found = []
    theta = layout.flatten(values)

    def rows(function: Callable[[Tensors], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
        return jacrev(lambda t: function(values | layout.split(t)).reshape(-1))(at)

    for law in laws:
        found.append(Tangents(law.name, law.kind, law.parameters, rows(law.value, theta)))
    diagram = arch.diagram(losses_of(arch, loss))
    turning = flow_laws(Solution(diagram, lax=False), laws, Momentum(), layout)
    for one in turning:
        if one.kind == "angular":
            name = one.name.replace("angular momentum", "rotations")
            found.append(Tangents(name, "rotation", one.parameters, rows(_momentum(one, values), 0 * theta)))
    names = tuple(diagram.parameters)
    shifted = Translations(diagram, with_parts(values, names)).fields()
    if shifted:

        def moved(t: torch.Tensor) -> torch.Tensor:
            parts = with_parts(values | layout.split(t), names)
            return torch.stack([torch.stack([(parts[n] * x).sum() for n, x in f.items()]).sum() for f in shifted])

        movers = tuple(dict.fromkeys(n for f in shifted for n, x in f.items() if float(x.norm()) > 1e-10))
        found.append(Tangents("shifts that later parameters undo", "translation", movers, jacrev(moved)(theta)))
    return found, turning.notes


def _momentum(law: FlowLaw, values: Tensors) -> Callable[[Tensors], torch.Tensor]:
    """An angular momentum at fixed parameters, as a function of the velocity, in which it is linear."""
    point = with_parts(values, law.parameters)
    return lambda speed: law.measure(point, with_parts(speed, law.parameters), torch.zeros((), dtype=torch.float64))
