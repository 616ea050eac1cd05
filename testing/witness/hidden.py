"""Kernels that torch does not see: what writes memory by its address (Triton, C++, numpy), or has no formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .replay import Memory, replay
from .tape import NotMeasured, OwnCall, Spot, Tape, flat, spots_in
from .torch_design import has_formula

NEAR = {torch.float16: 2e-2, torch.bfloat16: 5e-2}  # relative, of the same kernels on the same numbers
CLOSE = 1e-4


def hides(
    tape: Tape, call: OwnCall, given: Mapping[int, torch.Tensor], held: Mapping[int, Any], outs: Sequence[torch.Tensor]
) -> bool:
    """Whether the kernels that were seen inside of a call are not all that it did.

    They are run again on what the call was given; a kernel that writes by address leaves other numbers.

    Args:
        tape: what ran.
        call: the call, at its end.
        given: what the memory of its inputs held when it began, flat.
        held: the memory that is known.
        outs: what it gave.
    """
    steps = range(call.first, call.last)
    real = [t for t in outs if t.is_floating_point() or t.is_complex()]
    results = [tape.spot(t) for t in real]
    if any(s.alive and s.key not in tape.moves for s in results):
        return True  # no kernel leads to it from what the call was given
    if not all(has_formula(tape.steps[i].func) for i in steps):
        return True
    memory = Memory()
    wanted = {s.key: s.dtype for i in steps for s in spots_in((tape.steps[i].args, tape.steps[i].kwargs))}
    for key, dtype in {**wanted, **{s.key: s.dtype for s in results}}.items():
        line = given.get(key)
        line = tape.fixed.get(key) if line is None else line
        if line is None and key in held:
            line = flat(torch.empty(0, dtype=dtype, device=held[key].device).set_(held[key]))
        if line is not None:
            memory.held[key] = (line, Spot(key, line.dtype, (line.numel(),), (1,), 0))
    try:
        with torch.no_grad():
            again = replay(tape, {}, results, steps=steps, memory=memory).outputs
    except NotMeasured:
        return True
    return not all(_equal(t.detach(), other) for t, other in zip(real, again, strict=True))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    close = NEAR.get(one.dtype, CLOSE)
    wide = torch.complex128 if one.is_complex() else torch.float64
    one, other = one.to(wide), other.detach().to(wide)
    scale = float(torch.nan_to_num(one).abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=close, atol=close * scale, equal_nan=True)


__all__ = ["hides"]
