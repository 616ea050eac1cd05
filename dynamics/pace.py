"""Which steps are watched: every k-th, where k is given, or follows from what watching costs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**20  # a run of fewer watched numbers is watched at every step, whatever the clock says
SHARE = 0.035  # of the time of a run that watching is planned to take, so that it stays below 5 %
KEPT = 9  # times that a median is taken of


class Pace:
    """The choice of steps.

    Args:
        every: watch every k-th step; None for every step of a small model, and else so many that they cost `SHARE`.
    """

    def __init__(self, every: int | None) -> None:
        self.fixed = every
        self.every = every or 1
        self.measured = False
        self.small = True
        self.last = 0
        self._next = 1
        self._shared: torch.device | None = None
        self._gpu: torch.device | None = None
        self._own: list[float] = []
        self._costs: list[float] = []
        self._spent = 0.0
        self._since: float | None = None

    def fit(self, numbers: int, device: torch.device, shared: bool) -> None:
        """Says what is watched.

        Args:
            numbers: entries of all watched parameters.
            device: where they are.
            shared: several processes train, which must watch the same steps.
        """
        self.small = numbers <= SMALL
        self.measured = self.fixed is None and not self.small
        self._shared = device if shared else None
        self._gpu = device if device.type == "cuda" else None

    def due(self, step: int) -> bool:
        """Whether a step is watched."""
        return step >= self._next if self.measured else (step - 1) % self.every == 0

    def resume(self, step: int) -> None:
        """Goes on after a step of an earlier run."""
        self.last, self._next = step, step + 1

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
        """Says that a step is over; decides which one is watched next."""
        watched, now = self.due(step), time.perf_counter()
        if self._since is not None:
            self._own = [*self._own[1 - KEPT :], now - self._since - self._spent]
        if watched:
            self.last = step
            self._costs = [*self._costs[1 - KEPT :], self._spent]
        self._spent, self._since = 0.0, now
        if not (watched and self.measured):
            return
        if self._own:
            # the lower half: a first step is slow, on both sides
            own, cost = statistics.median_low(self._own), statistics.median_low(self._costs)
            self.every = max(1, math.ceil(cost / (SHARE * max(own, 1e-9))))
        self._agree()
        self._next = step + self.every

    def _agree(self) -> None:
        """The slowest process decides for all."""
        if self._shared is not None:
            slowest = torch.tensor([self.every], device=self._shared)
            torch.distributed.all_reduce(slowest, torch.distributed.ReduceOp.MAX)
            self.every = int(slowest)
