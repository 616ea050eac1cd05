"""What is left of the directions of a network once its gradients and their brackets have moved it.

Fields and their brackets span no more than the known laws leave, since laws that hold are orthogonal to all of them.
Where they span as much, no law is missing.  Where further brackets add nothing and less is spanned, laws are missing.
This is one side of a count (see `counting`), at one point, so that it is quick; each answer needs a clear gap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.func import grad

from .brackets import derivable, level_rows
from .signal import Potential, Sampler, potential_moves

LEFT = 1e-10  # of the largest singular value: rounding, where laws that hold show how large it is
KEPT = 1e-6  # the smallest that is taken for a direction beside such rounding
ALONE = 1e-4  # the same where no law holds, so that nothing shows how large rounding is
DEPTH = 4  # brackets that are nested before "it does not end" is the answer


class Filling(NamedTuple):
    """What gradients and brackets span beside known laws.

    Attributes:
        left: independent laws more than are known, if that many: directions that nothing moves and no law holds.
        decided: whether `left` is right at this point; otherwise it says nothing.
    """

    left: int
    decided: bool


UNDECIDED = Filling(0, decided=False)


def filling(
    potential: Potential, theta: torch.Tensor, sample: Sampler, known: int, *, depth: int = DEPTH, chunk: int = 64
) -> Filling:
    """How many laws a network has beside those that are known, at one point.

    Source: Marcotte, Gribonval, Peyré 2023, theorem 3.3.

    Args:
        potential: see `count_fields`.
        theta: see there.
        sample: see there.
        known: number of independent laws that hold.
        depth: largest number of nested brackets.
        chunk: samples that are differentiated at once.

    Returns:
        0 where no law is missing, which needs no further point.  More at a point where the network happens to be flat,
        so that other points must agree.
    """
    wanted = theta.numel() - known
    if wanted <= 0 or not potential_moves(potential, theta, sample):
        return UNDECIDED
    field, kept = grad(potential), KEPT if known else ALONE
    rows, rank = theta.new_zeros(0, theta.numel()), 0
    for level in range(depth + 1):
        missing = wanted - rank
        fresh, _ = level_rows(field, theta, sample, level, missing + missing // 4 + 12, chunk)
        if not bool(torch.isfinite(fresh).all()) or (level and not derivable(field, theta, sample, level)):
            return UNDECIDED
        rows = torch.cat([rows, fresh])
        values = torch.linalg.svdvals(rows)
        before, rank = rank, int((values > LEFT * values[0]).sum())
        ended = level > 0 and rank == before
        if rank >= wanted or ended:
            clear = rank <= wanted and bool(values[rank - 1] > kept * values[0])
            return Filling(wanted - rank, clear)
    return UNDECIDED
