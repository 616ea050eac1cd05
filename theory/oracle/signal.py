"""Whether fields are more than rounding: what is rounding spans whatever it happens to span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.func import grad, grad_and_value, vmap
from torch.utils import _pytree

Potential = Callable[[torch.Tensor, Any], torch.Tensor]
Sampler = Callable[[int], Any]

NEARBY = 1e-9  # relative: a field hardly changes over this distance
NEARER = 1e-13  # relative: rounding of the parameters themselves
ROUNDED = 1e-9  # what is left of a field where outputs are equal: weights that add up to zero but for rounding
STEADY = 1e-4  # what such a step may change of a field, relative to it
SAMPLES = 16  # of which each has to be steady


def potential_moves(potential: Potential, theta: torch.Tensor, sample: Sampler) -> bool:
    """Whether the fields are more than rounding.

    They are rounding where the function is 0 (differences of outputs that are equal), where they are small beside it,
    where they are gone at a point nearby, and where those in float32 are larger by far.
    """
    data = sample(8)
    slope, value = vmap(grad_and_value(potential), (None, 0))(theta, data)
    size = value.abs().median()
    if not bool(value.any()) and float(slope.norm(dim=1).max()) <= ROUNDED:  # `y - y.detach()` is 0 and moves
        return False
    if float(slope.norm(dim=1).max() * theta.norm()) <= 1e-12 * float(size):
        return False
    if float(slope.norm(dim=1).max()) <= 1e-6 * _size_in_single(potential, theta, data):
        return False
    nearby, _ = vmap(grad_and_value(potential), (None, 0))(theta * (1 + NEARBY * torch.cos(theta)), data)
    # A field that is rounding is another one there; NaN is for others to find.
    return not float((nearby - slope).norm()) > 0.3 * float(slope.norm())


def _size_in_single(potential: Potential, theta: torch.Tensor, data: Any) -> float:
    """The size of fields in float32; 0 for a function that knows no float32, or is too large for it."""
    single = _pytree.tree_map(lambda t: t.float() if t.is_floating_point() else t, data)
    try:
        found = vmap(grad(potential), (None, 0))(theta.float(), single).norm(dim=1).max()
    except RuntimeError:
        return 0.0
    return float(found) if bool(found.isfinite()) else 0.0


def potential_steady(potential: Potential, theta: torch.Tensor, sample: Sampler) -> bool:
    """Whether rounding of the parameters leaves the fields as they are.

    It does not where a norm divides what is zero by its own size, as it does behind a layer whose units are all dead.
    """
    data = sample(SAMPLES)
    points = torch.stack([theta, theta * (1 + NEARER * torch.cos(theta))])
    here, there = vmap(vmap(grad(potential), (None, 0)), (0, None))(points, data)
    finite = torch.isfinite(here).all(1)  # data for which they are no numbers are not counted with
    steady = (there - here).norm(dim=1) <= STEADY * here.norm(dim=1)
    return bool(finite.any()) and bool(steady[finite].all())
