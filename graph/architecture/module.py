"""An architecture as a trainable torch module."""

from __future__ import annotations

from typing import Generic

import torch
from torch import nn

from lawful.blocks import BatchNormCore, FrozenBatchNorm, Run

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
        generator = torch.Generator().manual_seed(seed)
        for name, spec in arch.specs().items():
            value = spec.mean + spec.std * torch.randn(spec.shape, generator=generator, dtype=dtype)
            parameter = nn.Parameter(value, requires_grad=name not in arch.frozen)
            self._home(name).register_parameter(name.rpartition(".")[2], parameter)
        for node in arch.nodes:
            block = arch.block(node)
            if isinstance(block, (BatchNormCore, FrozenBatchNorm)):
                home = self._home(f"{node}.running")
                home.register_buffer("running_mean", torch.zeros(block.features, dtype=dtype))
                home.register_buffer("running_var", torch.ones(block.features, dtype=dtype))

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

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The output for one batch per network input, a tuple if there are several."""
        run = Run(training=self.training, state=dict(self.named_buffers()))
        outputs = run_forward(self.arch, dict(self.named_parameters()), inputs, run)
        return outputs if len(outputs) > 1 else outputs[0]
