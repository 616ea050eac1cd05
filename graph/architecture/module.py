"""An architecture as a trainable torch module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

import torch
from torch import nn

from lawful.blocks import Run, ShapeError
from lawful.blocks.run import Tap
from lawful.theory.arguments import shown

from .block_graph import G
from .forward import run_forward


class Network(nn.Module, Generic[G]):
    """Runs an architecture; parameters and running statistics live under the names of its nodes.

    Args:
        arch: the architecture.
        dtype: type of the parameters.
        seed: seed of the initial values.
    """

    def __init__(self, arch: G, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.arch = arch
        self.taps: Mapping[str, Tap] = {}
        generator = torch.Generator().manual_seed(seed)
        for name, spec in arch.specs().items():
            value = spec.mean + spec.std * torch.randn(spec.shape, generator=generator, dtype=dtype)
            parameter = nn.Parameter(value, requires_grad=name not in arch.frozen)
            self._home(name).register_parameter(name.rpartition(".")[2], parameter)
        for node in arch.nodes:
            for name, spec in arch.block(node).buffers.items():
                self._home(f"{node}.{name}").register_buffer(name, torch.full(spec.shape, spec.mean, dtype=dtype))

    def _home(self, name: str) -> nn.Module:
        module: nn.Module = self
        for part in name.split(".")[:-1]:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module

    @property
    def output_axes(self) -> tuple[int, ...]:
        """Index of the feature axis in a batch of each output."""
        return self.arch.output_axes

    def extra_repr(self) -> str:
        """Every block by its node, with what it reads and writes."""
        lines = []
        for node in self.arch.nodes:
            read = ", ".join(str(self.arch.signals[p]) for p in self.arch.sources(node)) or "nothing"
            lines.append(f"({node}): {self.arch.block(node)}  # {read} -> {self.arch.signals[node, 0]}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        body = "\n".join(f"  {line}" for line in self.extra_repr().splitlines())
        return f"{type(self).__name__}(\n{body}\n)"

    def _expect(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Checks that every input has the shape of its signal behind the batch.

        Raises:
            ShapeError: names the block that reads it.
        """
        for i, (x, signal) in enumerate(zip(inputs, self.arch.inputs, strict=False)):
            reader = next(
                (v for _, v, d in self.arch.graph.out_edges("input", data=True) if d["source"] == i), "output"
            )
            name = f"{reader} ({self.arch.block(reader)})" if reader != "output" else "the output"
            if not isinstance(x, torch.Tensor):
                raise ShapeError(f"{name} reads a tensor but gets {shown(x)}; pass a batch of {signal}")
            free = len(signal.space) if not signal.tokens else len(signal.shape)
            wanted, found = tuple(signal.shape), tuple(x.shape[1:])
            axis = signal.axis if signal.axis < 0 else signal.axis - 1
            same = signal.tokens or not found or found[axis] == signal.features
            if x.ndim != 1 + len(wanted) or not same or (free and signal.tokens and x.is_floating_point()):
                raise ShapeError(
                    f"{name} reads a batch of shape (batch, {', '.join(map(str, wanted))}) but gets {tuple(x.shape)}"
                    + ("; tokens are integers" if signal.tokens and x.is_floating_point() else "; reshape the input")
                )

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The output for one batch per network input, a tuple if there are several."""
        self._expect(inputs)
        run = Run(training=self.training, state=dict(self.named_buffers()), taps=self.taps)
        outputs = run_forward(self.arch, dict(self.named_parameters()), inputs, run)
        return outputs if len(outputs) > 1 else outputs[0]
