"""What one step of an optimizer does to a law: exact identities of the discrete step, no small-rate limit.

A law is `h(theta) = Q(theta) + <c, theta>` with a quadratic form `Q`, and `<grad h, g> = 0` for every minibatch
gradient `g`.  Expanding `h` at the next point leaves only the second-order term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch

from lawful.theory.laws.law import Law
from lawful.theory.laws.statement import Part


def quadratic_form(law: Law, direction: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """`Q(direction)`: the quadratic part of a law, evaluated on a direction in parameter space.

    The quadratic form of a balance law is its value, read without the identity of a skip (`I + W`); shift and frozen
    laws have no quadratic part.

    Args:
        law: the law.
        direction: a tensor for each of the law's parameters, for example a gradient.

    Returns:
        A tensor of the shape of the law's value.

    Raises:
        KeyError: if a parameter of the law is missing.
    """
    if law.kind != "balance":
        return torch.zeros_like(law.value(direction))
    terms = tuple(replace(t, part=_plain(t.part), partner=t.partner and _plain(t.partner)) for t in law.terms)
    return replace(law, terms=terms).value(direction)


def _plain(part: Part) -> Part:
    """A reading without the identity of a skip, which a direction does not have."""
    return replace(part, offset=Fraction(0))


def sgd_change(law: Law, gradient: Mapping[str, torch.Tensor], rate: float) -> torch.Tensor:
    """The change of a law in the step `theta - rate * gradient`: exactly `rate**2 * Q(gradient)`.

    Source: theta' = -g conserves h, so the first-order term of h(theta - rate g) vanishes for any minibatch gradient g.

    Args:
        law: the law; one that is only approximate changes by what its norm's epsilon adds as well.
        gradient: the minibatch gradient, a tensor for each of the law's parameters.
        rate: the learning rate.
    """
    return rate**2 * quadratic_form(law, gradient)
