"""Whose gradient is the derivative, where those of two networks with equal outputs differ: central differences say."""

from __future__ import annotations

from collections.abc import Callable

from lawful.theory.oracle.modules import norm

from .running import Tensors

STEPS = (1e-5, 3e-6)  # the two slopes differ by what their rounding, and bends in between, make of them
NEAR = 0.1  # of the distance between the two gradients: nearer, and the slope is that of the one
CLEAR = 10.0  # how much farther than its own error a slope has to be from a gradient that is none


def is_derivative(own: Tensors, other: Tensors, values: Tensors, product: Callable[[Tensors], float]) -> bool | None:
    """Whether a network's own gradient is the derivative of its outputs, along the difference from another gradient.

    Args:
        own: the network's gradient.
        other: the other gradient.
        values: the parameters where both were taken.
        product: the number whose gradient it is, at some parameters.

    Returns:
        None where the difference is too small for that, or the slope is none.
    """
    apart = {n: own[n] - other[n] for n in own}
    distance = float(norm(apart))
    if not 0 < distance < float("inf"):
        return None
    along = {n: d / distance for n, d in apart.items()}
    slopes = [(product(_moved(values, along, h)) - product(_moved(values, along, -h))) / (2 * h) for h in STEPS]
    expected = float(sum((own[n] * d).sum() for n, d in along.items()))
    missed, error = abs(slopes[1] - expected), abs(slopes[1] - slopes[0])
    if missed <= NEAR * distance:
        return True
    return False if missed > CLEAR * error else None


def _moved(values: Tensors, along: Tensors, step: float) -> Tensors:
    return {n: v + step * along[n] if n in along else v for n, v in values.items()}


__all__ = ["is_derivative"]
