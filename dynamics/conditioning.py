"""How much normalisations magnify rounding: the size of what they read over its spread.

A norm of few numbers, or of numbers that are nearly alike, divides by almost nothing: of one number in float32 with
epsilon 1e-5 what it writes is 316 times the rounding of what it reads, and so are all gradients behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lawful.theory.own_runs import is_own_run

from .hooks import Hook
from .norm_forms import Form, inverse_square_of_block

EVERY = 64  # forward passes, after the first ones: it changes slowly


class Conditioning:
    """The largest of all norms of a model, in training, so far.

    Attributes:
        largest: root of the mean over all entries, 1 for what is centred already.
        due: it is measured in this forward pass.
    """

    def __init__(self) -> None:
        self.largest = 1.0
        self.due = False
        self._passes = 0
        self._handles: list[Any] = []

    def watch(self, norms: Mapping[nn.Module, Form]) -> None:
        """Begins to measure.

        Args:
            norms: the norms, with what they divide by.
        """
        for module, form in norms.items():
            self._handles.append(module.register_forward_hook(Hook(module, _Reader(self, form))))

    def passes(self) -> None:
        """A forward pass begins."""
        self._passes += 1
        self.due = self._passes & (self._passes - 1) == 0 or self._passes % EVERY == 0

    @torch.no_grad()
    def note(self, x: Tensor, inverse_square: Tensor) -> None:
        """One norm.

        Args:
            x: what it reads.
            inverse_square: `1 / (s + epsilon)`, in a shape that expands to that of `x`.
        """
        if x.numel():
            found = float((x.float().square() * inverse_square).mean().sqrt())
            self.largest = max(self.largest, found) if found < float("inf") else self.largest

    def beside(self, x: Tensor, out: Tensor, axis: int, block: Any) -> Tensor:
        """The same for a block of an architecture; what it writes is handed on.

        Args:
            x: what it reads.
            out: what it writes.
            axis: of the features.
            block: the block.
        """
        if self.due and not torch.compiler.is_compiling():
            inverse = inverse_square_of_block(block, x.detach(), axis)
            if inverse is not None:
                self.note(x.detach(), inverse)
        return out

    def close(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()


class _Reader:
    """A forward hook."""

    def __init__(self, all_norms: Conditioning, form: Form) -> None:
        self.norms, self.form = all_norms, form

    def __call__(self, module: nn.Module, args: Any, out: Any) -> None:
        if torch.compiler.is_compiling() or not self.norms.due or not module.training or is_own_run():
            return
        if self.form.known and args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            x = args[0].detach()
            self.norms.note(x, self.form.inverse_square(module, x))
