"""The loss of a step under test."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lawful.theory.losses import Loss, LossLike, read, total
from lawful.theory.oracle.modules import Axes, fit_losses

Outputs = dict[str, torch.Tensor]
LossOf = Callable[[Outputs], torch.Tensor]


def loss_of(loss: LossLike | None, axis: Axes, seed: int) -> LossOf:
    """A loss with random targets, the same ones whenever it is asked; what is a loss already is squared."""

    def value(outputs: Outputs) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        numbers = [n for n, z in outputs.items() if z.ndim == 0 or z.numel() == 1 or n == "loss"]
        rest = {n: z for n, z in outputs.items() if n not in numbers}
        sums = [outputs[n].sum() for n in numbers]
        if rest:
            wanted: LossLike = "mse" if loss is None else loss
            names = list(outputs)
            losses = read(wanted, names)
            picked = [m for m, n in zip(losses, names, strict=True) if n not in numbers]
            own_axis = (
                axis
                if not isinstance(axis, (list, tuple))
                else [a for a, n in zip(axis, names, strict=True) if n not in numbers]
            )
            picked = [Loss("mse") if rest[n].ndim == 1 else m for m, n in zip(picked, rest, strict=True)]
            losses, axes = fit_losses(rest, picked, own_axis)
            sums.append(total(losses, list(rest.values()), generator, axes))
        return sum(sums[1:], start=sums[0])

    return value


__all__ = ["LossOf", "Outputs", "loss_of"]
