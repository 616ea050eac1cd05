"""From a network's gauges to its laws under a flow."""

from __future__ import annotations

from functools import singledispatch

from ..derive.lawset import LawSet
from ..gauge.solution import Solution
from ..laws.law import Law
from .base import Flow, Layout, as_flow
from .entries import reduced, sign_laws
from .errors import FlowError
from .kinds import GradientFlow, Mirror, Momentum, NaturalGradient, WeightDecay
from .laws import FlowLaw, FlowLaws
from .momentum import momentum_laws
from .quadratic import as_flow_law, decay_laws, mirror_laws
from .sign import SignDescent

Found = tuple[list[FlowLaw], list[str]]


def flow_laws(solution: Solution, laws: LawSet, flow: Flow, layout: Layout) -> FlowLaws:
    """The laws of a network under a flow.

    Args:
        solution: its gauges, with every epsilon read literally.
        laws: its laws under the gradient flow.
        flow: the flow.
        layout: its trainable parameters.

    Raises:
        FlowError: for a flow that no theorem is known for, and one that does not fit the parameters.
    """
    as_flow(flow).fit(layout)
    read = reduced(laws)
    exact = [law for law in read if law.exact]
    inertial = isinstance(flow, Momentum)
    approximate = [law for law in read if not law.exact and not (inertial and law.kind == "balance")]
    notes = [f"{law.name} holds up to an epsilon and was left out" for law in approximate]
    found, missing = _derived(flow, solution, exact)
    independent = sum(law.independent for law in found)
    return FlowLaws(found, flow, laws.loss, layout, independent, [*laws.notes, *missing, *notes])


@singledispatch
def _derived(flow: Flow, solution: Solution, laws: list[Law]) -> Found:
    """The laws under one kind of flow, and what was not derived."""
    raise FlowError(f"no laws are derived for {type(flow).__name__}; lw.count(..., flow=...) says how many there are")


@_derived.register
def _(flow: GradientFlow, solution: Solution, laws: list[Law]) -> Found:
    return [as_flow_law(law) for law in laws], []


@_derived.register
def _(flow: Momentum, solution: Solution, laws: list[Law]) -> Found:
    return momentum_laws(solution, laws, flow)


@_derived.register
def _(flow: WeightDecay, solution: Solution, laws: list[Law]) -> Found:
    return decay_laws(laws, flow)


@_derived.register
def _(flow: Mirror, solution: Solution, laws: list[Law]) -> Found:
    return mirror_laws(laws, flow)


@_derived.register
def _(flow: NaturalGradient, solution: Solution, laws: list[Law]) -> Found:
    # Parameters whose gradients vanish may still be moved by a metric that is not diagonal, so not even those stay.
    return [], ["laws in a general metric are not derived; lw.count(..., flow=...) says how many there are"]


@_derived.register
def _(flow: SignDescent, solution: Solution, laws: list[Law]) -> Found:
    return sign_laws(laws)
