"""The gradient fields of a network: a potential of parameters and data, a generic point, and a source of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.func import functional_call

from lawful.blocks import Run, ShapeError
from lawful.theory.double import double
from lawful.theory.flows import Layout
from lawful.theory.losses import LossError, LossLike, pair
from lawful.theory.modules import Axes, Inputs, as_double, fit_losses, fresh_inputs, named_outputs

from .architecture import Architecture
from .forward import run_forward
from .module import Network
from .naming import losses_of
from .patterns import Patterns, coupled

COMBINED = 3  # fields in one random combination
INPUT_SCALE = 2.5  # of inputs, so that thresholds are seen from both sides and an exponential stays a number
BATCH = 5  # examples of one field where the examples of a batch see each other
# a potential of parameters and data, the parameters, and a source of data
Fields = tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor, Callable[[int], Any]]


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
    axis: Axes | None = None,
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
        if not args and not kwargs:
            args = network.arch.random_inputs(BATCH, generator)
    inputs = (tuple(args), dict(kwargs or {}))
    return _module_fields(network, loss, inputs, -1 if axis is None else axis, generator)


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
    batch = BATCH if coupled(arch) or "batch" in probes else 1
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
    buffers = {n: as_double(v) for n, v in module.named_buffers()}
    fixed = {n: p.detach().double() for n, p in module.named_parameters() if not p.requires_grad}
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
            return named_outputs(
                module,
                functional_call(module, params | fixed | {n: b.clone() for n, b in buffers.items()}, args, kwargs),
            )

    def draw(lead: tuple[int, ...]) -> dict[int | str, torch.Tensor]:
        """Random inputs of all sizes by place: what is no tensor cannot be mapped over and stays in the examples."""
        args, kwargs = fresh_inputs(*examples, generator, lead)
        places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        found = {k: v for k, v in places if isinstance(v, torch.Tensor)}
        # Thresholds of bounded activations are far out, and no pattern of another point is drawn here.
        # What one field adds up has one size: the largest would hide the others behind an exponential.
        alike = (*lead[:1], *[1] * (len(lead) - 1))
        sizes = INPUT_SCALE ** (3 * torch.rand(alike, generator=generator, dtype=torch.float64) - 1)
        return {
            k: v * sizes.reshape(*alike, *[1] * (v.ndim - len(lead))).to(v.device) if drawn(k, v) else v
            for k, v in found.items()
        }

    def drawn(key: int | str, value: torch.Tensor) -> bool:
        return value.is_floating_point() and "mask" not in str(key)

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
