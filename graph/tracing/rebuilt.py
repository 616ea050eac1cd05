"""The rebuilt network as a function of what the module reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from lawful.blocks import Run
from lawful.theory.modules import as_double
from lawful.theory.parts import read

from ..architecture import Architecture
from ..forward import run_forward
from .lowering import Lowering
from .opaque import has_sizes, restored
from .values import Stream

Tensors = Mapping[str, torch.Tensor]


def inputs_of(low: Lowering) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    """From the tensors of the module's inputs to the inputs of the architecture: what stands before all parameters."""
    wanted = [low.data[i] for i in low.builder.used_inputs]
    program = low.program
    needed = _ancestors([n for n, _ in wanted])
    order = [n for n in program.graph.nodes if n in needed]

    def run(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        env: dict[Node, Any] = {i.node: x for i, x in zip(program.inputs, tensors, strict=True)}
        env |= {n: b for n, (_, b) in program.buffers.items() if n in needed}
        env |= {n: c for n, c in program.constants.items() if n in needed}
        batch = next((x.shape[0] for x in tensors if x.ndim), low.batch)
        for node in order:
            if node not in env:
                args = map_arg(node.args, env.__getitem__)
                kwargs = map_arg(node.kwargs, env.__getitem__)
                args = tuple(_sized(a, low.batch, batch) for a in args) if has_sizes(node) else args
                env[node] = node.target(*args, **kwargs)
        return [_shaped(env[n], kind, signal.shape) for (n, kind), signal in zip(wanted, _signals(low), strict=True)]

    return run


def _signals(low: Lowering) -> list[Any]:
    return [low.builder.inputs[i] for i in low.builder.used_inputs]


def _shaped(tensor: torch.Tensor, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor as an input of the architecture."""
    if kind.startswith("mask"):
        if tensor.dtype == torch.bool:
            tensor = torch.zeros(tensor.shape, dtype=torch.float64).masked_fill(~tensor, -1e30)
        return tensor.reshape(tensor.shape[0] if kind == "mask" else 1, *shape)
    if kind.startswith("opaque"):
        return tensor.reshape(-1, *shape) if tensor.ndim else tensor.reshape(1, *shape)
    return tensor


def _sized(argument: Any, old: int, new: int) -> Any:
    """The sizes of a view with the batch that runs in place of the one that was traced."""
    if old != new and isinstance(argument, (list, tuple)) and argument and argument[0] == old:
        return type(argument)([new, *argument[1:]])
    return argument


def _ancestors(nodes: Sequence[Node]) -> set[Node]:
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += node.all_input_nodes
    return found


def rebuilt(
    low: Lowering, arch: Architecture, outputs: Sequence[Stream]
) -> Callable[[dict[str, torch.Tensor], list[torch.Tensor]], tuple[torch.Tensor, ...]]:
    """The architecture as a function of the module's parameters and inputs."""
    prepare = inputs_of(low)
    restore = [restored(s.dims, (1, *s.signal.shape), batch=True) for s in outputs]

    def forward(params: dict[str, torch.Tensor], inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        own = parameters_of(arch, params)
        state = {n: as_double(t) for n, t in low.builder.state.items()}
        found = run_forward(arch, own, prepare(inputs), Run(training=False, state=state))
        return tuple(f(y) for f, y in zip(restore, found, strict=True))

    return forward


def parameters_of(arch: Architecture, params: Tensors) -> dict[str, torch.Tensor]:
    """The tensors of an architecture's parameters (parts of parameters too) from those of the module."""
    return {name: read(name, params).reshape(spec.shape) for name, spec in arch.specs().items()}


__all__ = ["inputs_of", "parameters_of", "rebuilt"]
