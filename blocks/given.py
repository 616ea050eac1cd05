"""Fixed numbers in a network: sources of them, sums and products with them, rotations by given angles."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from lawful.theory.gauge.rules import FixedGainRule, HomogeneousRule, OffsetRule, PassRule, RotaryRule, Rule, SourceRule

from .base import Block, ShapeError, Signal
from .numbers import Numbers
from .run import Run

RUNS = 8  # of equal factors, above which a wire is not cut at them


@dataclass(frozen=True, eq=False, repr=False)
class Given(Block):
    """Numbers that no training moves, the same for every example, of the shape of a signal."""

    numbers: Numbers
    signal: Signal

    inputs = 0
    portable = False
    summary = "fixed numbers"
    source = "theory of wires: S = 0, t = 0"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if tuple(self.numbers.tensor.shape) != self.signal.shape:
            raise ShapeError(f"{self} has the shape {tuple(self.numbers.tensor.shape)}, expected {self.signal.shape}")
        return (self.signal,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return SourceRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return self.numbers.tensor.unsqueeze(0)


def _leading(numbers: Numbers, old: Signal, new: Signal) -> Numbers:
    """The leading entries of every axis that became shorter."""
    tensor = numbers.tensor
    shapes = zip(tensor.shape[::-1], old.shape[::-1], new.shape[::-1], strict=False)
    kept = [slice(m if n == before else n) for n, before, m in shapes]
    return Numbers(tensor[tuple(kept[::-1])])


@dataclass(frozen=True, eq=False, repr=False)
class AddNumbers(Block):
    """`x + numbers`, a fixed table that broadcasts against one example of x.  No matrix passes, constants do."""

    numbers: Numbers

    portable = False
    summary = "x + fixed numbers"
    source = "theory of wires: S = 0, t_out = t_in"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        rows, table = max(inputs[0].positions, 1), self.numbers.tensor
        if table.device.type == "meta" or not table.numel() or not table.isfinite().all():
            return OffsetRule(rows=rows)
        shape = (1,) * (len(inputs[0].shape) - table.ndim) + tuple(table.shape)
        axis = 0 if inputs[0].channels_first else len(shape) - 1
        features = table.reshape(shape).movedim(axis, 0).reshape(shape[axis], -1)
        first = features.flatten()[0]
        number = Fraction(str(first.item())) if bool((table == first).all()) else None
        return OffsetRule(rows=rows, every=bool(features.any(1).all()), number=number)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] + self.numbers.on(x[0])

    def at_fewer(self, old: Sequence[Signal], new: Sequence[Signal]) -> AddNumbers:
        return dataclasses.replace(self, numbers=_leading(self.numbers, old[0], new[0]))


@dataclass(frozen=True, eq=False, repr=False)
class TimesNumbers(Block):
    """`x * numbers`, fixed factors that broadcast against one example of x.

    One factor for a whole position lets every matrix pass, factors of features those of runs of equal factors; what a
    factor of 0 stands before is never read.
    """

    numbers: Numbers

    portable = False
    summary = "x * fixed numbers"
    source = "theory of wires: S_out = S_in, t = 0"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        shape = (1,) * (len(inputs[0].shape) - self.numbers.tensor.ndim) + tuple(self.numbers.tensor.shape)
        axis = 0 if inputs[0].channels_first else len(shape) - 1
        if shape[axis] == 1:
            return PassRule(keeps_constants=False)
        runs = self._runs() if math.prod(shape) == shape[axis] else None
        return FixedGainRule(runs) if runs and len(runs) <= RUNS else HomogeneousRule()

    def _runs(self) -> tuple[tuple[int, Fraction], ...] | None:
        """The factors as runs of equal ones, None where they are not known."""
        if self.numbers.tensor.device.type == "meta":
            return None
        factors = [float(a) for a in self.numbers.tensor.flatten()]
        if not all(map(math.isfinite, factors)):
            return None
        return tuple((len(list(run)), Fraction(a)) for a, run in itertools.groupby(factors))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] * self.numbers.on(x[0])

    def at_fewer(self, old: Sequence[Signal], new: Sequence[Signal]) -> TimesNumbers:
        return dataclasses.replace(self, numbers=_leading(self.numbers, old[0], new[0]))


@dataclass(frozen=True, eq=False, repr=False)
class TableRotary(Block):
    """Rotates planes of every head by given angles: `x * cos + turned(x) * sin`.

    Args:
        heads: heads on the wire.
        cos: cosines of shape `(tokens, rotated)`, one column for every feature of a head that is rotated.
        sin: sines of the same shape, with the signs of the rotation.
        interleaved: planes are neighbouring features and not the two halves of the rotated ones.
    """

    heads: int
    cos: Numbers
    sin: Numbers
    interleaved: bool = False

    portable = False
    summary = "planes rotated by position"
    source = "tran2026, theorem 4.4"

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = [tuple(t.tensor.shape) for t in (self.cos, self.sin)]
        if shapes[0] != shapes[1] or not shapes[0]:
            raise ShapeError(f"{self} has cosines of shape {shapes[0]} and sines of shape {shapes[1]}; give one shape")

    @property
    def rotated(self) -> int:
        """Features of a head that are rotated; they come first."""
        return int(self.cos.tensor.shape[-1])

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        wide = s.features // self.heads
        if s.features % self.heads or self.rotated > wide or self.rotated % 2 or s.channels_first or not s.space:
            raise ShapeError(f"{self} rotates {self.rotated} features of {self.heads} heads but gets {s}")
        return (s,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return RotaryRule(self.heads, inputs[0].features // self.heads, self.rotated, self.interleaved)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].unflatten(-1, (self.heads, -1))
        y, rest = y[..., : self.rotated], y[..., self.rotated :]
        if self.interleaved:
            turned = torch.stack([-y[..., 1::2], y[..., 0::2]], -1).flatten(-2)
        else:
            half = self.rotated // 2
            turned = torch.cat([-y[..., half:], y[..., :half]], -1)
        cos, sin = (t.on(y).unsqueeze(-2) for t in (self.cos, self.sin))
        return torch.cat([y * cos + turned * sin, rest], -1).flatten(-2)
