"""Straight-through estimators, seen by numbers: sums whose value is a rounded one, `x + (round(x) - x).detach()`.

So are sums of one number everywhere, `x + (1 - x).detach()`, which nobody writes but for their gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .tape import Cut, Spot, Step, Stop, Tape, spots_in, storage_key

SUMS = frozenset({"add", "sub", "rsub", "add_", "sub_"})
LOSSES = frozenset({"mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss", "sub", "rsub"})
LAST_BITS = 32  # by which a sum may differ from what it should be


class Straight:
    """Finds them while a tape is written.

    Attributes:
        stops: where gradients stop for them.
        pairs: the memory of a rounded value and of what its gradient goes to instead.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._hard: dict[int, torch.Tensor] = {}
        self.stops: set[Stop] = set()
        self.pairs: list[frozenset[int]] = []

    def rounded(self, tensors: Sequence[torch.Tensor]) -> None:
        """Tells of values that are made, of which those that were rounded a few calls ago are kept."""
        for t in tensors:
            if t.is_floating_point() and t.numel() > 1:
                key = storage_key(t)
                if key in self._tape.rounded:
                    self._hard[key] = t.detach()
                else:
                    self._hard.pop(key, None)

    def sums(self, step: Step, cuts: Sequence[Cut], results: Sequence[torch.Tensor]) -> None:
        """Tells of a call that reads values without autograd, before what it gives counts as rounded."""
        if step.name.rpartition(".")[2] not in SUMS or not step.alive:
            return
        soft = {s.key for s in spots_in(step.args) if s.alive and s.dtype.is_floating_point}
        if soft and any(_one_number(total.detach()) for total in results):
            self.stops |= {s for c in cuts for s in self._behind(c)}
            return
        for total in results:
            for key, hard in self._hard.items():
                if soft and key not in soft and hard.shape == total.shape and _equal(total.detach(), hard):
                    self.stops |= {s for c in cuts for s in self._behind(c)}
                    self.pairs.append(frozenset({key, *soft}))
                    return

    def codebook(self, cut: Cut) -> bool:
        """Whether a cut is a loss between a rounded value and what it was rounded from, as codebooks have it."""
        if cut.step >= len(self._tape.steps) or cut.call is not None:
            return False
        step = self._tape.steps[cut.step]
        read = {s.key for s in spots_in(step.args) if s.dtype.is_floating_point}
        return step.name.rpartition(".")[2] in LOSSES and len(read) == 2 and any(read <= pair for pair in self.pairs)

    def _behind(self, cut: Cut) -> set[Stop]:
        """All stops of a value that autograd does not know."""
        found, open_, seen = {cut.stop}, [cut.spot], set()
        by_step: dict[int, list[Cut]] = {}
        for c in self._tape.cuts:
            by_step.setdefault(c.step, []).append(c)
        while open_:
            spot: Spot = open_.pop()
            if spot.made is None or spot.made in seen or spot.key not in self._tape.dead:
                continue
            seen.add(spot.made)
            for c in by_step.get(spot.made[0], ()):
                found.add(c.stop)
                open_.append(c.spot)
        return found


def _one_number(total: torch.Tensor) -> bool:
    return total.numel() > 1 and _equal(total, total.reshape(-1)[0])


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    eps = LAST_BITS * torch.finfo(one.dtype).eps
    return bool(((one - other).abs() <= eps * (1 + torch.maximum(one.abs(), other.abs()))).all())


__all__ = ["Straight"]
