"""Inputs of a module that its architecture has more than once: a count that draws them freely is of another one."""

from __future__ import annotations

from itertools import combinations

import torch

from .computed import is_simple
from .lowering import Lowering
from .rebuilt import inputs_of
from .running import draw_inputs

LARGEST = 2_000_000  # numbers that are drawn to look for copies


def copied_inputs(low: Lowering) -> tuple[str, ...]:
    """Pairs of an architecture's inputs that hold some of the same numbers, as the calls that they come from.

    Args:
        low: what a program was lowered to.
    """
    program, used = low.program, low.builder.used_inputs
    if len(used) < 2 or sum(i.example.numel() for i in program.inputs) > LARGEST:
        return ()
    if any(i.example.device.type == "meta" for i in program.inputs):
        return ()
    generator = torch.Generator().manual_seed(0)
    draws = [inputs_of(low)(draw_inputs(program, low.batch, generator)) for _ in range(2)]
    names = [low.data[i][0].name for i in used]
    return tuple(
        f"{names[i]} (twice)" if names[i] == names[j] else f"{names[i]} and {names[j]}"
        for i, j in combinations(range(len(used)), 2)
        if all(_meet(draw[i], draw[j]) for draw in draws)
    )


def without_numbers(low: Lowering) -> list[str]:
    """What is to be said, on the meta device, of what a forward makes of its inputs alone: nobody knows its numbers."""
    program = low.program
    if not any(i.example.device.type == "meta" for i in program.inputs):
        return []
    given = {i.node for i in program.inputs}
    made = [low.data[i][0] for i in low.builder.used_inputs]
    return [
        f"{low.place(node)}: made of the inputs, and read as if it were any numbers, since the meta device has none; "
        "laws that hold because of how it is made are not listed"
        for node in dict.fromkeys(made)
        if node not in given and not is_simple(low, node)
    ]


def _meet(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two inputs share numbers; whole numbers are few, so that only equal tensors are told."""
    if not (one.is_floating_point() and other.is_floating_point()):
        return one.shape == other.shape and one.numel() > 1 and torch.equal(one, other)
    few = one.unique().numel() < one.numel() // 2 + 1  # masks
    return not few and bool(torch.isin(one.contiguous(), other.contiguous()).any())
