"""The oracle on architectures and torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.func import functional_call

from lawful.blocks import BatchNormCore, Run, ShapeError
from lawful.theory.double import double
from lawful.theory.flows import Flow, FlowError, GradientFlow, Layout, as_flow
from lawful.theory.losses import LossError, LossLike, pair
from lawful.theory.modules import Axes, Inputs, fit_losses, fresh_inputs, named_outputs
from lawful.theory.oracle import Count, count_fields
from lawful.theory.verdict import Verdict

from .architecture import Architecture
from .engine import architecture_of
from .exact import count_exactly
from .forward import run_forward
from .module import Network
from .naming import losses_of
from .patterns import Patterns

ATTEMPTS = 3  # random points, until one separates signal from rounding
SURE_GAP = 1e8  # below it one point is not enough: rounding has been seen as a gap of 4e6
COMBINED = 3  # fields in one random combination
# a potential of parameters and data, the parameters, and a source of data
Fields = tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor, Callable[[int], Any]]


def count(
    network: Architecture | torch.nn.Module,
    loss: LossLike = "mse",
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: Axes = -1,
    seed: int = 0,
    known: int | None = None,
    exact: bool = False,
    flow: Flow | None = None,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts the independent laws of a network by brute force, without the engine.

    Args:
        network: an architecture (activation patterns are then drawn freely, so that the laws counted hold for all
            parameters), or a module with example inputs in `args` (its real activations at one random point).
        loss: the loss of every output (see `derive`).
        args: example inputs of a module; only shapes and dtypes are used, except for masks.
        kwargs: example keyword inputs of a module, likewise.
        axis: the axis of the features (the classes) in a module's output, or one for every output; that of an
            architecture is known.
        seed: of the point and the data.
        known: a number of laws proved already; reaching it ends the search early.
        exact: count modulo primes instead of in floats, without rounding (see `lawful.graph.exact.count_exactly`); for
            networks that are polynomial once their activation patterns are fixed.  A module is traced first.
        flow: how the network is trained (see `lawful.graph.flows`); the gradient flow if not given.  Counting is then
            in floats only.
        progress: called with a line before each level of brackets.

    Returns:
        `Count` with `laws`, `ranks`, `gap`, `verdict`, `method`.  A count whose gap is narrow is decided in 120 digits
        if it is small enough (see `lawful.theory.precise`); one whose gap is clear but not wide is repeated at another
        point, and is undecided if the two differ.

    Raises:
        ShapeError: for a module without example inputs, and for losses that do not fit the outputs.
        NotPolynomialError: with `exact`, names the operation that is no polynomial.
        FlowError: for a flow that names parameters that are not there, and for `exact` with another flow than the
            gradient flow.
    """
    flow = None if flow is None else as_flow(flow)
    if exact and not (flow is None or isinstance(flow, GradientFlow)):
        raise FlowError(
            f"exact counting is for the gradient flow, not for {type(flow).__name__}; leave out exact=True or flow="
        )
    if exact:
        return count_exactly(architecture_of(network, args, kwargs), loss, seed=seed, known=known, progress=progress)
    if not isinstance(network, Architecture | torch.nn.Module):
        raise ShapeError(
            f"expected an architecture or a torch module, got {type(network).__name__}; use lw.Architecture(blocks)"
        )
    doubtful: Count | None = None
    for attempt in range(ATTEMPTS):
        generator = torch.Generator().manual_seed(seed + 1000 * attempt)
        potential, theta, sample = fields_of(network, loss, generator, args=args, kwargs=kwargs, axis=axis)
        if flow is None:
            found = count_fields(potential, theta, sample, known=known, progress=progress)
        else:
            layout = layout_of(network)
            found = flow.count(potential, theta, sample, layout, generator, known=known, progress=progress)
        if found.verdict is Verdict.UNDECIDED:
            continue
        if found.gap >= SURE_GAP or (doubtful and doubtful.laws == found.laws):
            return found
        if doubtful:
            return replace(found, verdict=Verdict.UNDECIDED)
        doubtful = found
    return replace(doubtful or found, verdict=Verdict.UNDECIDED)


def layout_of(network: Architecture | torch.nn.Module) -> Layout:
    """The trainable parameters of a network, in the order in which `fields_of` lays them end to end."""
    if isinstance(network, Architecture):
        return Layout({n: p.shape for n, p in network.parameters.items() if not p.frozen})
    return Layout({n: tuple(p.shape) for n, p in network.named_parameters() if p.requires_grad})


def fields_of(
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    generator: torch.Generator,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: Axes = -1,
) -> Fields:
    """A potential whose gradients are those that losses can send, a random point, and a source of data.

    Args:
        network: an architecture, or a module (see `count`).
        loss: see `count`.
        generator: of the point and the data.
        args: see `count`.
        kwargs: see `count`.
        axis: see `count`.

    Raises:
        ShapeError: for a module without example inputs, and for losses that do not fit the outputs.
    """
    if isinstance(network, Architecture):
        return _architecture_fields(network, loss, generator)
    if isinstance(network, Network):
        loss, axis = losses_of(network.arch, loss), network.output_axes
    return _module_fields(network, loss, (tuple(args), dict(kwargs or {})), axis, generator)


