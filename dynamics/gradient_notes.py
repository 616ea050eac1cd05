"""What is seen of gradients from step to step, without any law: edited, silent, clipped, apart in the processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

from .gradients import Seen
from .sharded import Shards

UPHILL = 0.3  # cosine with the gradient from which on a step goes up; noise is far below it
LEADING = 4  # gradients that are read at every watched step to know how large gradients are


class GradientNotes:
    """Keeps what was seen.

    Attributes:
        edited: parameters whose gradient somebody turned around or enlarged after backward, and the first such step.
        mended: those whose gradient was not finite and was replaced, and the first such step.
        apart: those whose gradients differ between the processes, and the first such step.
        missing: those that had a gradient at a step and are in no group of an optimizer, and the first such step.
        last: the last step in which a parameter had a gradient.
        looked: the last step in which it was looked at.
        dropped: parameters whose gradient backward wrote and somebody took away, and the first such step.
        scaled: the multiples of single gradients in the last three steps.
        clipped: the common multiples of the last ten steps, as far as there were some, with the norms that they left.
        uncleared: the first step that found the gradients of the one before.
        kept: the parameters that had them.
        uphill: in how many steps a parameter went along its gradient; no number once it went against it.
    """

    def __init__(self) -> None:
        self.edited: dict[str, int] = {}
        self.mended: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.apart: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.looked: dict[str, int] = {}
        self.scaled: dict[str, list[float]] = {}
        self.clipped: list[tuple[float, float]] = []
        self.uncleared: int | None = None
        self.kept: tuple[str, ...] = ()
        self.uphill: dict[str, int | None] = {}
        self._fresh: AbstractSet[int] = frozenset()  # optimizers that stepped since the last pass began
        self._left: AbstractSet[int] = frozenset()  # those that find gradients again with which they stepped
        self._tops: dict[str, float] = {}  # the largest entries of gradients, when they were looked at

    def resume(self, names: Iterable[str], step: int, edited: Mapping[str, int]) -> None:
        """Goes on after a step of an earlier run."""
        self.edited, self.last = dict(edited), dict.fromkeys(names, step)
        self.looked = dict(self.last)

    def moved(self, name: str, along: float) -> None:
        """A step was seen, with the cosine between what it did and the gradient."""
        count = self.uphill.get(name, 0)
        self.uphill[name] = None if count is None or along < UPHILL else count + 1

    def begins(self, carried: AbstractSet[int], names: Callable[[], Iterable[str]]) -> None:
        """A backward pass begins: are the gradients of a step that was made already still there?

        Args:
            carried: the optimizers whose parameters have gradients.
            names: gives the parameters that have them.
        """
        self._left = carried & (self._fresh | self._left)
        if self._left and self.uncleared is None:
            self.kept = tuple(names())
        self._fresh = frozenset()

    def stepped(self, movers: AbstractSet[int]) -> None:
        """A step was made by these optimizers with the gradients that are there."""
        self._fresh = self._fresh | movers

    def met(self, name: str, step: int) -> None:
        """A parameter that seemed to have no gradient has one, at a step that is not watched."""
        self.last[name] = step

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Parameters that had no gradient when they were looked at; they may have one where nobody looks."""
        return tuple(n for n, step in self.looked.items() if self.last.get(n, 0) < step)

    def look(self, parameters: Iterable[tuple[str, Tensor]], held: Collection[int], step: int) -> None:
        """Which parameters have a gradient that no optimizer takes; afterwards a loop may have cleared it."""
        for n, p in parameters:
            if p.grad is not None and p.requires_grad and id(p) not in held:
                self.missing.setdefault(n, step)

    def note(self, seen: Seen, names: Collection[str], step: int, movers: AbstractSet[int]) -> None:
        """What somebody did to the gradients of a step.

        Args:
            seen: what was seen.
            names: of the gradients that were looked at.
            step: its number.
            movers: the optimizers that make it.
        """
        self.looked |= dict.fromkeys(names, step)
        for n in seen.edited:
            self.edited.setdefault(n, step)
        for n in seen.dropped:
            self.dropped.setdefault(n, step)
        for n in seen.mended:
            self.mended.setdefault(n, step)
        others = {n: x for n, x in self.scaled.items() if n not in names}
        self.scaled = others | {n: [*self.scaled.get(n, [])[-2:], x] for n, x in seen.scaled.items()}
        if self._left & movers and self.uncleared is None:
            self.uncleared = step

    def compare(
        self, grads: Mapping[str, Tensor], parameters: Mapping[str, Tensor], shards: Shards | None, step: int
    ) -> None:
        """Averaged gradients are the same numbers in every process: one small reduction says whether they are."""
        whole = [n for n in parameters if shards is None or shards.layouts[n].replicated]
        sums = [grads[n].double().sum() if n in grads else torch.zeros((), dtype=torch.float64) for n in whole]
        if not sums:
            return
        low = torch.stack([*(s.cpu() for s in sums), *(-s.cpu() for s in sums)]).to(parameters[whole[0]].device)
        torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MAX)
        spread = (low[: len(sums)] + low[len(sums) :]).tolist()
        for n, d in zip(whole, spread, strict=True):
            if not d == 0:
                self.apart.setdefault(n, step)

    @property
    def leading(self) -> tuple[str, ...]:
        """The parameters whose gradients had the largest entries."""
        return tuple(sorted(self._tops, key=lambda n: -self._tops[n])[:LEADING])

    def largest(
        self, names: Collection[str], grads: Mapping[str, Tensor], shards: Shards | None, step: int
    ) -> dict[str, float]:
        """The largest entry of every gradient, as far as it is known; notes which are there.

        Args:
            names: the parameters that are looked at.
            grads: the gradients of those of them that have one.
            shards: where they lie.
            step: its number.
        """
        tops = {n: _largest(g) for n, g in grads.items()}
        if shards is not None:
            tops = dict(zip(tops, shards.most(list(tops.values())), strict=True))
        self.last |= {n: step for n, top in tops.items() if top != 0}
        self._tops = {n: top for n, top in self._tops.items() if n not in names} | tops
        return self._tops

    def clip(self, grads: Mapping[str, Tensor], multiple: float) -> None:
        """How clipping left the norm of all gradients of a step."""
        if multiple != 1:
            norm = sum(float(g.square().sum()) for g in grads.values()) ** 0.5
            self.clipped = [*self.clipped[-9:], (multiple, norm)]
        else:
            self.clipped = []


def _largest(x: Tensor) -> float:
    """The largest absolute value, read once and, of real numbers, without a copy."""
    if not x.numel():
        return 0.0
    if x.is_complex():
        return float(x.abs().max())
    low, high = torch.aminmax(x)
    return float(torch.maximum(-low, high))
