"""Blocks that join or cut wires."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch

from lawful.theory.gauge.rules import (
    AddRule,
    BlendRule,
    ConcatRule,
    LargerRule,
    MixtureRule,
    PlacesRule,
    ProductRule,
    Rule,
    TokensRule,
)

from .base import Block, Net, Parallel, Series, ShapeError, Signal, WidthRelation
from .pointwise import Identity, Pointwise, ReLU
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class _Join(Block):
    """A block that reads any number of equal signals."""

    inputs = None

    def output(self, *signals: Signal) -> Sequence[Signal]:
        shapes = {s.features for s in signals}
        if len(shapes) > 1:
            other = ", or give the network several outputs by lawful.blocks.Wiring" if self.kind == "Add" else ""
            raise ShapeError(f"{self} joins {' and '.join(map(str, signals))}; make the branches equally wide{other}")
        wide = max(signals, key=lambda s: s.positions)
        for s in signals:
            if s.space not in (wide.space, ()) and any(
                n not in (m, 1) for n, m in zip(s.space, wide.space, strict=False)
            ):
                raise ShapeError(f"{self} joins {s} with {wide}; make the branches equally large")
        if wide.space and not signals[0].space:
            raise ShapeError(f"{self} joins {signals[0]} with {wide}; put the one with positions first")
        return (wide,)

    @staticmethod
    def _spread(x: Sequence[torch.Tensor], run: Run) -> list[torch.Tensor]:
        """The inputs, those without positions with axes of length one for them."""
        first = x[0]
        shape = [1] * first.ndim
        shape[run.axis] = first.shape[run.axis]
        return [y if y.ndim == first.ndim else y.reshape(y.shape[0], *shape[1:]) for y in x]


@dataclass(frozen=True, eq=False, repr=False)
class Add(_Join):
    """The sum of its inputs: a residual junction.  It has no law of its own and ties the wires it joins."""

    summary = "x_1 + x_2 + ..."
    source = "marcotte2025, proposition 3.2 and theorem 4.7"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return AddRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        total, *rest = self._spread(x, run)
        for y in rest:
            total = total + y
        return total

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Twice the signal."""
        return () if signal.tokens else (Parallel((("a", Identity()), ("b", ReLU(0.3))), cls()),)


@dataclass(frozen=True, eq=False, repr=False)
class Product(_Join):
    """The element-wise product of its inputs: the gate of a GLU.

    An input without positions (a gate per channel) multiplies every position of the first.
    """

    summary = "x_1 * x_2"
    source = "tran2026, theorem 4.2"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ProductRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        total, *rest = self._spread(x, run)
        for y in rest:
            total = total * y
        return total

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """A self-gated signal."""
        return () if signal.tokens else (Parallel((("a", Identity()), ("gate", Pointwise("sigmoid"))), cls()),)


@dataclass(frozen=True, eq=False, repr=False)
class Blend(Block):
    """`g * a + (1 - g) * b` feature by feature; ports g, a, b: highway layers, gates of recurrent cells.

    A scale per feature passes where `a` and `b` have the same, and so does a constant, since the weights sum to 1.
    """

    inputs = 3
    summary = "g a + (1 - g) b"
    source = "theory of wires: S_a = S_b = S_out diagonal"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if any(s != signals[0] or s.tokens for s in signals):
            raise ShapeError(f"{self} joins " + " and ".join(map(str, signals)) + "; make all three alike")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return BlendRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        gate, a, b = x
        return gate * a + (1 - gate) * b

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The signal and its absolute value, blended by its own sigmoid."""
        if signal.tokens:
            return ()
        return (Parallel((("gate", Pointwise("sigmoid")), ("a", Identity()), ("b", ReLU(-1.0))), cls()),)


@dataclass(frozen=True, eq=False, repr=False)
class Larger(_Join):
    """The larger of its two inputs, or the smaller, feature by feature.

    One scale per feature passes where both inputs have the same, and so does a constant.
    """

    smaller: bool = False

    inputs = 2  # type: ignore[assignment]
    portable = False
    summary = "max(x_1, x_2)"
    source = "marcotte2023, theorem 4.1, for maps that choose one of several inputs"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return LargerRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        a, b = self._spread(x, run)
        choose = torch.minimum if self.smaller else torch.maximum
        gate = run.gate(a - b, real=lambda: a - b > 0)
        if gate is None:
            return choose(a, b)
        gate = 1 - gate if self.smaller else gate
        return gate * a + (1 - gate) * b


@dataclass(frozen=True, eq=False, repr=False)
class Concat(Block):
    """Features of its inputs side by side."""

    inputs = None
    summary = "[x_1, x_2, ...] along features"
    source = "theory of wires: block-diagonal S"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if len({(s.space, s.channels_first, s.tokens) for s in signals}) > 1:
            raise ShapeError(f"{self} joins " + " and ".join(map(str, signals)) + "; their positions must agree")
        return (signals[0].with_features(sum(s.features for s in signals)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ConcatRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        batch = max(y.shape[0] for y in x)  # a source without input is the same for every example
        return torch.cat([y.expand(batch, *y.shape[1:]) for y in x], run.axis)

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {i: Fraction(1) for i in range(len(signals))})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The signal beside its absolute value."""
        return () if signal.tokens else (Parallel((("a", Identity()), ("b", ReLU(-1.0))), cls()),)


