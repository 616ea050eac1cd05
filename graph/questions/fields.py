"""The gradient fields of a network: a potential of parameters and data, a generic point, and a source of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.func import vmap

from lawful.blocks import Run
from lawful.theory.flows import Layout
from lawful.theory.losses import LossLike
from lawful.theory.oracle.lending.storage import own_parameters
from lawful.theory.oracle.modules import Axes

from ..architecture.architecture import Architecture
from ..architecture.batches import coupled, drawn
from ..architecture.forward import run_forward
from ..architecture.module import Network
from ..architecture.outputs import losses_of
from ..architecture.patterns import Patterns
from .module_fields import COMBINED, module_fields, paired, random_weights

BATCH = 5  # examples of one field where the examples of a batch see each other
# a potential of parameters and data, the parameters, and a source of data
Fields = tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor, Callable[[int], Any]]


def layout_of(network: Architecture | torch.nn.Module) -> Layout:
    """The trainable parameters of a network, in the order in which `fields_of` lays them end to end."""
    if isinstance(network, Architecture):
        return Layout({n: p.shape for n, p in network.parameters.items() if not p.frozen})
    return Layout({n: tuple(p.shape) for n, p in own_parameters(network).items() if p.requires_grad})


def fields_of(
    network: Architecture | torch.nn.Module,
    loss: LossLike,
    generator: torch.Generator,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    axis: Axes | None = None,
    far: bool = False,
) -> Fields:
    """A potential whose gradients are those that losses can send, a random point, and a source of data.

    Args:
        network: an architecture, or a module (see `count`).
        loss: see `count`.
        generator: of the point and the data.
        args: see `count`.
        kwargs: see `count`.
        axis: see `count`.
        far: whether the point of a module is any, and not one near its own.

    Raises:
        ShapeError: for a module without example inputs, and for losses that do not fit the outputs.
        HiddenError: for a module that does not train as its parameters say (see `module_fields`).
    """
    if isinstance(network, Architecture):
        return architecture_fields(network, loss, generator)
    if isinstance(network, Network):
        loss, axis = losses_of(network.arch, loss), network.output_axes
        if not args and not kwargs:
            args = network.arch.random_inputs(BATCH, generator)
    inputs = (tuple(args), dict(kwargs or {}))
    return module_fields(network, loss, inputs, -1 if axis is None else axis, generator, far)


def counted_examples(arch: Architecture) -> int:
    """How many examples stand in memory while a network is counted: about those of one field for every scalar."""
    scalars = sum(p.size for p in arch.parameters.values() if not p.frozen)
    return COMBINED * scalars * (BATCH if coupled(arch) else 1)


def patterns_of(
    arch: Architecture,
    loss: LossLike,
    generator: torch.Generator,
    values: Mapping[str, torch.Tensor],
    here: bool = False,
) -> Patterns:
    """Activation patterns for the examples of one field of an architecture (see `Patterns`)."""
    probes = [m.probe for m in losses_of(arch, loss)]
    return Patterns(arch, values, BATCH if coupled(arch) or "batch" in probes else 1, generator, here)


def architecture_fields(
    arch: Architecture,
    loss: LossLike,
    generator: torch.Generator,
    at: Mapping[str, torch.Tensor] | None = None,
    frozen: Mapping[str, torch.Tensor] | None = None,
    scale: float = 1.0,
) -> Fields:
    """As `fields_of`, for an architecture.

    Args:
        arch: the network.
        loss: see `count`.
        generator: of the point and the data.
        at: trainable parameters of a point whose own activation patterns are wanted, and no others.
        frozen: values of frozen parameters; random ones if not given.
        scale: of random parameters, so that thresholds of functions of these alone are met.
    """
    probes, axes = [m.probe for m in losses_of(arch, loss)], arch.output_axes
    random = {n: scale * v for n, v in arch.random_parameters(generator).items()}
    values = {**random, **(at or {}), **(frozen or {})}
    trainable = [n for n in values if n not in arch.frozen]
    fixed = {n: v for n, v in values.items() if n in arch.frozen}
    shapes = [values[n].shape for n in trainable]
    sizes = [values[n].numel() for n in trainable]
    theta = torch.cat([values[n].reshape(-1) for n in trainable]) if trainable else torch.zeros(0, dtype=torch.float64)
    patterns = patterns_of(arch, loss, generator, values, at is not None)

    def potential(t: torch.Tensor, data: Any) -> torch.Tensor:
        params = {n: p.reshape(s) for n, p, s in zip(trainable, t.split(sizes), shapes, strict=True)} | fixed

        def one(data: Any) -> torch.Tensor:
            inputs, gates, w = data
            return paired(probes, run_forward(arch, params, inputs, Run(gates=dict(gates))), w, axes)

        return vmap(one)(data).sum()

    def sample(n: int) -> Any:
        lead = (n, COMBINED)
        inputs = tuple(drawn(arch, patterns.rows, generator, lead=lead))
        return inputs, patterns.draw_for(inputs, lead), random_weights(lead, patterns.outputs, generator)

    return potential, theta, sample
