"""Outputs and gradients of a network at one point, and how far two networks are from each other there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from lawful.theory.losses import pair

from .running import Forward, Inputs, ModuleRun, Tensors

Probes = Sequence[tuple[str, int]]  # for every output what a loss can send, and the axis of its classes
TOLERANCE = 1e-9
FLOOR = 1e-4  # a gradient far below all gradients together is compared with those: it may be zero up to rounding
ROUNDING = 1e-6  # the same beside what is differentiated: all gradients may be zero up to rounding


@dataclass(frozen=True)
class Run:
    """Outputs and gradients at one point."""

    outputs: Tensors
    gradients: Tensors


@dataclass(frozen=True)
class Gap:
    """The largest relative errors between two runs, and where they are."""

    outputs: float
    gradients: float
    worst_output: str
    worst_gradient: str
    allowed: tuple[float, float] = (TOLERANCE, TOLERANCE)  # of outputs and of gradients

    @property
    def same_outputs(self) -> bool:
        """Whether outputs differ by rounding only."""
        return self.outputs <= self.allowed[0]

    @property
    def same(self) -> bool:
        """Whether outputs and gradients differ by rounding only."""
        return self.same_outputs and self.gradients <= self.allowed[1]


def run_at(
    network: Forward,
    values: Tensors,
    trained: Sequence[str],
    names: Sequence[str],
    inputs: Inputs,
    seed: int,
    probes: Probes | None = None,
) -> Run:
    """Outputs of a network, and the gradient of their product with random numbers that the seed decides.

    With probes the numbers are those that a loss can send.
    """
    leaves = {n: v.clone().requires_grad_(n in trained) for n, v in values.items()}
    outputs = dict(zip(names, network(leaves, inputs), strict=True))
    loss = _product(outputs.values(), seed, probes)
    sources = [leaves[n] for n in trained]
    grads: Sequence[torch.Tensor | None] = [None] * len(sources)
    if sources and loss.requires_grad:
        grads = torch.autograd.grad(loss, sources, allow_unused=True)
    found = {n: torch.zeros_like(v) if g is None else g for n, v, g in zip(trained, sources, grads, strict=True)}
    return Run({n: z.detach() for n, z in outputs.items()}, found)


def own_run(module: ModuleRun, trained: Sequence[str], inputs: Inputs, seed: int, probes: Probes | None = None) -> Run:
    """The same for the user's own module, by its own `backward()`, wherever it stands now."""
    names = [n for n, _ in module.program.outputs]
    outputs = dict(zip(names, module(inputs), strict=True))
    loss = _product(outputs.values(), seed, probes)
    if loss.requires_grad:
        loss.backward()
    gradients = module.own.gradients()
    return Run({n: z.detach() for n, z in outputs.items()}, {n: gradients[n] for n in trained})


def _product(outputs: Iterable[torch.Tensor], seed: int, probes: Probes | None) -> torch.Tensor:
    """The product of outputs with random numbers that a seed decides."""
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros((), dtype=torch.float64)
    for i, z in enumerate(outputs):
        w = torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z.device)
        probe, axis = probes[i] if probes else ("all", -1)
        loss = loss + pair(probe, z, w, axis).cpu()
    return loss


def gap_of(expected: Run, got: Run) -> Gap:
    """The largest relative errors between two runs; infinite for what is not a number."""
    total = float(torch.sqrt(sum(((g * g).sum().cpu() for g in expected.gradients.values()), torch.zeros(()))))
    outputs = {n: _error(z, got.outputs[n], 0.0) for n, z in expected.outputs.items()}
    size = sum(float(z.norm()) for z in expected.outputs.values())
    floor = max(FLOOR * total, ROUNDING * size)
    gradients = {n: _error(g, got.gradients[n], floor) for n, g in expected.gradients.items()}
    worst_output = max(outputs, key=lambda n: outputs[n])
    worst_gradient = max(gradients, key=lambda n: gradients[n], default="")
    return Gap(outputs[worst_output], gradients.get(worst_gradient, 0.0), worst_output, worst_gradient)


def _error(expected: torch.Tensor, got: torch.Tensor, floor: float) -> float:
    """The length of a difference over the larger length of the two; infinite for other shapes and for NaN."""
    if expected.shape != got.shape:
        return float("inf")
    difference = float((expected - got).norm())
    scale = max(float(expected.norm()), float(got.norm()), floor)
    return 0.0 if difference == 0 else difference / scale if difference / scale < float("inf") else float("inf")
