"""Loss gradients of an architecture at random points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from lawful.blocks import Run
from lawful.theory.losses import LossLike
from lawful.theory.oracle.signal import NEARER, STEADY
from lawful.theory.oracle.verification import Point, point_of

from .batches import coupled, random_inputs
from .block_graph import BlockGraph
from .forward import random_parameters, run_forward
from .outputs import losses_of, output_sites
from .patterns import Patterns

EXAMPLES = 6  # in the batch of every point
LARGE = 1_000_000  # numbers in one example from which on FEW examples are enough
FEW = 2


def examples_of(arch: BlockGraph) -> int:
    """Examples in the batch of every point: few of large ones, unless examples see each other."""
    size = sum(s.positions * (1 if s.tokens else s.features) for s in arch.inputs)
    return FEW if size >= LARGE and not coupled(arch) else EXAMPLES


def points(arch: BlockGraph, loss: LossLike, samples: int, seed: int, exact_norms: bool) -> list[Point]:
    """Random parameters, data and losses with their gradients; every other one has a pattern of another.

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
    # Norms without an epsilon make numbers of any size of what is only rounding (behind units that are all dead).
    divides = any(network.block(n).epsilon == 0 for n in network.nodes)
    generator = torch.Generator().manual_seed(seed)
    rows = examples_of(network)
    out = []
    for i in range(samples):
        values = random_parameters(network, generator)
        inputs = random_inputs(network, rows, generator)
        gates = Patterns.of_examples(network, values, rows, generator) if i % 2 else None
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

        drawn, noise = generator.get_state(), torch.get_rng_state()
        point = point_of(forward, trainable, inputs, losses, generator, arch.output_axes)
        if gates and not bool(torch.isfinite(point.slope)):  # a logarithm may not have what another point gives it
            forward = partial(forward, patterns=None)
            drawn, noise = generator.get_state(), torch.get_rng_state()
            point = point_of(forward, trainable, inputs, losses, generator, arch.output_axes)
        if divides and point.moves:
            near = {n: v * (1 + NEARER * torch.cos(v)) for n, v in trainable.items()}
            with _same_noise(noise):
                again = point_of(forward, near, inputs, losses, _generator(drawn), arch.output_axes)
            if not _alike(again, point):
                point = Point(point.parameters, {n: g * torch.nan for n, g in point.gradient.items()}, point.loss)
        still = {n: torch.zeros_like(v) for n, v in frozen.items()}
        out.append(Point({**frozen, **point.parameters}, {**still, **point.gradient}, point.loss))
    return out


def _generator(state: torch.Tensor) -> torch.Generator:
    """A generator that goes on from a state of another."""
    return torch.Generator().set_state(state)


@contextmanager
def _same_noise(state: torch.Tensor) -> Iterator[None]:
    """Dropout draws again what it drew from a state of the global generator, which then goes on where it is."""
    now = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(now)


def _alike(a: Point, b: Point) -> bool:
    """Whether the gradients at two points that differ by rounding are the same."""
    apart = sum(float((a.gradient[n] - g).square().sum()) for n, g in b.gradient.items()) ** 0.5
    return apart <= STEADY * float(b.slope)
