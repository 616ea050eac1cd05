"""Which laws are watched at which step: all at every k-th, or in turns, as many at a time as their cost allows."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

SMALL = 2**20  # a run of fewer watched numbers is watched at every step, whatever the clock says
SHARE = 0.035  # of the time of a run that watching is planned to take, so that it stays below 5 %
KEPT = 9  # times that a median is taken of
FIRST = 3  # steps at the beginning of a run at which every law is watched
RUN = 2  # steps in a row of every later turn: the second one sees whether the buffer is the one that the first left
FIXED = 2.0  # reading laws takes at least so many times what a step costs that watches next to nothing


class Pace:
    """The choice of steps, and of the laws that are watched there.

    Args:
        every: watch all laws at every k-th step; None for every step of a small model, and else in turns.

    Attributes:
        every: a law is watched at about every so manyth step.
        measured: that follows from what watching costs.
        turn: the laws of the present turn, as places in the list of `fit`.
        last: the last step that was watched.
        rounds: steps of an iteration in which optimizers take turns; all of them are watched, or none.
    """

    def __init__(self, every: int | None) -> None:
        self.fixed = every
        self.every = every or 1
        self.measured = False
        self.small = True
        self.last = 0
        self.rounds = 1
        self.turn: tuple[int, ...] = ()
        self._efforts: list[float] = []
        self._place = 0  # of the law whose turn is next
        self._begin, self._end = 1, FIRST  # first and last step of the turn
        self._until = 0.0  # the step up to which what was spent is within the budget
        self._shared: torch.device | None = None
        self._gpu: torch.device | None = None
        self._own: list[float] = []
        self._fixed: list[float] = []
        self._costs: list[float] = []  # of the steps of the turn
        self._rate = math.inf  # of one unit of effort, the lowest seen
        self._spent = 0.0
        self._since: float | None = None

    def fit(self, efforts: Sequence[float], numbers: int, device: torch.device, shared: bool) -> None:
        """Says what is watched.

        Args:
            efforts: what the laws cost, relative to each other.
            numbers: entries of all watched parameters.
            device: where they are.
            shared: several processes train, which must watch the same steps.
        """
        self._efforts = list(efforts)
        self.turn = tuple(range(len(efforts)))
        self.small = numbers <= SMALL
        self.measured = self.fixed is None and not self.small
        self._shared = device if shared else None
        self._gpu = device if device.type == "cuda" else None

    def due(self, step: int) -> bool:
        """Whether the laws of the turn are watched at a step."""
        return self._begin <= step <= self._end if self.measured else (step - 1) // self.rounds % self.every == 0

    def resume(self, step: int) -> None:
        """Goes on after a step of an earlier run."""
        self.last, self._begin, self._end = step, step + 1, step + FIRST
        self.turn = tuple(range(len(self._efforts)))

    def settle(self) -> None:
        """Waits for the device, whose own work is then not taken for the cost of watching."""
        if self.measured and self._gpu is not None:
            torch.cuda.synchronize(self._gpu)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Counts what is done inside as watching."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - start

    def stepped(self, step: int) -> None:
        """Says that a step is over; decides what is watched next."""
        watched, now = self.due(step), time.perf_counter()
        if self._since is not None:
            self._own = [*self._own[1 - KEPT :], now - self._since - self._spent]
        if watched:
            self.last = step
            self._costs.append(self._spent)
        self._spent, self._since = 0.0, now
        if watched and self.measured and step >= self._end:
            self._next(step)

    def _next(self, step: int) -> None:
        """Whose turn is next, and when."""
        cost = statistics.median_low(self._costs)  # a first step is slow
        budget = SHARE * max(statistics.median_low(self._own), 1e-9)
        effort = sum(self._efforts[i] for i in self.turn)
        self._rate = min(self._rate, cost / effort)
        self._fixed = [*self._fixed[1 - KEPT :], max(0.0, cost - self._rate * effort)]
        fixed = statistics.median_low(self._fixed)
        amount = max(budget - fixed, FIXED * fixed) / max(self._rate, 1e-300)
        self._until = max(self._until, self._begin) + sum(self._costs) / budget
        amount, begin = self._agreed(amount, max(step + 1, math.floor(self._until)))
        whole = sum(self._efforts)
        spaced = max(1.0, (fixed + self._rate * min(amount, whole)) / budget)
        self.every = math.ceil(max(1.0, whole / amount) * spaced)
        self._costs = []
        turn = [self._place]
        while len(turn) < len(self._efforts):
            i = (turn[-1] + 1) % len(self._efforts)
            if sum(self._efforts[j] for j in (*turn, i)) > amount:
                break
            turn.append(i)
        self._place = (turn[-1] + 1) % len(self._efforts)
        self.turn = tuple(sorted(turn))
        self._begin, self._end = begin, begin + RUN * self.rounds - 1

    def _agreed(self, amount: float, begin: int) -> tuple[float, int]:
        """How much is watched at a time, and from which step on; the slowest process decides."""
        if self._shared is None:
            return amount, begin
        said = torch.tensor([-amount, begin], dtype=torch.float64, device=self._shared)
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
        return -float(said[0]), int(said[1])
