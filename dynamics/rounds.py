"""Which of several optimizers step together, on the gradients of the same backward passes: a round; whole steps."""

from __future__ import annotations

import sys
from collections.abc import Set as AbstractSet
from types import FrameType


class Rounds:
    """Learns it from the loop: at first all are thought to step together; one that does not is soon seen.

    Args:
        number: how many optimizers there are.

    Attributes:
        movers: the optimizers of the present or last round.
        waiting: those of them that have not stepped yet.
        changed: what was learned at the beginning of this round was not known before, so that it is not judged.
    """

    def __init__(self, number: int) -> None:
        self.movers: AbstractSet[int] = frozenset()
        self.waiting: set[int] = set()
        self.changed = False
        self._made: set[int] = set()  # have stepped in the round
        self._fresh = False  # backward has run since the last step
        self._with = [frozenset(range(number))] * number

    @property
    def number(self) -> int:
        """How many rounds an iteration has."""
        return len(set(self._with))

    def ran(self) -> None:
        """Backward runs."""
        self._fresh = True

    def joins(self, index: int) -> bool:
        """Whether an optimizer that is about to step does so in the round that is open."""
        return index in self.waiting and not self._fresh

    def break_off(self) -> None:
        """Those that the round still waits for do not step in it."""
        together = frozenset(self._made)
        for i in together:
            self._with[i] = together
        self.waiting, self.changed = set(), True

    def open(self, index: int) -> None:
        """A round begins with the step of an optimizer."""
        if self._made and not self._fresh and index not in self._made:  # of the round that seemed to be over
            together = self._with[index].union(*(self._with[i] for i in self._made))
            for i in together:
                self._with[i] = together
            self.movers, self.changed = frozenset({index}), True
        else:
            self.movers = self._with[index]
        self.waiting, self._made, self._fresh = set(self.movers), set(), False

    def stepped(self, index: int) -> None:
        """An optimizer has stepped."""
        self.waiting.discard(index)
        self._made.add(index)
        self._fresh = False


class Nested:
    """Which steps are the whole ones: an optimizer that calls `super().step()` calls its hooks twice."""

    def __init__(self) -> None:
        self._outer: dict[int, FrameType] = {}
        self._inner: dict[int, int] = {}

    def enters(self, index: int, frame: FrameType) -> bool:
        """A step begins.

        Args:
            index: of the optimizer.
            frame: that the hook was called from; one that has ended (a step that raised) is no outer step.
        """
        if index in self._outer and _runs(self._outer[index]):
            self._inner[index] += 1
            return False
        self._outer[index], self._inner[index] = frame, 0
        return True

    def leaves(self, index: int) -> bool:
        """A step has ended; whether it was a whole one."""
        if self._inner.get(index):
            self._inner[index] -= 1
            return False
        self._outer.pop(index, None)
        return True


def _runs(frame: FrameType) -> bool:
    at: FrameType | None = sys._getframe(1)
    while at is not None and at is not frame:
        at = at.f_back
    return at is frame
