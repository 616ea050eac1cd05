"""Outputs and gradients of a network at one point, and how far two networks are from each other there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from lawful.theory.losses import pair

from .running import Forward, Inputs, ModuleRun, Tensors

Probes = Sequence[tuple[str, int]]  # for every output what a loss can send, and the axis of its classes
TOLERANCE = 1e-9
ROUNDING = 1e-9  # a tensor that is shorter may be zero but for rounding
SHAKEN = 1e-3  # what is rounding moves by so much of itself, or more, with the last bits of the parameters
LAST_BITS = 1e-13  # of a gradient that nothing makes zero: below it there are no digits
FAR = 1000.0  # how much longer the rounding of another network may be
FLOOR = 1e-4  # a gradient far below all gradients together is compared with those: it may be zero up to rounding


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
    loss = product(outputs.values(), seed, probes)
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
    loss = product(outputs.values(), seed, probes)
    if loss.requires_grad:
        loss.backward()
    gradients = module.own.gradients()
    dense = {n: g.to_dense() if g.is_sparse else g for n, g in gradients.items() if n in trained}
    return Run({n: z.detach() for n, z in outputs.items()}, dense)


def product(outputs: Iterable[torch.Tensor], seed: int, probes: Probes | None) -> torch.Tensor:
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
    gradients = {n: _error(g, got.gradients[n], FLOOR * total) for n, g in expected.gradients.items()}
    worst_output = max(outputs, key=lambda n: outputs[n])
    worst_gradient = max(gradients, key=lambda n: gradients[n], default="")
    return Gap(outputs[worst_output], gradients.get(worst_gradient, 0.0), worst_output, worst_gradient)


def has_nan(run: Run) -> bool:
    """Whether something in a run is not a number."""
    return any(bool(t.isnan().any()) for t in (*run.outputs.values(), *run.gradients.values()))


def settled(expected: Run, shaken: Run, got: Run, scale: float) -> tuple[Run, Run]:
    """Two runs without what is zero up to rounding in both: the sum of a centred tensor, the gradient of such a sum.

    Args:
        expected: the module.
        shaken: the module with the last bits of its parameters changed: a tensor of rounding alone is another one then.
        got: the rebuilt network.
        scale: the length of a gradient that nothing makes zero.
    """

    def still(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, most: float = ROUNDING, least: float = 0.0) -> bool:
        size, moved = float(a.norm()), float((a - b).norm())
        if max(size, moved) <= least and c.shape == a.shape and float(c.norm()) <= least:
            return True
        noise = max(size, moved)
        return moved >= SHAKEN * size and noise <= most and c.shape == a.shape and float(c.norm()) <= FAR * noise

    def cleared(run: Run) -> Run:
        zero = torch.zeros_like
        return Run(
            {n: zero(z) if n in outputs else z for n, z in run.outputs.items()},
            {n: zero(g) if n in gradients else g for n, g in run.gradients.items()},
        )

    outputs = {n for n, z in expected.outputs.items() if still(z, shaken.outputs[n], got.outputs[n])}
    most, least = ROUNDING * max(scale, 1.0), LAST_BITS * scale
    gradients = {
        n for n, g in expected.gradients.items() if still(g, shaken.gradients[n], got.gradients[n], most, least)
    }
    return cleared(expected), cleared(got)


def _error(expected: torch.Tensor, got: torch.Tensor, floor: float) -> float:
    """The length of a difference over the larger length of the two; infinite for other shapes, and for NaN in `got`."""
    if expected.shape != got.shape:
        return float("inf")
    if not (bool(expected.isfinite().all()) and bool(got.isfinite().all())):
        same = (expected == got) | expected.isnan()  # where the module gives no number there is nothing to compare
        expected, got = torch.where(same, 0, expected), torch.where(same, 0, got)
    difference = float((expected - got).norm())
    scale = max(float(expected.norm()), float(got.norm()), floor)
    return 0.0 if difference == 0 else difference / scale if difference / scale < float("inf") else float("inf")
