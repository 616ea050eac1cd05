"""What is inside of the wrappers that training frameworks put around models and optimizers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]


def unwrapped(optimizer: Optimizers) -> list[torch.optim.Optimizer]:
    """The optimizers whose `step` moves the parameters, inside of what Accelerate, Lightning or SAM put around."""
    many = [optimizer] if not isinstance(optimizer, Sequence) else list(optimizer)
    if not many:
        raise TypeError("the list of optimizers is empty; pass the optimizer whose `step()` the loop calls")
    out = []
    for one in many:
        for name in ("optimizer", "_optimizer", "base_optimizer"):
            inner = getattr(one, name, None)
            if isinstance(inner, torch.optim.Optimizer):
                one = inner
        if not isinstance(one, torch.optim.Optimizer):
            raise TypeError(
                f"expected an optimizer of torch, got {type(one).__name__}; pass what `step()` is called on"
            )
        out.append(one)
    return out


def inside(model: nn.Module) -> nn.Module:
    """The model inside its wrappers."""
    for name in ("_orig_mod", "module", "_orig_mod"):
        inner = getattr(model, name, None)
        wrapper = type(model).__name__ in ("OptimizedModule", "DistributedDataParallel", "DataParallel")
        model = inner if wrapper and isinstance(inner, nn.Module) else model
    return model


def processes() -> int:
    """How many processes train together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()
