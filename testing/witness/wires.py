"""Gradients on the wires of a forward: what backward sends through every tensor that a user's line made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from .recorder import Recorder
from .replay import count, packed
from .tape import has_memory, wrapped


class Wires(TorchFunctionMode):
    """Listens to the gradient of every tensor that a function of torch gives, while a `Recorder` writes its tape.

    Attributes:
        grads: what backward sent, by step and number of the result.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder, self._tape = recorder, recorder.tape
        self.grads: dict[tuple[int, int], torch.Tensor] = {}
        self.heard: set[tuple[int, int]] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) or isinstance(out, (tuple, list)):
            for tensor in pytree.tree_flatten(out)[0]:
                self.listen(tensor)
        for tensor in args:  # what a backward of its own gave is seen where it is read
            self.listen(tensor)
        return out

    def listen(self, tensor: Any) -> None:
        """Hears what backward sends to a tensor that a step has made as it is."""
        if type(tensor) is not torch.Tensor or tensor.is_leaf or not tensor.requires_grad:
            return
        if self._tape.unknown or self._recorder.deaf or not has_memory(tensor) or wrapped(tensor):
            return
        with torch._C.DisableTorchFunction():
            spot = self._tape.spot(tensor)
            made = spot.made
            if made is None or made in self.heard:
                return
            step = self._tape.steps[made[0]]
            results = [*step.results.values(), *filter(None, step.writes)]
            whole = results[made[1]]
            if whole.geometry != spot.geometry and not (packed(whole) and packed(spot) and count(whole) == count(spot)):
                return
            self.heard.add(made)

            def hear(grad: torch.Tensor | None) -> None:
                if grad is None:
                    return
                known, grad = self.grads.get(made), grad.detach().reshape(whole.size)
                self.grads[made] = grad.clone() if known is None else known + grad

            tensor.register_hook(hear)


__all__ = ["Wires"]
