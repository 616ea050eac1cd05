"""How much the epsilon of a normalisation weighs: `epsilon / (variance + epsilon)`, read from what training shows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from lawful.theory.own_runs import is_own_run

from .sharded import local

LEEWAY = 30.0  # a law's slope is a sum over channels and layers that the mean weight of epsilon stands for
MOST = 0.3  # no epsilon explains more of a slope than this: beyond, the law says nothing any more


class NormWatch:
    """Hooks on the normalisations of a model, and the type that autocast computes in.

    Args:
        model: the model.
        spending: counts the time of what is done inside.
    """

    def __init__(self, model: nn.Module, spending: Callable[[], AbstractContextManager[None]]) -> None:
        self.spending = spending
        self.idle = False  # the next step is not watched
        self.compute: torch.dtype | None = None
        self._weights: dict[str, float] = {}
        self._handles = []
        for name, module in model.named_modules():
            epsilon = next(
                (getattr(module, a) for a in ("eps", "epsilon", "variance_epsilon") if hasattr(module, a)), None
            )
            if "norm" in type(module).__name__.lower() and isinstance(epsilon, float) and epsilon > 0:
                self._handles.append(module.register_forward_pre_hook(_Reader(self, name, epsilon)))

    def autocast(self) -> None:
        """Notes the type that autocast computes in, at a forward pass."""
        kinds = [k for k in ("cpu", "cuda") if torch.is_autocast_enabled(k)]
        self.compute = torch.get_autocast_dtype(kinds[-1]) if kinds else None

    def note(self, name: str, weight: float) -> None:
        """Notes the weight of epsilon in one normalisation."""
        self._weights[name] = weight

    def share(self) -> float:
        """The part of a law's slope that epsilon explains, at most."""
        return min(MOST, LEEWAY * max(self._weights.values(), default=1e-2))

    def close(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()


class _Reader:
    def __init__(self, watch: NormWatch, name: str, epsilon: float) -> None:
        self.watch, self.name, self.epsilon = watch, name, epsilon

    @torch.no_grad()
    def __call__(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling() or is_own_run() or self.watch.idle or not module.training:
            return
        if not args or not isinstance(args[0], torch.Tensor):
            return
        with self.watch.spending():
            x = local(args[0])
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                spread = x.transpose(0, 1).flatten(1).float().var(1, correction=0)
            else:
                spread = x.float().square().mean(-1)
            self.watch.note(self.name, float((self.epsilon / (spread + self.epsilon)).mean()))
