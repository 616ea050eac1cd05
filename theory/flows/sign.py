"""Sign descent, whose fields are constant almost everywhere, so that a span takes the place of the Lie algebra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.func import grad, vmap

from ..oracle.counting import CLEAR_GAP, Count
from ..oracle.signal import Potential, Sampler, potential_moves
from ..typed import named_arguments
from ..verdict import Verdict
from .base import Flow, Layout, State

ROUNDS = 6  # rounds without a new direction after which the span counts as complete
ZERO = 1e-13  # entries of a gradient below this fraction of its largest are rounding


@named_arguments
@dataclass(frozen=True)
class SignDescent(Flow):
    """`theta' = -sign(grad L)`, Adam without memory.

    Near a generic point the sign vector of every data set is constant, so the laws there are the linear functions that
    are orthogonal to all sign vectors: `D - rank`.

    Source: Marcotte, Gribonval, Peyré 2025 (numerical section on Adam).
    """

    def push(self, state: State, gradient: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The signs of the gradient; 0 for what is rounding."""
        return torch.where(gradient.abs() > ZERO * gradient.abs().max(), gradient.sign(), torch.zeros_like(gradient))

    def count(
        self,
        potential: Potential,
        theta: torch.Tensor,
        sample: Sampler,
        layout: Layout,
        generator: torch.Generator,
        *,
        known: int | None = None,
        depth: int = 6,
        progress: Callable[[str], None] | None = None,
    ) -> Count:
        """Counts the linear laws near a point by the span of sign vectors (see `Flow.count`).

        A full span is a proof that there is none; one that stopped growing over `ROUNDS` rounds of `16 D` data sets
        counts as complete.  `depth` is not used.
        """
        d = theta.numel()
        if not d or not potential_moves(potential, theta, sample):
            return Count(d, d, (0,), float("inf"), Verdict.VACUOUS, "no parameter moves the output")
        rows = torch.zeros(0, d, dtype=theta.dtype)
        here = State(theta.new_zeros(()), theta, torch.zeros_like(theta))
        ranks: list[int] = []
        quiet, gap = 0, float("inf")
        while quiet < ROUNDS:
            if progress:
                progress(f"signs of {len(rows)} gradients: {ranks[-1] if ranks else 0} of {d} dimensions so far")
            slopes = vmap(grad(potential), (None, 0))(theta, sample(2 * d))
            if not bool(torch.isfinite(slopes).all()):
                return Count(d, d, tuple(ranks), 0.0, Verdict.VIOLATED, "the gradients are not finite", False)
            # The gradient of a data set is any combination of those of single examples.
            slopes = torch.randn(16 * d, len(slopes), dtype=theta.dtype, generator=generator) @ slopes
            rows = torch.cat([rows, torch.stack([self.push(here, g, layout) for g in slopes])])
            values = torch.linalg.svdvals(rows)
            rank = int((values > 1e-9 * values[0]).sum())
            gap = float(values[rank - 1] / values[rank]) if rank < d else float("inf")
            quiet = quiet + 1 if ranks and rank == ranks[-1] else 0
            ranks.append(rank)
            if rank == d or (known is not None and rank >= d - known):
                break
        verdict = Verdict.HOLDS if gap >= CLEAR_GAP else Verdict.UNDECIDED
        return Count(d - ranks[-1], d, tuple(ranks), gap, verdict, "span of sign vectors", True)
