"""The laws of a module whose every operation is read."""

from __future__ import annotations

import torch
from torch import nn

import lawful as lw
from lawful.graph.tracing import trace


def laws_of_whole(module: nn.Module, x: torch.Tensor) -> lw.LawSet:
    """The laws; fails where something is opaque, or known by its degrees only."""
    arch = trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque
    return lw.derive(module, args=(x,))
