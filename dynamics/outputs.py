"""How small the gradient at the outputs has become: `p - y` of a network that fits its data keeps the rounding of `p`.

So the sums over classes that cross-entropy keeps at zero are known no better than `1 / |p - y|` times rounding, while
every law that holds for any gradient at the outputs is known as before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lawful.theory.inputs import object_items
from lawful.theory.own_runs import is_own_run

ROWS = 64  # of an output are looked at
MOST = 2**16  # entries of them, in all
TINY = 1e-30


class Outputs:
    """Hooks on what a model writes, in training.

    Attributes:
        whole: the weight of one example in the loss: what an entry of the gradient is where the output is all wrong.
    """

    def __init__(self) -> None:
        self.whole = 0.0
        self._small: float | None = None  # of the passes since the last step, the one with the largest gradient

    @property
    def magnified(self) -> float:
        """How many times larger the rounding of the gradient at the outputs is than that of other numbers, relative."""
        return self.whole / self._small if self._small else 1.0

    def stepped(self) -> None:
        """The gradients of the next step are others."""
        self._small = None

    def __call__(self, model: Any, args: Any, found: Any) -> None:
        """A forward hook of the model."""
        if torch.compiler.is_compiling() or is_own_run() or not model.training or not torch.is_grad_enabled():
            return
        for out in _tensors(found):
            if out.requires_grad and not out.is_leaf and out.is_floating_point():  # a leaf would keep every hook
                values = out.detach()
                out.register_hook(lambda grad, values=values: self._note(values, grad))

    @torch.no_grad()
    def _note(self, values: Tensor, grad: Tensor) -> None:
        if not values.numel():
            return
        if values.ndim < 2:  # a loss that the model computes itself: of cross-entropy about `1 - p`
            largest = small = float(values.abs().max())
        else:
            axis = 1 if values.ndim > 3 else -1
            z, g = _rows(values, axis), _rows(grad, axis)
            small = float(torch.linalg.vector_norm(g)) / len(g) ** 0.5
            largest = max(float(g.abs().max()), _weight(z, g))
        if small < float("inf") and largest < float("inf"):
            self.whole = max(self.whole, largest)
            self._small = max(self._small or 0.0, small)


def _tensors(found: Any) -> list[Tensor]:
    """The tensors of an output of any form."""
    if isinstance(found, Tensor):
        return [found]
    if (held := object_items(found)) is not None:
        found = held[0]
    parts = found.values() if isinstance(found, Mapping) else found if isinstance(found, (list, tuple)) else ()
    return [t for part in parts for t in _tensors(part)]


def _rows(x: Tensor, axis: int) -> Tensor:
    """Some rows over the classes, evenly spaced, in float64."""
    x = x.movedim(axis, -1)
    rows, classes = math.prod(x.shape[:-1]), x.shape[-1]
    most = max(1, min(ROWS, MOST // classes, rows))
    places = torch.arange(most, device=x.device) * rows // most
    return x[torch.unravel_index(places, x.shape[:-1])].double()


def _weight(z: Tensor, g: Tensor) -> float:
    """`w` in `w (softmax(z) - y)`, the weight of an example; 0 where not one class alone is right."""
    right = g < 0
    rows = right.sum(1) == 1
    if z.shape[1] < 2 or not bool(rows.any()):
        return 0.0
    p = torch.softmax(z[rows], 1)
    others = ~right[rows]
    chance = (p * others).sum(1)
    known = chance > TINY
    found = (g[rows] * others).sum(1)[known] / chance[known]
    return float(found.max()) if found.numel() else 0.0