def _paired(
    probes: Sequence[str], outputs: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], axes: Sequence[int]
) -> torch.Tensor:
    """The potential of random output gradients that the losses can send."""
    terms = [pair(probe, z, w, a) for probe, z, w, a in zip(probes, outputs, weights, axes, strict=True)]
    return sum(terms[1:], start=terms[0])


def _weights(
    lead: tuple[int, ...], outputs: Sequence[torch.Tensor], generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """A random tensor for every output, with leading axes."""
    return tuple(torch.randn((*lead, *z.shape), generator=generator, dtype=torch.float64) for z in outputs)


def _architecture_fields(arch: Architecture, loss: LossLike, generator: torch.Generator) -> Fields:
    probes, axes = [m.probe for m in losses_of(arch, loss)], arch.output_axes
    values = arch.random_parameters(generator)
    trainable = [n for n in values if n not in arch.frozen]
    fixed = {n: v for n, v in values.items() if n in arch.frozen}
    shapes = [values[n].shape for n in trainable]
    sizes = [values[n].numel() for n in trainable]
    theta = torch.cat([values[n].reshape(-1) for n in trainable]) if trainable else torch.zeros(0, dtype=torch.float64)
    coupled = any(isinstance(arch.block(n), BatchNormCore) for n in arch.nodes) or "batch" in probes
    batch = 5 if coupled else 1
    patterns = Patterns(arch, values, batch, generator)

    def potential(t: torch.Tensor, data: Any) -> torch.Tensor:
        inputs, gates, w = data
        params = {n: p.reshape(s) for n, p, s in zip(trainable, t.split(sizes), shapes, strict=True)} | fixed
        total = t.new_zeros(())
        for i in range(COMBINED):
            run = Run(gates={n: g[i] for n, g in gates.items()})
            found = run_forward(arch, params, [x[i] for x in inputs], run)
            total = total + _paired(probes, found, [v[i] for v in w], axes)
        return total

    def sample(n: int) -> Any:
        lead = (n, COMBINED)
        inputs = tuple(
            torch.randint(s.features, (*lead, batch, *s.shape), generator=generator)
            if s.tokens
            else torch.randn((*lead, batch, *s.shape), generator=generator, dtype=torch.float64)
            for s in arch.inputs
        )
        return inputs, patterns.draw(lead), _weights(lead, patterns.outputs, generator)

    return potential, theta, sample


def _module_fields(
    module: torch.nn.Module, loss: LossLike, examples: Inputs, axis: Axes, generator: torch.Generator
) -> Fields:
    if not any(examples):
        raise ShapeError("counting a module needs example inputs; pass args=(x,)")
    named = {n: p for n, p in module.named_parameters() if p.requires_grad}
    shapes = [p.shape for p in named.values()]
    sizes = [p.numel() for p in named.values()]
    other = {n: v.detach().double() if v.is_floating_point() else v for n, v in module.named_buffers()}
    other |= {n: p.detach().double() for n, p in module.named_parameters() if not p.requires_grad}
    parts = [
        p.detach().double().reshape(-1) + 0.5 * torch.randn(p.numel(), generator=generator, dtype=torch.float64)
        for p in named.values()
    ]
    theta = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)

    def run(t: torch.Tensor, tensors: Mapping[int | str, torch.Tensor]) -> dict[str, torch.Tensor]:
        params = {n: p.reshape(s) for n, p, s in zip(named, t.split(sizes), shapes, strict=True)}
        args = tuple(tensors.get(i, a) for i, a in enumerate(examples[0]))
        kwargs = {k: tensors.get(k, v) for k, v in examples[1].items()}
        with double():
            return named_outputs(module, functional_call(module, params | other, args, kwargs))

    def draw(lead: tuple[int, ...]) -> dict[int | str, torch.Tensor]:
        """Random inputs by place: what is no tensor cannot be mapped over and stays in the examples."""
        args, kwargs = fresh_inputs(*examples, generator, lead)
        places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        return {k: v for k, v in places if isinstance(v, torch.Tensor)}

    outputs = run(theta, draw(()))
    try:
        losses, axes = fit_losses(outputs, loss, axis)
    except LossError as error:
        raise ShapeError(str(error)) from error
    probes, ends = [m.probe for m in losses], list(outputs.values())

    def potential(t: torch.Tensor, data: Any) -> torch.Tensor:
        inputs, w = data
        terms = [
            _paired(probes, list(run(t, {k: x[i] for k, x in inputs.items()}).values()), [v[i] for v in w], axes)
            for i in range(COMBINED)
        ]
        return sum(terms[1:], start=terms[0])

    def sample(n: int) -> Any:
        lead = (n, COMBINED)
        return draw(lead), _weights(lead, ends, generator)

    return potential, theta, sample
