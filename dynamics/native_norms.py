"""What the epsilon of torch's own BatchNorm does, from what its forward and its backward compute anyway.

With `y = gain x_hat + bias` the product `<x, dL/dx>` of a channel is `epsilon / (s + epsilon)` times `gain` times the
gradient of the gain, and `1 / sqrt(s + epsilon)` is kept for backward.  The gradient is read where the node of autograd
makes it, before any hook on the gain sees it, so that a wrong hook or a norm of other make is not taken for epsilon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NODE = "NativeBatchNormBackward0"


class NativeNorm:
    """One norm.

    Args:
        add: called with the products of a backward pass that writes its gradients into the parameters.
    """

    def __init__(self, add: Callable[[Tensor | None], None]) -> None:
        self._add = add
        self._task = -1
        self._found: Tensor | None = None
        self._gain: nn.Parameter | None = None
        self._handle: Any = None

    def follow(self, module: nn.Module, out: Tensor) -> bool:
        """Watches the backward of an output; False where it is not plainly that of torch's own BatchNorm."""
        node: Any = out.grad_fn
        gain = getattr(module, "weight", None)
        if node is None or node.name() != NODE or not isinstance(gain, nn.Parameter) or not gain.requires_grad:
            return False
        used = getattr(node.next_functions[1][0], "variable", None) is gain
        if not used or not node._saved_training:
            return False
        if _packed():  # a checkpoint would compute it all again to show what it keeps
            return False
        with torch.no_grad():
            inverse = node._saved_result2.double()
            scale = node._saved_eps * inverse.square() * gain.detach().double()
        node.register_hook(lambda inputs, _, scale=scale: self._note(inputs[1], scale))
        if self._gain is not gain:
            self.close()
            self._gain, self._handle = gain, gain.register_post_accumulate_grad_hook(self._written)
        return True

    def close(self) -> None:
        """Takes the hook away."""
        if self._handle is not None:
            self._handle.remove()
        self._gain = self._handle = None

    def _note(self, gradient: Tensor | None, scale: Tensor) -> None:
        if gradient is None:
            return
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._found = task, None
        product = scale * gradient
        self._found = product if self._found is None else self._found + product

    def _written(self, gain: Tensor) -> None:
        """Only what goes into the gradients counts: `torch.autograd.grad` looks at the same nodes."""
        if self._found is not None and self._task == torch._C._current_graph_task_id():
            found, self._found = self._found, None
            self._add(found)


def _packed() -> bool:
    """Whether somebody packs what forward keeps for backward (checkpoints, offloading), or it is not known."""
    look = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return look is None or look(True) is not None
