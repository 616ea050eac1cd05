"""An assertion for an invariant that a user wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.architecture.module import Network
from lawful.graph.architecture.outputs import losses_of
from lawful.graph.questions.reading import NetworkLike, network_of
from lawful.theory.arguments import Tolerance
from lawful.theory.inputs import inputs_of
from lawful.theory.laws.law import Law
from lawful.theory.losses import LossLike, shown
from lawful.theory.oracle.modules import Axes, module_points
from lawful.theory.oracle.quantities import Quantity, judge_quantity
from lawful.theory.oracle.verification import TOLERANCE, LawReport, verify
from lawful.theory.typed import typed
from lawful.theory.verdict import Verdict

from .assertions import EPSILON_TOLERANCE, hint, quiet

MORE = 8  # times as many samples where something did not move


@quiet
@typed(skip=("loss", "axis"))
def assert_conserved(
    invariant: Law | Quantity,
    network: NetworkLike,
    args: torch.Tensor | Sequence[Any] = (),
    loss: LossLike = "mse",
    *,
    axis: Axes = -1,
    samples: int = 4,
    seed: int = 0,
    tolerance: Tolerance = TOLERANCE,
    training: bool = True,
) -> LawReport:
    """Fails unless a function of the parameters is constant along gradient flow.

    The derivative of every scalar of the invariant along random loss gradients must vanish, relative to the sum of its
    absolute contributions, in float64.  The same invariant of unevenly scaled parameters is the negative control: it
    must change.

    Args:
        invariant: a law, or a function from tensors by parameter name to a tensor of any shape, made of differentiable
            torch operations: `lambda p: p["up.weight"].square().sum(1) - p["down.weight"].square().sum(0)`.
        network: an architecture (tested at random parameters) or a module (at its own and near them; left as it was).
        args: example inputs of a module, `x` or `(x, ...)`; not needed for one made by `Architecture.to_torch`.
        loss: the loss of every output (see `derive`).
        axis: the axis of the features (the classes) in a module's output, or one for every output; that of an
            architecture, and of a module made from one, is known.
        samples: number of random points; eight times as many where a number of the invariant did not move.
        seed: of everything random.
        tolerance: largest relative residual.
        training: run a module in training mode; False keeps its modes.

    Returns:
        The residual, that of the control, and the verdict `HOLDS`.

    Raises:
        AssertionError: if the invariant changes, is not finite, or was not tested (zero gradients, a constant, a
            control that passes too).
        TypeError: if the function does not give a tensor.
    """
    __tracebackhide__ = True
    name = invariant.name if isinstance(invariant, Law) else getattr(invariant, "__name__", type(invariant).__name__)
    network, (args, _) = network_of(network, "assert_conserved"), inputs_of("assert_conserved", args)
    if isinstance(network, Network):
        loss, axis = losses_of(network.arch, loss), network.output_axes
        args = args or network.arch.random_inputs(6, torch.Generator().manual_seed(seed))
    mode = True if training else None
    for tries in (samples, MORE * samples):
        report, passed = _report(name, invariant, network, loss, args, (tries, seed, tolerance, axis, mode))
        if report.verdict is not Verdict.VACUOUS:
            break  # else: units that are dead at all of the points
    if not passed:
        raise AssertionError(
            f"{name} is not shown to be conserved under {shown(loss)}: residual {report.residual:.1e}, control "
            f"{report.control:.1e}\n{hint(report)}"
        )
    return report


def _report(
    name: str,
    invariant: Law | Quantity,
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    args: tuple[Any, ...],
    how: tuple[int, int, float, Axes, bool | None],
) -> tuple[LawReport, bool]:
    """What was measured, with a number of samples, a seed, a tolerance, an axis and a mode; and whether that passes."""
    samples, seed, tolerance, axis, mode = how
    if isinstance(invariant, Law):
        given = {"args": args, "training": mode, "axis": axis}
        options: dict[str, Any] = {} if isinstance(network, Architecture) else given
        report = verify([invariant], network, loss, samples=samples, seed=seed, tolerance=tolerance, **options).laws[0]
        close = isinstance(network, Architecture) or report.residual <= EPSILON_TOLERANCE
        return report, report.verdict.passed or (
            report.verdict is Verdict.APPROXIMATE and not invariant.exact and close
        )
    points = (
        network.points(loss, samples, seed, False)
        if isinstance(network, Architecture)
        else module_points(network, loss, args, samples, seed, axis, mode)
    )
    report = judge_quantity(name, invariant, points, seed, tolerance)
    return report, report.verdict.passed
