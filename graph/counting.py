"""The oracle on architectures and torch modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch.func import functional_call

from lawful.blocks import BatchNormCore, Run, ShapeError, draw_gates
from lawful.theory.oracle import Count, count_fields
from lawful.theory.verdict import Verdict

from .architecture import LOSSES, Architecture

ATTEMPTS = 3  # random points, until one separates signal from rounding
COMBINED = 3  # fields in one random combination
# a potential of parameters and data, the parameters, and a source of data
Fields = tuple[Callable[[torch.Tensor, Any], torch.Tensor], torch.Tensor, Callable[[int], Any]]


def count(
    network: Architecture | torch.nn.Module,
    loss: str = "mse",
    *,
    args: Sequence[torch.Tensor] = (),
    seed: int = 0,
    known: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Count:
    """Counts the independent laws of a network by brute force, without the engine.

    Args:
        network: an architecture (activation patterns are then drawn freely, so that the laws counted hold for all
            parameters), or a module with example inputs in `args` (its real activations at one random point).
        loss: `"mse"` or `"cross_entropy"` over the last axis of the output (the features of an architecture).
        args: example inputs of a module; only shapes and dtypes are used.
        seed: of the point and the data.
        known: a number of laws proved already; reaching it ends the search early.
        progress: called with a line before each level of brackets.

    Returns:
        `Count` with `laws`, `ranks`, `gap`, `verdict`, `method`.
    """
    if loss not in LOSSES:
        raise ShapeError(f"no loss {loss!r}; there are {', '.join(LOSSES)}")
    for attempt in range(ATTEMPTS):
        generator = torch.Generator().manual_seed(seed + 1000 * attempt)
        if isinstance(network, Architecture):
            potential, theta, sample = _architecture_fields(network, loss, generator)
        else:
            potential, theta, sample = _module_fields(network, loss, args, generator)
        found = count_fields(potential, theta, sample, known=known, progress=progress)
        if found.verdict is not Verdict.UNDECIDED:
            break
    return found


def _weights(shape: Sequence[int], axis: int, loss: str, generator: torch.Generator) -> torch.Tensor:
    """Random output gradients; those of cross-entropy sum to zero over the classes."""
    w = torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
    return w - w.mean(axis, keepdim=True) if loss == "cross_entropy" else w


def _architecture_fields(arch: Architecture, loss: str, generator: torch.Generator) -> Fields:
    values = arch.random_parameters(generator)
    trainable = [n for n in values if n not in arch.frozen]
    fixed = {n: v for n, v in values.items() if n in arch.frozen}
    shapes = [values[n].shape for n in trainable]
    sizes = [values[n].numel() for n in trainable]
    theta = torch.cat([values[n].reshape(-1) for n in trainable]) if trainable else torch.zeros(0, dtype=torch.float64)
    coupled = any(isinstance(arch.block(n), BatchNormCore) for n in arch.nodes)
    batch = 5 if coupled else 1
    recording = Run(recording=True)
    out = arch.forward(values, arch.random_inputs(batch, generator), recording)
    axis = arch.output.axis

    def potential(t: torch.Tensor, data: Any) -> torch.Tensor:
        inputs, gates, w = data
        params = {n: p.reshape(s) for n, p, s in zip(trainable, t.split(sizes), shapes, strict=True)} | fixed
        total = t.new_zeros(())
        for i in range(COMBINED):
            run = Run(gates={n: g[i] for n, g in gates.items()})
            total = total + (arch.forward(params, [x[i] for x in inputs], run) * w[i]).sum()
        return total

    def sample(n: int) -> Any:
        lead = (n, COMBINED)
        inputs = tuple(
            torch.randint(s.features, (*lead, batch, *s.shape), generator=generator)
            if s.tokens
            else torch.randn((*lead, batch, *s.shape), generator=generator, dtype=torch.float64)
            for s in arch.inputs
        )
        weights = _weights((*lead, *out.shape), axis if axis < 0 else axis + 2, loss, generator)
        return inputs, draw_gates(recording.recorded, lead, generator), weights

    return potential, theta, sample


def _module_fields(
    module: torch.nn.Module, loss: str, args: Sequence[torch.Tensor], generator: torch.Generator
) -> Fields:
    if not args:
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

    def run(t: torch.Tensor, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        params = {n: p.reshape(s) for n, p, s in zip(named, t.split(sizes), shapes, strict=True)}
        return functional_call(module, params | other, tuple(inputs))

    def potential(t: torch.Tensor, data: Any) -> torch.Tensor:
        inputs, w = data
        return cast(torch.Tensor, sum((run(t, [x[i] for x in inputs]) * w[i]).sum() for i in range(COMBINED)))

    def sample(n: int) -> Any:
        lead = (n, COMBINED)
        inputs = tuple(_like(a, lead, generator) for a in args)
        return inputs, _weights((*lead, *out.shape), -1, loss, generator)

    out = run(theta, [_like(a, (), generator) for a in args])
    return potential, theta, sample


def _like(example: torch.Tensor, lead: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random data of the shape and kind of an example."""
    shape = (*lead, *example.shape)
    if example.is_floating_point():
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.randint(int(example.max()) + 1, shape, generator=generator)
