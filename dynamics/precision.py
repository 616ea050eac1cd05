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
ROUNDING = {torch.float64: 3e-15}  # the part of it that is rounding, where nearly all is room
NOTHING = 0.3  # a product that is known no better says nothing


def precision(
    parameters: Iterable[Tensor],
    compute: torch.dtype | None,
    optimizers: Iterable[torch.optim.Optimizer] = (),
    norms: float = 1.0,
    outputs: float = 1.0,
) -> Precision:
    """How precisely the steps of a model are known.

    Args:
        parameters: its parameters.
        compute: the type that autocast computes in, None without it.
        optimizers: the optimizers, whose settings may be tensors.
        norms: how many times norms magnify the rounding of what they read.
        outputs: the same for the gradient at the outputs.
    """
    types = {p.dtype for p in parameters}
    coarse = max(types, key=lambda t: torch.finfo(t).eps)
    inner = max({coarse, compute or coarse}, key=lambda t: torch.finfo(t).eps)
    settings = [x for o in optimizers for group in o.param_groups for k, x in group.items() if k != "params"]
    rates = [torch.finfo(x.dtype).eps / 2 for x in settings if isinstance(x, Tensor) and x.is_floating_point()]
    plain = GRADIENT.get(inner, NOTHING)
    unit = ROUNDING.get(inner, plain / MAGNIFIED)
    gradient = min(max(plain, unit * norms), NOTHING)
    summed = min(max(gradient, unit * outputs), NOTHING)
    return Precision(gradient, torch.finfo(coarse).eps / 2, max(rates, default=0.0), summed)
