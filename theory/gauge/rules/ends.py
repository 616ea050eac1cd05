"""Rules of the ends of a network: what it reads, and what a loss sees of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..algebra import Full, Nothing, Scalar, side_by_side
from ..contract import Blind, Rule, Site
from ..linalg import Number
from ..passes import BalancePass, DirectionPass, LayoutPass, ShiftPass
from ..spans import Coefficients, Span
from ..subspace import Subspace, Vector

if TYPE_CHECKING:
    from ...losses import Loss


@dataclass(frozen=True)
class SourceRule(Rule):
    """The network's input: `S = 0`, `t = 0`."""

    @property
    def statement(self) -> str:
        return "network input: S = 0, t = 0"


Port = tuple[str, int]  # a site and the number of its output


@dataclass(frozen=True)
class Freedom:
    """How free some wires are together that are computed of the inputs alone, within what each of them can carry.

    Attributes:
        ports: the wires, by site and output.
        spanning: whether their values span everything, all positions together.
        spanning_at: whether they do so at one position.
        open: whether their values are everything near some point, all positions together.
        open_at: whether they are so at every position.
        apart: whether the values of no two positions are always proportional, on one of the wires at least.
    """

    ports: frozenset[Port]
    spanning: bool = False
    spanning_at: bool = False
    open: bool = False
    open_at: bool = False
    apart: bool = False


@dataclass(frozen=True)
class ComputedRule(Rule):
    """What is computed of the inputs alone: `S = 0`, `t = 0`, and only what was measured can be there.

    Attributes:
        spans: for every output what it can carry at all.
        notes: what is known to be missing, as one sentence each.
        freedoms: how free it is, alone and together with what is computed of the same inputs.
        steps: whether the values of real inputs are a few points (signs, a choice of the largest).
    """

    spans: tuple[Span, ...]
    notes: tuple[str, ...] = ()
    freedoms: tuple[Freedom, ...] = ()
    steps: bool = False

    @property
    def statement(self) -> str:
        return "computed of the inputs alone: S = 0, t = 0; some u^T x never change"

    def uncut(self, name: str) -> ComputedRule:
        """The same source where features cannot be cut as its spans ask for: only a note.

        Args:
            name: of the source.
        """
        what = "never changes in some directions, along which the network splits its features otherwise"
        note = f"{name} {what}: laws along these directions are not listed"
        return ComputedRule(tuple(Span() for _ in self.spans), (*self.notes, note), self.freedoms, self.steps)

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        for w in site.inputs:
            layouts.meet(w, Nothing(layouts.size(w)))
        for w, span in zip(site.outputs, self.spans, strict=True):
            if span.constant and layouts.size(w) > 1:
                layouts.centred(w)
                boxes = layouts.layout(w).boxes
                if len(boxes) > 1 or len(boxes[0].dims) > 1:  # what kills 1 is said for features along one axis
                    layouts.meet(w, Nothing(layouts.size(w)))
                continue
            sizes = [stop - start for start, stop in pairwise((*span.starts, layouts.size(w)))]
            # Every S leaves 0 as it is.
            layouts.meet(w, side_by_side([Full(n) if k in span.zeros else Nothing(n) for k, n in enumerate(sizes)]))

    @property
    def tells_mean(self) -> bool:
        return any(span.constant for span in self.spans)

    def balance(self, balance: BalancePass, site: Site) -> None:
        for w, span in zip(site.outputs, self.spans, strict=True):
            n = sum(box.size for box in balance.layout(w).boxes)
            if span.constant and n > 1 and not balance.is_cut(w):  # of one number everywhere S may do all that kills 1
                balance.require({balance.key(w, 0, "c"): 1, balance.key(w, 0, "j"): n - 1})

    def silent(self, directions: DirectionPass, site: Site) -> Sequence[Subspace]:
        out = []
        for w, span in zip(site.outputs, self.spans, strict=True):
            runs = _runs(directions, w, span)
            vectors = [v for u in span.absent if (v := _vector(directions, w, runs, u))]
            for k in span.still:
                vectors += _differences(directions, w, [i for i, run in enumerate(runs) if run == k])
            out.append(Subspace(tuple(vectors)))
        return out

    def fixed(self, directions: DirectionPass, site: Site) -> Sequence[Sequence[tuple[Vector, Number]]]:
        out = []
        for w, span in zip(site.outputs, self.spans, strict=True):
            runs = _runs(directions, w, span)
            out.append([(_vector(directions, w, runs, span.fixed[0]), span.fixed[1])] if span.fixed else [])
        return out


def _runs(directions: DirectionPass, w: int, span: Span) -> list[int]:
    """The run that every box of a wire lies in."""
    starts = [0, *directions.layout(w).edges()]
    return [sum(first <= s for first in span.starts) - 1 for s in starts]


def _vector(directions: DirectionPass, w: int, runs: Sequence[int], u: Coefficients) -> Vector:
    """One coefficient per run as a vector over the boxes of a wire."""
    boxes = directions.layout(w).boxes
    return {(i, box.constant): u[run] for i, (box, run) in enumerate(zip(boxes, runs, strict=True)) if u[run]}


def _differences(directions: DirectionPass, w: int, same: Sequence[int]) -> list[Vector]:
    """The vectors of sum zero on some boxes whose features are all equal."""
    boxes = directions.layout(w).boxes
    inner: list[Vector] = [{k: 1} for k in directions.keys(w) if k[0] in same and "d" in k[1]]
    first, *others = same
    across: list[Vector] = [
        {(first, boxes[first].constant): boxes[i].size, (i, boxes[i].constant): -boxes[first].size} for i in others
    ]
    return inner + across


@dataclass(frozen=True)
class OutputRule(Rule):
    """An output: what may move there is what its loss does not see (`losses`: all, shift or scale).

    A loss of `z / |z|` lets every position have a scale of its own: `S` in the span of `I`, and a positive factor on
    the output, also one per position, is unseen.
    """

    loss: Loss

    @property
    def statement(self) -> str:
        return self.loss.statement

    def shape(self, layouts: LayoutPass, site: Site) -> None:
        w = site.inputs[0]
        if self.loss.span == "shift":
            layouts.ones(w)
        else:
            allowed = Scalar if self.loss.span == "scale" else Nothing
            layouts.meet(w, allowed(layouts.size(w)))

    def balance(self, balance: BalancePass, site: Site) -> None:
        if self.loss.span == "shift":
            balance.only_ones(site.inputs[0])

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        if self.loss.span == "shift":
            shifts.allow_ones(site.inputs[0])
        else:
            shifts.forbid(site.inputs[0])

    def blind(self, directions: DirectionPass, site: Site) -> Sequence[Blind]:
        if self.loss.span == "shift":
            line = directions.ones(site.inputs[0])
            return [Blind(line, line)]
        return [Blind()]

    def degree(self, degrees: Sequence[Number], local: bool) -> Number | None:
        return 0 if self.loss.span == "scale" else super().degree(degrees, local)
