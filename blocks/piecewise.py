"""Activations made of pieces, and their free gates: which piece acts is drawn as part of the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import HomogeneousRule, PointwiseRule, Rule, UnflattenRule

from .base import Block, Net, Series, ShapeError, Signal, Spec, WidthRelation
from .linear import Linear
from .pointwise import _Same
from .run import Run

Piece = Callable[[torch.Tensor, float, float], torch.Tensor]

# alpha and scale of a self-normalising network (Klambauer et al. 2017), as torch has them
SELU_ALPHA = 1.6732632423543772848170429916717
FAR = 20.0  # bounds beyond it are met by few numbers, and by none that a count draws
SELU_SCALE = 1.0507009873554804934193349852946


def _exponential(x: torch.Tensor, slope: float, rate: float) -> torch.Tensor:
    return slope * torch.expm1(x / rate)


# Pieces of `f(x; a, b)` from left to right, and the real function.
_PIECES: dict[str, tuple[tuple[Piece, ...], Piece]] = {
    "hardtanh": (
        (lambda x, a, b: torch.full_like(x, a), lambda x, a, b: x, lambda x, a, b: torch.full_like(x, b)),
        lambda x, a, b: F.hardtanh(x, a, b),
    ),
    "hardsigmoid": (
        (lambda x, a, b: torch.zeros_like(x), lambda x, a, b: x / 6 + 0.5, lambda x, a, b: torch.ones_like(x)),
        lambda x, a, b: F.hardsigmoid(x),
    ),
    "hardswish": (
        (lambda x, a, b: torch.zeros_like(x), lambda x, a, b: x * (x + 3) / 6, lambda x, a, b: x),
        lambda x, a, b: F.hardswish(x),
    ),
    "elu": (
        (lambda x, a, b: _exponential(x, a, 1.0), lambda x, a, b: x),
        lambda x, a, b: F.elu(x, a),
    ),
    "selu": (
        (lambda x, a, b: _exponential(x, SELU_ALPHA * SELU_SCALE, 1.0), lambda x, a, b: SELU_SCALE * x),
        lambda x, a, b: F.selu(x),
    ),
    "celu": (
        (lambda x, a, b: _exponential(x, a, a), lambda x, a, b: x),
        lambda x, a, b: F.celu(x, a),
    ),
}


@dataclass(frozen=True, eq=False, repr=False)
class Piecewise(_Same):
    """An activation of several smooth pieces by name; it leaves no law.

    Names: hardtanh (between `a` and `b`; ReLU6 is 0 to 6), hardsigmoid, hardswish, elu (`a (e^x - 1)` for negative x),
    selu, celu (`a (e^(x/a) - 1)`).

    Args:
        function: the name.
        a: lower bound or scale, where the function has one.
        b: upper bound, where it has one.
    """

    function: str
    a: float = 1.0
    b: float = 1.0

    summary = "a piece-wise activation"
    source = "tran2026, theorem 4.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.function not in _PIECES:
            raise ShapeError(f"no piece-wise function {self.function!r}; there are {', '.join(_PIECES)}")
        if not math.isfinite(self.a) or not math.isfinite(self.b):
            raise ShapeError(f"{self}: bounds and scales must be finite")
        if self.function == "hardtanh" and not self.a < self.b:
            raise ShapeError(f"{self}: the lower bound must lie below the upper one")
        if self.function in ("elu", "celu") and not self.a > 0:
            raise ShapeError(f"{self}: the scale must be positive")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        clamped = self.function == "hardtanh" and not self.a <= 0 <= self.b
        far = self.function == "hardtanh" and min(-self.a, self.b) > FAR
        zero = self.function != "hardsigmoid" and not clamped
        straight = Fraction({"elu": 1, "celu": 1, "selu": SELU_SCALE}.get(self.function, 0))
        return PointwiseRule(keeps_zero=zero, alike=True, pieces=True, far=far, straight=straight)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        pieces, whole = _PIECES[self.function]
        gate = run.gate(x[0], len(pieces), lambda: self._piece(x[0]))
        if gate is None:
            return whole(x[0], self.a, self.b)
        total = torch.zeros_like(x[0])
        for i, piece in enumerate(pieces):
            total = total + (gate == i).to(x[0].dtype) * piece(x[0], self.a, self.b)
        return total

    def _piece(self, x: torch.Tensor) -> torch.Tensor:
        """The piece that acts on every entry."""
        ends = {"hardtanh": (self.a, self.b), "hardsigmoid": (-3.0, 3.0), "hardswish": (-3.0, 3.0)}
        return sum(((x > end).long() for end in ends.get(self.function, (0.0,))), start=torch.zeros_like(x).long())

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (ReLU6(), HardSigmoid(), HardSwish(), ELU(), CELU(2.0))


def ReLU6() -> Piecewise:
    """`min(max(x, 0), 6)`."""
    return Piecewise("hardtanh", 0.0, 6.0)


def HardTanh(low: float = -1.0, high: float = 1.0) -> Piecewise:
    """`min(max(x, low), high)`."""
    return Piecewise("hardtanh", low, high)


def HardSigmoid() -> Piecewise:
    """`min(max(x / 6 + 1/2, 0), 1)`."""
    return Piecewise("hardsigmoid")


def HardSwish() -> Piecewise:
    """`x` times the hard sigmoid."""
    return Piecewise("hardswish")


def ELU(alpha: float = 1.0) -> Piecewise:
    """`x`, or `alpha (e^x - 1)` for negative x."""
    return Piecewise("elu", alpha)


def SELU() -> Piecewise:
    """A scaled ELU that keeps mean and variance."""
    return Piecewise("selu")


def CELU(alpha: float = 1.0) -> Piecewise:
    """`x`, or `alpha (e^(x/alpha) - 1)` for negative x."""
    return Piecewise("celu", alpha)


@dataclass(frozen=True, eq=False, repr=False)
class PReLU(Block):
    """`x`, or `weight * x` for negative x, with a trained slope: one for all features or one for each.

    Args:
        slopes: 1, or the number of features; `weight` has this shape.
        frozen: local names of parameters that training does not move.

    The slope has no law of its own; the neuron has that of ReLU, `||in||^2 + b^2 - ||out||^2` (Marcotte et al. 2023,
    theorem 4.1: the map is homogeneous of degree 1 for every slope).
    """

    slopes: int = 1
    frozen: tuple[str, ...] = ()

    summary = "max(x, 0) + weight * min(x, 0)"
    source = "marcotte2023, theorem 4.1"

    @property
    def parameters(self) -> dict[str, Spec]:
        return {"weight": Spec((self.slopes,), 0.0, 0.25)}

    def input_signal(self) -> Signal | None:
        return Signal(self.slopes) if self.slopes > 1 else None

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens:
            raise ShapeError(f"{self} reads numbers but gets {signals[0]}; put an Embedding before it")
        if self.slopes > 1:
            self.expect(signals[0], self.slopes)
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HomogeneousRule(slope=names["weight"])

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        gate = run.gate(x[0], real=lambda: x[0] > 0)
        if gate is None:
            gate = (x[0] > 0).to(x[0].dtype)
        y = x[0].movedim(run.axis, -1) * p["weight"]
        return gate * x[0] + (1 - gate) * y.movedim(-1, run.axis)

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        return self if self.slopes == 1 else dataclasses.replace(self, slopes=signals[0].features)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """One slope, and one for each feature."""
        return () if signal.tokens else (cls(), cls(signal.features))


@dataclass(frozen=True, eq=False, repr=False)
class GroupMax(Block):
    """The largest of every `pieces` features that lie together: `(..., n * pieces)` to `(..., n)`.

    Law per output: all its pieces have one scale, `sum_pieces (||in||^2 + b^2) - ||out||^2`.
    """

    pieces: int = 2

    summary = "largest of several features"
    source = "marcotte2023, theorem 4.1, for maps that choose one of several inputs"

    def output(self, *signals: Signal) -> Sequence[Signal]:
        s = signals[0]
        if s.tokens or s.features % self.pieces:
            raise ShapeError(f"{self} reads a multiple of {self.pieces} features but gets {s}; change one of the two")
        return (s.with_features(s.features // self.pieces),)

    def input_signal(self) -> Signal:
        return Signal(4 * self.pieces)

    def laws(self) -> list[str]:
        return [self.rule({}, [self.input_signal()], [Signal(4)]).statement]

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return UnflattenRule(self.pieces, choose=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        y = x[0].movedim(run.axis, -1)
        y = y.reshape(*y.shape[:-1], -1, self.pieces)
        gate = run.gate(y[..., 0], self.pieces, lambda: y.argmax(-1))
        if gate is None:
            return y.amax(-1).movedim(-1, run.axis)
        picked = gate.unsqueeze(-1) == torch.arange(self.pieces, device=y.device)
        return (y * picked.to(y.dtype)).sum(-1).movedim(-1, run.axis)

    def shrunk(self) -> Block:
        """Two pieces."""
        return dataclasses.replace(self, pieces=min(self.pieces, 2))

    def width_multiple(self, port: int) -> int:
        return self.pieces if port >= 0 else 1

    def width_relations(self, signals: Sequence[Signal]) -> list[WidthRelation]:
        return [WidthRelation(-1, {0: Fraction(1, self.pieces)})]

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Maxout of two features, or the largest of what is there."""
        if signal.tokens:
            return ()
        if not signal.channels_first or not signal.space:
            return (Maxout(signal.features, 2, 2),)
        return (cls(2),) if signal.features % 2 == 0 and signal.features > 2 else ()


def Maxout(features: int, width: int, pieces: int = 2, bias: bool = True) -> Net:
    """`max_i (W_i x + b_i)`, the largest of several linear maps (Goodfellow et al. 2013)."""
    return Series((("proj", Linear(features, width * pieces, bias)), ("max", GroupMax(pieces))))
