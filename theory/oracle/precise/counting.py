"""The oracle in 120 digits: ranks of fields and brackets at a random point, each number with a bound of its error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flint import arb

from .jets import Jet, UnknownError
from .numbers import DIGITS, digits, entries, middles
from .program import Field, Program
from .rank import Elimination, eliminate

LARGEST = 120  # parameters
WORK = 50_000_000  # operations on entries in one level of brackets, at a million in a second
TOGETHER = 8  # brackets that are computed at once: as many entries in one operation
SPARE = 8  # samples more than there are dimensions left
SMALL = 1e-3  # brackets that are smaller than this part of the typical one are not scaled up
LINEAR = 1e-6  # as `ROUNDING` in `lawful.theory.oracle.counting`


@dataclass(frozen=True)
class Ranks:
    """What the fields and their brackets span at one point.

    Attributes:
        ranks: dimension of `W_0, W_1, ...`.
        closed: whether growth was seen to stop.
        clear: whether every gap was wide.
        gap: last kept over first dropped pivot, of the last level.
        pivots: of the last level.
    """

    ranks: tuple[int, ...]
    closed: bool
    clear: bool
    gap: float
    pivots: tuple[float, ...]


def count_precisely(
    field: Field,
    state: torch.Tensor,
    sample: Callable[[int], Any],
    *,
    known: int | None = None,
    depth: int = 5,
    progress: Callable[[str], None] | None = None,
) -> Ranks:
    """Ranks of a family of fields and of their brackets, until they stop growing.

    Args:
        field: see `lawful.theory.oracle.counting.count_span`.
        state: see there; at most `LARGEST` numbers.
        sample: see there.
        known: see there.
        depth: see there.
        progress: see there.

    Raises:
        UnknownError: for an operation that is not known, and for what is too large.
    """
    d = state.numel()
    if d > LARGEST:
        raise UnknownError(f"{d} parameters, more than {LARGEST}")
    with digits():
        brackets = _Brackets(field, state, sample)
        rows = np.empty((0, d), dtype=object)
        ranks: list[int] = []
        clear = closed = False
        found = Elimination(0, math.inf, True, (), ())
        for level in range(depth + 1):
            if progress:
                progress(f"brackets of depth {level} in {DIGITS} digits: {found.rank} of {d} dimensions so far")
            rows = np.concatenate([rows, brackets.rows(level, d - found.rank + SPARE)])
            found = eliminate(rows, brackets.program.rounded)
            rows = rows[list(found.rows)]
            clear = found.clear
            ranks.append(found.rank)
            closed = found.rank == d or (level > 0 and ranks[-1] == ranks[-2]) or not found.rank
            if closed or not clear or (known is not None and found.rank >= d - known):
                break
    return Ranks(tuple(ranks), closed, clear, found.gap, found.pivots)


class _Brackets:
    """Nested brackets of random fields at one point."""

    def __init__(self, field: Field, state: torch.Tensor, sample: Callable[[int], Any]) -> None:
        self._sample = sample
        states = state.detach().expand(TOGETHER, -1)
        self.program = Program(field, states, sample(TOGETHER))
        self._point = Jet({0: entries(states)}, self.program.work)
        self._size = float(state.norm())

    def rows(self, level: int, n: int) -> np.ndarray:
        """`n` or a few more brackets of `level + 1` fields, scaled by the size of their terms."""
        blocks, scales = [], []
        for i in range(0, n, TOGETHER):
            before = self.program.work.done
            block, scale = self._block([self.program.bound(self._sample(TOGETHER)) for _ in range(level + 1)])
            blocks.append(block)
            scales.append(scale)
            if (self.program.work.done - before) * (n - i) > WORK * TOGETHER:
                raise UnknownError(f"more work than {WORK} operations at depth {level}")
        scale = np.concatenate(scales)
        typical = float(np.median(scale[scale > 0])) if scale.any() else 1.0
        factors = np.array([arb(1) / arb(s) for s in np.maximum(scale, SMALL * typical)], dtype=object)
        return np.concatenate(blocks) * factors[:, None]

    def _block(self, fields: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Some brackets, and the sizes of what each subtracts."""
        if len(fields) == 1:
            single = self.program.value(fields[0], self._point).value
            return single, _norms(single)
        x, y, a, b = self._terms(fields, self._point, 1)
        sizes = _norms(a.value) + _norms(b.value) + LINEAR * _norms(x.value) * _norms(y.value) / self._size
        return a.plus(b.scaled(arb(-1))).value, sizes

    def _terms(self, fields: list[Any], at: Jet, mark: int) -> tuple[Jet, Jet, Jet, Jet]:
        """The first field, the bracket of all others, the derivative of that along the first, and the other way."""
        x = self.program.value(fields[0], at)
        along_x = self._nested(fields[1:], _stepped(at, x, mark), 2 * mark)
        y, a = _split(along_x, mark)
        along_y = self.program.value(fields[0], _stepped(at, y, mark))
        return x, y, a, _split(along_y, mark)[1]

    def _nested(self, fields: list[Any], at: Jet, mark: int) -> Jet:
        """The bracket of all fields at a jet of points; `mark` is an infinitesimal that is still free."""
        if len(fields) == 1:
            return self.program.value(fields[0], at)
        _, _, a, b = self._terms(fields, at, mark)
        return a.plus(b.scaled(arb(-1)))


def _stepped(at: Jet, field: Jet, mark: int) -> Jet:
    """An infinitesimal step along a field."""
    return Jet(at.parts | {m | mark: a for m, a in field.parts.items()}, at.work)


def _split(jet: Jet, mark: int) -> tuple[Jet, Jet]:
    """What stands without an infinitesimal, and in front of it."""
    zero = np.broadcast_to(np.array(arb(0), dtype=object), jet.shape)
    without = {m: a for m, a in jet.parts.items() if not m & mark}
    front = {m ^ mark: a for m, a in jet.parts.items() if m & mark}
    return Jet(without, jet.work), Jet({0: zero} | front, jet.work)


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(middles(rows), axis=1)
