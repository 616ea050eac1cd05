"""The rebuilt network as a function of what the module reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lawful.blocks import Run
from lawful.theory.oracle.modules import as_double
from lawful.theory.parts import read

from ..architecture.architecture import Architecture
from ..architecture.forward import run_forward
from .arguments import restored
from .computed import evaluator
from .lowering import Lowering
from .running import Unprepared
from .values import HIDES, MASK, OF_ALL, Stream

Tensors = Mapping[str, torch.Tensor]


def inputs_of(low: Lowering) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    """From the tensors of the module's inputs to the inputs of the architecture: what stands before all parameters."""
    wanted = [low.data[i] for i in low.builder.used_inputs]
    evaluate = evaluator(low.program, [n for n, _ in wanted], low.batch)

    def run(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        found = evaluate(tensors)
        return [_shaped(x, kind, s.shape) for x, (_, kind), s in zip(found, wanted, _signals(low), strict=True)]

    return run


def _signals(low: Lowering) -> list[Any]:
    return [low.builder.inputs[i] for i in low.builder.used_inputs]


def _shaped(tensor: torch.Tensor, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor as an input of the architecture."""
    if kind in ("numbers", "single", "column") and not tensor.is_floating_point():
        tensor = tensor.double()  # counts and choices that are used as numbers
    if kind.startswith(MASK):
        if tensor.dtype == torch.bool:
            hidden = tensor if HIDES in kind else ~tensor
            tensor = torch.zeros(tensor.shape, dtype=torch.float64).masked_fill(hidden, -1e30)
        return tensor.reshape(1 if OF_ALL in kind else tensor.shape[0], *shape)
    if kind == "single":
        return tensor[None]
    if kind == "column":
        return tensor.reshape(-1, 1)
    if kind.startswith("opaque"):
        return tensor.reshape(-1, *shape) if tensor.ndim else tensor.reshape(1, *shape)
    return tensor


def rebuilt(
    low: Lowering, arch: Architecture, outputs: Sequence[Stream]
) -> Callable[[dict[str, torch.Tensor], list[torch.Tensor]], tuple[torch.Tensor, ...]]:
    """The architecture as a function of the module's parameters and inputs."""
    prepare = inputs_of(low)
    restore = [restored(s.dims, (1, *s.signal.shape), batch=True) for s in outputs]

    def forward(params: dict[str, torch.Tensor], inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        own = parameters_of(arch, params)
        state = {n: as_double(t) for n, t in low.builder.state.items()}
        try:
            given = prepare(inputs)
        except Exception as error:
            raise Unprepared(str(error)) from error
        found = run_forward(arch, own, given, Run(training=False, state=state))
        return tuple(f(y) for f, y in zip(restore, found, strict=True))

    return forward


def parameters_of(arch: Architecture, params: Tensors) -> dict[str, torch.Tensor]:
    """The tensors of an architecture's parameters (parts of parameters too) from those of the module."""
    return {name: read(name, params).reshape(spec.shape) for name, spec in arch.specs().items()}


__all__ = ["inputs_of", "parameters_of", "rebuilt"]
