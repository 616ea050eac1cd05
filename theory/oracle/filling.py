"""Whether known laws are all there are: the gradients of a network move it in every direction that these leave.

Fields and their brackets span no more than the known laws leave, since laws that hold are orthogonal to all of them.
Where they span as much, no law is missing.  This is one side of a count (see `counting`), so that it is quick, and it
errs on one side alone: rounding that is small against what is kept makes no direction, and an answer "no" says nothing.
"""

from __future__ import annotations

import torch
from torch.func import grad

from .brackets import derivable, level_rows
from .signal import Potential, Sampler, potential_moves

LEFT = 1e-10  # of the largest singular value: rounding, where laws that hold show how large it is
KEPT = 1e-6  # the smallest that is taken for a direction beside such rounding
ALONE = 1e-4  # the same where no law holds, so that nothing shows how large rounding is


def is_filled(
    potential: Potential, theta: torch.Tensor, sample: Sampler, known: int, *, depth: int = 2, chunk: int = 64
) -> bool:
    """Whether gradients and brackets span all that so many independent laws leave.

    Source: Marcotte, Gribonval, Peyré 2023, theorem 3.3, of which this is the inequality.

    Args:
        potential: see `count_fields`.
        theta: see there.
        sample: see there.
        known: number of independent laws that hold.
        depth: largest number of nested brackets.
        chunk: samples that are differentiated at once.

    Returns:
        True if no law is missing; False if one is, and where that was not seen.
    """
    wanted = theta.numel() - known
    if wanted <= 0 or not potential_moves(potential, theta, sample):
        return False
    field, kept = grad(potential), KEPT if known else ALONE
    rows, rank = theta.new_zeros(0, theta.numel()), 0
    for level in range(depth + 1):
        missing = wanted - rank
        fresh, _ = level_rows(field, theta, sample, level, missing + missing // 4 + 12, chunk)
        if not bool(torch.isfinite(fresh).all()) or (level and not derivable(field, theta, sample, level)):
            return False
        rows = torch.cat([rows, fresh])
        values = torch.linalg.svdvals(rows)
        before, rank = rank, int((values > LEFT * values[0]).sum())
        if rank >= wanted:
            return rank == wanted and bool(values[wanted - 1] > kept * values[0])
        if level and rank == before:
            return False
    return False
