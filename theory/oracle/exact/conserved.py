"""Laws as polynomial programs, for certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from ...laws.law import Law
from .lowering import Tensors, program_of
from .program import FROZEN, Program


def laws_program(
    laws: Sequence[Law], parameters: Mapping[str, torch.Tensor], frozen: Mapping[str, torch.Tensor] | None = None
) -> Program:
    """The sum of all scalars of some laws with weights, which are its data (`weights`).

    The scalars stand one law after the other, each law's in the order of `Law.value`.

    Args:
        laws: at least one law.
        parameters: all trainable parameters by name, in the order in which they make up one vector.
        frozen: those that training does not move, by the names under which a potential reads them; laws may name them.
    """
    fixed = frozen or {}
    called = {n: n.removeprefix(FROZEN) for n in fixed}
    single = [[replace(law, terms=(replace(t, coefficient=Fraction(1)),)) for t in law.terms] for law in laws]
    sizes = [law[0].value({**parameters, **{called[n]: t for n, t in fixed.items()}}).numel() for law in single]

    def potential(params: Tensors, data: Tensors, chosen: Tensors) -> torch.Tensor:
        total, at = torch.zeros((), dtype=torch.float64), 0
        for law, parts, size in zip(laws, single, sizes, strict=True):
            weights = data["weights"][at : at + size]
            at += size
            for term, part in zip(law.terms, parts, strict=True):
                # the numerator and the denominator by themselves: a third is no float
                piece = (part.value(params | {called[n]: data[n] for n in fixed}).reshape(-1) * weights).sum() * float(
                    term.coefficient.numerator
                )
                total = total + piece / float(term.coefficient.denominator)
        return total

    return program_of(potential, parameters, {"weights": torch.ones(sum(sizes), dtype=torch.float64)}, {}, fixed)