@dataclass(frozen=True, eq=False, repr=False)
class Split(Block):
    """Features cut into parts of the given widths, one output port each."""

    widths: tuple[int, ...]

    summary = "features cut into parts"
    source = "theory of wires: block-diagonal S"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "widths", tuple(self.widths))
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ShapeError(f"{self} needs two or more widths of at least 1")

    @property
    def outputs(self) -> int:
        return len(self.widths)

    def input_signal(self) -> Signal:
        return Signal(sum(self.widths))

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], sum(self.widths))
        return tuple(signals[0].with_features(n) for n in self.widths)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ConcatRule(cut=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return torch.split(x[0], list(self.widths), run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        n, k = signals[0].features, len(self.widths)
        total = sum(self.widths)
        parts = [max(1, n * w // total) for w in self.widths]
        parts[-1] += n - sum(parts)
        if k > n:
            raise ShapeError(f"{self} cannot cut {n} features into {k} parts")
        return dataclasses.replace(self, widths=tuple(parts))

    def resize_ports(self, signals: Sequence[Signal], widths: Sequence[int]) -> Block:
        return dataclasses.replace(self, widths=tuple(widths))

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(0, {~i: Fraction(1) for i in range(self.outputs)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Two halves multiplied."""
        half = signal.features // 2
        if signal.tokens or half < 2 or signal.features % 2:
            return ()
        return (Series.of(cls((half, half)), Product()),)


@dataclass(frozen=True, eq=False, repr=False)
class ConcatTokens(Block):
    """Tokens of its inputs end to end; a producer without input is repeated for every example (class token)."""

    inputs = None
    summary = "tokens end to end"
    source = "theory of wires: shifts token by token"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if len({s.features for s in signals}) > 1 or any(len(s.space) != 1 or s.channels_first for s in signals):
            raise ShapeError(f"{self} joins " + " and ".join(map(str, signals)) + "; it needs tokens of one width")
        return (dataclasses.replace(signals[0], space=(sum(s.space[0] for s in signals),)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return TokensRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        batch = max(y.shape[0] for y in x)
        return torch.cat([y.expand(batch, *y.shape[1:]) for y in x], 1)


@dataclass(frozen=True, eq=False, repr=False)
class ConcatPositions(Block):
    """Positions of its inputs beside each other along one position axis (from 0)."""

    axis: int = 0

    inputs = None
    summary = "positions beside each other"
    source = "theory of wires: S and t equal"
    least = MappingProxyType({"axis": 0})

    def output(self, *signals: Signal) -> Sequence[Signal]:
        first = signals[0]
        for s in signals:
            same = [n for i, n in enumerate(s.space) if i != self.axis], s.features, s.channels_first
            wanted = [n for i, n in enumerate(first.space) if i != self.axis], first.features, first.channels_first
            if same != wanted or len(s.space) <= self.axis or s.tokens:
                raise ShapeError(f"{self} joins " + " and ".join(map(str, signals)) + "; only that axis may differ")
        space = list(first.space)
        space[self.axis] = sum(s.space[self.axis] for s in signals)
        return (dataclasses.replace(first, space=tuple(space)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PlacesRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        batch = max(y.shape[0] for y in x)
        return torch.cat([y.expand(batch, *y.shape[1:]) for y in x], self.axis + (2 if run.axis == 1 else 1))

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Positions beside themselves, every second of which is taken again by a mean of neighbours."""
        if signal.tokens or len(signal.space) != 1 or signal.space[0] < 3:
            return ()
        from .rearrange import Positions

        twice = Parallel((("a", Identity()), ("b", ReLU(-1.0))), cls())
        n = signal.space[0]
        return (Series.of(twice, ReLU(0.3), Positions("pick", tuple(range(n // 2, n + n // 2)))),)


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Block):
    """`sum_i p_i f_i`: port 0 has the weights `p` (one feature per expert), the others the experts."""

    normalised: bool = True

    inputs = None
    summary = "sum of p_i f_i"
    source = "tran2026, theorem 4.5"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].features != len(signals) - 1:
            raise ShapeError(
                f"{self} has {len(signals) - 1} experts but {signals[0].features} weights; make the router as wide"
            )
        if len({s.features for s in signals[1:]}) > 1:
            raise ShapeError(f"{self} joins " + " and ".join(map(str, signals[1:])) + "; make the experts equally wide")
        return (signals[1],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return MixtureRule(self.normalised)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        weights = x[0].movedim(run.axis, -1)
        parts = [w.unsqueeze(run.axis) * f for w, f in zip(weights.unbind(-1), x[1:], strict=True)]
        return sum(parts[1:], start=parts[0])

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        experts = len(signals) - 1
        equal = [WidthRelation(p, {1: Fraction(1)}) for p in (*range(2, experts + 1), -1)]
        return [WidthRelation(0, {}, experts), *equal]
