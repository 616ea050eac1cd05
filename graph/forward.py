"""Running an architecture: its forward pass, random points, and loss gradients there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from lawful.blocks import Run, ShapeError, draw_gates
from lawful.theory.losses import LossLike
from lawful.theory.rewrites import representatives
from lawful.theory.verification import Point, point_of

from .compile import Port
from .naming import losses_of, output_sites

if TYPE_CHECKING:
    from .architecture import Architecture


def run_forward(
    arch: Architecture, params: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor], run: Run | None = None
) -> tuple[torch.Tensor, ...]:
    """All outputs of a network (see `Architecture.forward`).

    Raises:
        ShapeError: for another number of inputs.
    """
    if len(inputs) != len(arch.inputs):
        raise ShapeError(
            f"the network has {len(arch.inputs)} inputs but gets {len(inputs)} tensors; give one per input"
        )
    run = run or Run()
    # Nodes that compute the same thing draw the same gates.
    gate_name = representatives(arch.diagram().sites) if run.gates is not None or run.recording else {}
    values: dict[Port, torch.Tensor] = {("input", i): x for i, x in enumerate(inputs)}
    for n in arch.nodes:
        ports = arch.sources(n)
        run.name = gate_name.get(n, n)
        run.axis = arch.signals[ports[0]].axis if ports else -1
        p = {local: params[name] for local, name in arch.parameter_names(n).items()}
        out = arch.block(n).forward(p, [values[q] for q in ports], run)
        for i, y in enumerate(out if isinstance(out, tuple) else (out,)):
            values[n, i] = y
    return tuple(values[p] for p in arch.sources("output"))


def random_inputs(arch: Architecture, batch: int, generator: torch.Generator, dtype: torch.dtype) -> list[torch.Tensor]:
    """Random inputs of the right shapes."""
    return [
        torch.randint(s.features, (batch, *s.shape), generator=generator)
        if s.tokens
        else torch.randn((batch, *s.shape), generator=generator, dtype=dtype)
        for s in arch.inputs
    ]


def random_parameters(arch: Architecture, generator: torch.Generator, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A generic point: every parameter random, none at the special values of an initialisation."""
    return {
        n: s.mean + max(s.std, 0.5) * torch.randn(s.shape, generator=generator, dtype=dtype)
        for n, s in arch.specs().items()
    }


def points(arch: Architecture, loss: LossLike, samples: int, seed: int, exact_norms: bool) -> list[Point]:
    """Random parameters, data and losses with their gradients; every other point draws activation patterns freely.

    Args:
        arch: the network.
        loss: the loss of every output.
        samples: number of points.
        seed: of everything random.
        exact_norms: read every epsilon as 0.

    Raises:
        ShapeError: for losses that do not fit the outputs.
    """
    losses, names = losses_of(arch, loss), output_sites(len(arch.outputs))
    network = arch.with_epsilon(0.0) if exact_norms else arch
    frozen_names = arch.frozen
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(samples):
        values = network.random_parameters(generator)
        inputs = network.random_inputs(6, generator)
        gates = None
        if i % 2:
            recording = Run(recording=True)
            network.forward(values, inputs, recording)
            gates = draw_gates(recording.recorded, (), generator)
        frozen = {n: v for n, v in values.items() if n in frozen_names}
        trainable = {n: v for n, v in values.items() if n not in frozen_names}

        def forward(
            p: Mapping[str, torch.Tensor],
            x: Sequence[torch.Tensor],
            fixed: dict[str, torch.Tensor] = frozen,
            patterns: Any = gates,
        ) -> dict[str, torch.Tensor]:
            found = run_forward(network, {**fixed, **p}, x, Run(gates=patterns))
            return dict(zip(names, found, strict=True))

        point = point_of(forward, trainable, inputs, losses, generator, arch.output_axes)
        still = {n: torch.zeros_like(v) for n, v in frozen.items()}
        out.append(Point({**frozen, **point.parameters}, {**still, **point.gradient}, point.loss))
    return out
