"""The types of numbers that a step computes in, and their last bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

EPS = {torch.float64: 2.3e-16, torch.float32: 1.2e-7, torch.float16: 9.8e-4, torch.bfloat16: 7.9e-3}


class Widths(TorchDispatchMode):
    """Types of the real numbers that a backward computes in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, torch.Tensor) and t.is_floating_point() and t.ndim:
                self.seen.add(t.dtype)
        return out


def narrowest(widths: set[torch.dtype]) -> torch.dtype:
    """That of the largest last bit; float64 if there is none."""
    return max((w for w in widths if w in EPS), key=EPS.__getitem__, default=torch.float64)


__all__ = ["EPS", "Widths", "narrowest"]
