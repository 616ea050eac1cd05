"""Moves of positions and features that a traced network makes by views, permutations, slices and paddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import FlattenRule, PassRule, Rule, TurnRule, UnflattenRule

from .base import Block, Net, Series, ShapeError, Signal
from .pointwise import ReLU
from .run import Run

MOVES = ("same", "flatten", "inner", "outer")


@dataclass(frozen=True, eq=False, repr=False)
class Rearrange(Block):
    """Cuts the axes of a signal into pieces, puts them in another order and joins them to new axes.

    Args:
        pieces: sizes of the pieces of every axis behind the batch, one after the other.
        order: the pieces in their new order; -1 stands for an axis along which everything is repeated.
        repeats: how often, for every -1 in `order`.
        joined: how many pieces make each new axis.
        reads: the signal it reads.
        first: whether the first of the new axes is the feature axis, and not the last.
        moved: whether positions change their places (or their number).
        move: what happens to features: `same`, `flatten` (positions join them), `inner` or `outer` (their inner or
            outer pieces become positions).
        before: positions that become the outer part of the features, or features of the outer part that leave.
        after: positions that become the inner part of the features, or features of the inner part that leave.
    """

    pieces: tuple[int, ...]
    order: tuple[int, ...]
    joined: tuple[int, ...]
    reads: Signal
    first: bool = False
    moved: bool = True
    repeats: tuple[int, ...] = ()
    move: str = "same"
    before: int = 1
    after: int = 1

    portable = False
    summary = "axes cut, permuted and joined"
    source = "marcotte2025, section 3 and theorem 3.6"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.move not in MOVES:
            raise ShapeError(f"{self} moves features by {self.move!r}; there are {', '.join(MOVES)}")
        kept = sorted(i for i in self.order if i >= 0)
        if kept != list(range(len(self.pieces))) or min(self.order, default=0) < -1:
            raise ShapeError(f"{self}: the order must name each of the {len(self.pieces)} pieces once, and -1 repeats")
        if self.order.count(-1) != len(self.repeats) or min(self.repeats, default=1) < 1:
            raise ShapeError(f"{self}: the repeats must give a number of at least 1 for every -1 in the order")
        if not self.joined or min(self.joined) < 0 or sum(self.joined) != len(self.order):
            raise ShapeError(f"{self}: joined must say how many of the {len(self.order)} pieces make each new axis")
        if math.prod(self.pieces) != math.prod(self.reads.shape):
            raise ShapeError(f"{self}: the pieces have {math.prod(self.pieces)} numbers, and it reads {self.reads}")

    def input_signal(self) -> Signal:
        return self.reads

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0] != self.reads:
            raise ShapeError(f"{self} reads {self.reads} but gets {signals[0]}; it fits one size only")
        lengths = self._lengths()
        features, space = (lengths[0], lengths[1:]) if self.first else (lengths[-1], lengths[:-1])
        return (Signal(features, tuple(space), channels_first=self.first),)

    def _ordered(self) -> list[int]:
        repeats = iter(self.repeats)
        return [self.pieces[i] if i >= 0 else next(repeats) for i in self.order]

    def _lengths(self) -> list[int]:
        sizes = iter(self._ordered())
        return [math.prod(next(sizes) for _ in range(n)) for n in self.joined]

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        if self.move == "flatten":
            return FlattenRule(self.before, self.after)
        if self.move == "same":
            return PassRule(weights="uniform" if self.moved else "same", repeats=any(n > 1 for n in self.repeats))
        return UnflattenRule(self.before * self.after, outer=self.move == "outer")

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].reshape(x[0].shape[0], *self.pieces).permute(0, *(i + 1 for i in self.order if i >= 0))
        repeats = iter(self.repeats)
        for at, i in enumerate(self.order):
            if i < 0:
                n = next(repeats)
                y = y.unsqueeze(at + 1)
                y = y.expand(*y.shape[: at + 1], n, *y.shape[at + 2 :])
        return y.reshape(x[0].shape[0], *self._lengths())


@dataclass(frozen=True, eq=False, repr=False)
class Turn(Block):
    """A transpose: one position axis becomes the features, and the features become positions in its place.

    Args:
        reads: the signal it reads.
        axis: the position axis, from 0.
    """

    reads: Signal
    axis: int = 0

    portable = False
    summary = "a transpose of positions and features"
    source = "theory of wires: a multiple of I is the same on both sides"
    least = {"axis": 0}  # noqa: RUF012

    def input_signal(self) -> Signal:
        return self.reads

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0] != self.reads or not self.axis < len(self.reads.space):
            raise ShapeError(f"{self} reads {self.reads} but gets {signals[0]}; it fits one size only")
        space = list(self.reads.space)
        space[self.axis] = self.reads.features
        return (Signal(self.reads.space[self.axis], tuple(space), self.reads.channels_first),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return TurnRule(self.axis)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        first = self.reads.channels_first
        return x[0].transpose(1 if first else -1, self.axis + (2 if first else 1))


@dataclass(frozen=True, eq=False, repr=False)
class Positions(Block):
    """A fixed linear map of positions, the same for every feature.

    Args:
        operation: `pad` (zeros around, `numbers` as in `torch.nn.functional.pad`, the last axis first), `slice`
            (`axis`, start, stop, step), `roll` (`axis`, shift), `flip` (`axis`), `pick` (`axis`, indices), `mean` (over
            the `axis`), `sum`, `average` (adaptive average pooling to the lengths `numbers`), `resize` (interpolation
            to the lengths `numbers` by `mode`).
        numbers: what the operation needs.
        axis: the position axis that it acts on, from 0.
        mode: of an interpolation, as in `torch.nn.functional.interpolate`; `+corners` aligns the corners, `+smooth`
            filters before (antialiasing).
    """

    operation: str
    numbers: tuple[int, ...] = ()
    axis: int = 0
    mode: str = "nearest"

    summary = "a fixed linear map of positions"
    source = "marcotte2025, section 3"
    least = {"axis": 0}  # noqa: RUF012

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if not 0 <= self.axis < max(len(s.space), 1) or s.tokens:
            raise ShapeError(f"{self} acts on the position axis {self.axis} but gets {s}")
        probe = torch.empty((1, 1, *s.space), device="meta")
        try:
            space = tuple(self._apply(probe).shape[2:])
        except (RuntimeError, IndexError, ValueError) as error:
            raise ShapeError(f"{self} does not fit {s}: {error}") from error
        return (Signal(s.features, space, channels_first=s.channels_first and bool(space)),)

    def _apply(self, y: torch.Tensor) -> torch.Tensor:
        """The operation on `(batch, features, *space)`."""
        n, axis = self.numbers, self.axis + 2
        if self.operation == "pad":
            return F.pad(y, list(n))
        if self.operation == "slice":
            start, stop, step = n
            return y[(slice(None),) * axis + (slice(start, stop, step),)]
        if self.operation == "roll":
            return torch.roll(y, n[0], axis)
        if self.operation == "flip":
            return torch.flip(y, (axis,))
        if self.operation == "pick":
            return y.index_select(axis, torch.tensor(n, device=y.device))
        if self.operation == "mean":
            return y.mean(axis)
        if self.operation == "sum":
            return y.sum(axis)
        if self.operation == "average":
            pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(n) - 1]
            return pool(y, list(n))
        if self.operation == "resize":
            mode, *extra = self.mode.split("+")
            corners = True if "corners" in extra else None
            return F.interpolate(y, list(n), mode=mode, align_corners=corners, antialias="smooth" in extra)
        raise ShapeError(f"no operation {self.operation!r} on positions")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        keeps = self.operation not in ("pad", "sum")
        mixes = self.operation in ("mean", "sum", "average") or not self.mode.startswith("nearest")
        if self.operation == "mean" and len(inputs[0].space) == 1:
            return PassRule(weights="mean", mixes=True)
        twice = self.operation == "pick" and len(set(self.numbers)) < len(self.numbers)
        repeats = twice or self.operation in ("pad", "resize")
        return PassRule(weights="uniform", keeps_constants=keeps, mixes=mixes, repeats=repeats)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        first = run.axis == 1
        y = x[0] if first else x[0].movedim(-1, 1)
        z = self._apply(y)
        return z if first else z.movedim(1, -1)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Positions rolled, in the other order, padded and cut again, and interpolated."""
        if signal.tokens or not signal.space or signal.space[0] < 3:
            return ()
        n, last = signal.space[0], len(signal.space) - 1
        padded = Series.of(cls("pad", (1, 1)), ReLU(0.3), cls("slice", (1, 1 + signal.space[-1], 1), last))
        nets: list[Net] = [cls("roll", (1,)), cls("flip"), cls("pick", (*range(1, n), 1)), padded]
        if len(signal.space) == 2:
            nets.append(cls("resize", signal.space, 0, "bilinear+corners"))
        return nets
