"""Flows other than the gradient flow: the laws of a network under each, and their check.

How many laws there are is counted by `lawful.count(network, flow=...)`, which knows nothing of what is derived here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lawful.theory.arguments import Tolerance, no_such, shown
from lawful.theory.derive.lawset import LawSet
from lawful.theory.flows import (
    Flow,
    FlowError,
    FlowLaw,
    FlowLaws,
    GradientFlow,
    Mirror,
    Momentum,
    NaturalGradient,
    Noise,
    Potential,
    SignDescent,
    WeightDecay,
    as_flow,
    check_laws,
    flow_laws,
    noise_drift,
)
from lawful.theory.gauge.solution import Solution
from lawful.theory.losses import LossLike
from lawful.theory.oracle.modules import Axes
from lawful.theory.oracle.signal import Potential as Function
from lawful.theory.oracle.signal import Sampler
from lawful.theory.oracle.verification import TOLERANCE, Report

from ..architecture.architecture import Architecture
from ..architecture.outputs import losses_of
from .derive import architecture_of, derive
from .fields import fields_of, layout_of
from .reading import NetworkLike, expect_numbers, question

__all__ = [
    "Flow",
    "FlowError",
    "FlowLaw",
    "FlowLaws",
    "GradientFlow",
    "Mirror",
    "Momentum",
    "NaturalGradient",
    "Noise",
    "Potential",
    "SignDescent",
    "WeightDecay",
    "laws",
    "noise_drift",
    "verify",
]


@question(skip=("flow",))
def laws(
    network: NetworkLike,
    flow: Flow,
    loss: LossLike = "mse",
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> FlowLaws:
    """The laws of a network under a flow, from its gauges.

    Args:
        network: an architecture, or a torch module, which is traced.
        flow: the flow.
        loss: the loss of every output (see `lawful.derive`).
        args: example inputs of a module.
        kwargs: its keyword inputs.

    Returns:
        The laws, with `independent` and `notes` on what was not derived.

    Raises:
        FlowError: for a flow that no theorem is known for, and one that names parameters that are not there.
        ShapeError: as for `lawful.derive`.
    """
    as_flow(flow)
    arch = architecture_of(network, tuple(args), kwargs)
    solution = Solution(arch.diagram(losses_of(arch, loss)), lax=False)
    return flow_laws(solution, derive(arch, loss), flow, layout_of(arch))


@question(skip=("flow", "laws"))
def verify(
    network: NetworkLike,
    laws: Sequence[FlowLaw] | FlowLaws | LawSet,
    flow: Flow | None = None,
    loss: LossLike | None = None,
    *,
    args: torch.Tensor | Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: Axes = -1,
    samples: int = 4,
    seed: int = 0,
    tolerance: Tolerance = TOLERANCE,
) -> Report:
    """Checks that the derivative of every law along a flow vanishes, in float64 at random states.

    Args:
        network: an architecture (activation patterns are drawn freely), or a module with example inputs.
        laws: the laws; of those of the gradient flow (from `lawful.derive`) it is asked whether the flow keeps them.
        flow: the flow; that of `laws` by default.
        loss: the loss; that of `laws` by default.
        args: example inputs of a module.
        kwargs: its keyword inputs.
        axis: the axis of the features in a module's output.
        samples: number of random states.
        seed: of everything random.
        tolerance: largest relative residual of a law that holds.

    Returns:
        A verdict, a residual and the smallest residual of a corrupted copy for every law.

    Raises:
        FlowError: for laws without a flow, a flow that does not fit, and laws of parameters that are not there.
        ShapeError: for a module without example inputs, and for losses that do not fit the outputs.
    """
    if not isinstance(laws, Sequence) or isinstance(laws, str):
        raise FlowError(f"the laws are {shown(laws)}; pass those of lawful.flows.laws or lawful.derive")
    if isinstance(laws, FlowLaws):
        flow = flow or laws.flow
        loss = laws.loss if loss is None else loss
    elif isinstance(laws, LawSet):
        loss = laws.loss if loss is None else loss
    assert isinstance(network, Architecture | torch.nn.Module)
    expect_numbers(network, "verify")
    if flow is None:
        raise FlowError("laws in a plain list do not say of which flow they are; pass flow=")
    as_flow(flow).fit(layout_of(network))

    def draw(generator: torch.Generator) -> tuple[Function, torch.Tensor, Sampler]:
        return fields_of(
            network, "mse" if loss is None else loss, generator, args=tuple(args), kwargs=kwargs, axis=axis
        )

    return check_laws(laws, flow, layout_of(network), draw, samples=samples, seed=seed, tolerance=tolerance)


def __getattr__(name: str) -> Any:
    raise no_such("lawful.flows", name, __all__)
