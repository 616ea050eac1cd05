"""How much of a law's change rounding may be: by the types of the weights and of the computation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .account import Precision

# The error of `<grad h, g>` relative to the largest that it could be (Cauchy-Schwarz), for the type that gradients are
# computed in.  Ten times what networks of 4 to 60 layers show; in float64 far more,
# since nothing but a fault lies between its rounding and this.
# A norm of numbers that are nearly alike magnifies rounding: more than MAGNIFIED times is not in these networks.
GRADIENT = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 3e-2, torch.bfloat16: 1e-1}
MAGNIFIED = 6.0
NOTHING = 0.3  # a product that is known no better says nothing


def precision(
    parameters: Iterable[Tensor],
    compute: torch.dtype | None,
    optimizers: Iterable[torch.optim.Optimizer] = (),
    magnified: float = 1.0,
) -> Precision:
    """How precisely the steps of a model are known.

    Args:
        parameters: its parameters.
        compute: the type that autocast computes in, None without it.
        optimizers: the optimizers, whose settings may be tensors.
        magnified: how many times norms magnify the rounding of what they read.
    """
    types = {p.dtype for p in parameters}
    coarse = max(types, key=lambda t: torch.finfo(t).eps)
    inner = max({coarse, compute or coarse}, key=lambda t: torch.finfo(t).eps)
    settings = [x for o in optimizers for group in o.param_groups for k, x in group.items() if k != "params"]
    rates = [torch.finfo(x.dtype).eps / 2 for x in settings if isinstance(x, Tensor) and x.is_floating_point()]
    gradient = GRADIENT.get(inner, NOTHING)
    if inner != torch.float64:  # there nothing that rounding makes comes near
        gradient = min(gradient * max(1.0, magnified / MAGNIFIED), NOTHING)
    return Precision(gradient, torch.finfo(coarse).eps / 2, max(rates, default=0.0))
