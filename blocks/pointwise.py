"""Point-wise maps: homogeneous ones keep a law per feature, all others break it; fixed and random factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F

from lawful.theory.gauge.rules import HomogeneousRule, OffsetRule, PassRule, PointwiseRule, Rule, SoftmaxRule

from .base import Block, Net, Series, ShapeError, Signal
from .run import Run

_KERNELS: dict[float, Callable[[torch.Tensor], torch.Tensor]] = {0.0: torch.relu, -1.0: torch.abs}


@dataclass(frozen=True, eq=False, repr=False)
class _Same(Block):
    """A block whose output has the shape of its input."""

    def output(self, *signals: Signal) -> Sequence[Signal]:
        if signals[0].tokens:
            raise ShapeError(f"{self} reads numbers but gets {signals[0]}; put an Embedding before it")
        return (signals[0],)

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        """Blocks of this kind with all kinds of fields."""
        return (cls(),)

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The block by itself."""
        return () if signal.tokens else cls._samples()


@dataclass(frozen=True, eq=False, repr=False)
class Identity(_Same):
    """`y = x`: the skip of a residual junction."""

    summary = "y = x"
    source = "marcotte2025, proposition 3.2"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0]


@dataclass(frozen=True, eq=False, repr=False)
class ReLU(_Same):
    """`max(x, 0) ** power`, or with a `slope` for negative x (LeakyReLU; slope -1 is the absolute value).

    Law per hidden neuron: `||in||^2 + b^2 - power * ||out||^2` (Marcotte et al. 2023, theorem 4.1).
    """

    slope: float = 0.0
    power: int = 1

    summary = "max(x, slope x)^power"
    source = "marcotte2023, theorem 4.1"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        straight = Fraction(self.slope) if self.power == 1 else None
        isometric = abs(self.slope) == 1 and self.power == 1
        positive = self.slope <= 0 or self.power % 2 == 0
        parity = (self.slope == -1 or (self.slope == 1 and self.power % 2 == 0)) - (self.slope == 1 and self.power % 2)
        return HomogeneousRule(
            self.power, isometric=isometric, negative=straight, positive=positive, alike=True, parity=int(parity)
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        gate = run.gate(x[0], real=lambda: x[0] > 0)
        if gate is not None:
            y = x[0] * (gate + (1 - gate) * self.slope)
        elif self.slope in _KERNELS:  # at 0 their derivative is 0, whatever comes back
            y = _KERNELS[self.slope](x[0])
        else:
            y = torch.where(x[0] > 0, x[0], self.slope * x[0])
        return y**self.power if self.power > 1 else y

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (cls(), cls(0.3), cls(-1.0), cls(0.0, 2))


def LeakyReLU(slope: float = 0.01) -> ReLU:
    """ReLU with a slope for negative values."""
    return ReLU(slope)


def Abs() -> ReLU:
    """The absolute value."""
    return ReLU(-1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Power(_Same):
    """`x ** power`, a polynomial activation; law `||in||^2 + b^2 - power * ||out||^2`."""

    power: int = 2

    summary = "x^power"
    source = "tran2026, section 4"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power < 2:
            raise ShapeError(f"{self}: a power below 2 is linear or no polynomial; use Linear or Identity")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        even = self.power % 2 == 0
        return HomogeneousRule(self.power, positive=even, alike=True, parity=1 if even else -1)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] ** self.power

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (cls(2),)


_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_quick": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "tanh": torch.tanh,
    "tanhshrink": lambda x: x - torch.tanh(x),
    "sigmoid": torch.sigmoid,
    "logsigmoid": lambda x: -F.softplus(-x),
    "softplus": F.softplus,
    "softsign": lambda x: x / (1 + x.abs()),
    "elu": F.elu,
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "exp": torch.exp,
    "one_minus": lambda x: 1 - x,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "log": torch.log,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
}


_ODD = ("tanh", "tanhshrink", "softsign", "erf", "sin")

# functions that answer a positive factor by a power of it
_DEGREES = {"sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2), "reciprocal": Fraction(-1)}


@dataclass(frozen=True, eq=False, repr=False)
class Pointwise(_Same):
    """A smooth activation by name; it leaves no law but for sqrt, rsqrt and reciprocal, which are homogeneous.

    Names: gelu, gelu_tanh, gelu_quick (`x sigmoid(1.702 x)`), silu, tanh, tanhshrink, sigmoid, logsigmoid, softplus,
    softsign, elu, mish, exp, erf, sin, cos, log, log1p, expm1, sqrt, rsqrt, reciprocal, and one_minus (`1 - x`), which
    passes constants on with the other sign.
    """

    function: str

    summary = "a smooth activation"
    source = "tran2026, theorem 4.1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.function not in _FUNCTIONS:
            raise ShapeError(f"no point-wise function {self.function!r}; there are {', '.join(_FUNCTIONS)}")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        if self.function == "one_minus":
            return OffsetRule(-1, every=True, number=Fraction(1))
        if self.function in _DEGREES:
            odd = self.function == "reciprocal"
            return HomogeneousRule(_DEGREES[self.function], positive=not odd, alike=True, parity=-odd)
        keeps_zero = self.function not in ("sigmoid", "logsigmoid", "softplus", "exp", "cos", "log")
        positive = self.function in ("sigmoid", "softplus", "exp")
        exponential = self.function == "exp"
        parity = (self.function == "cos") - (self.function in _ODD)
        return PointwiseRule(
            exponential=exponential, keeps_zero=keeps_zero, positive=positive, alike=True, parity=parity
        )

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return _FUNCTIONS[self.function](x[0])

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return tuple(cls(f) for f in ("gelu", "tanh", "softplus", "mish", "softsign"))


def GELU() -> Pointwise:
    """Gaussian error linear unit."""
    return Pointwise("gelu")


def SiLU() -> Pointwise:
    """`x * sigmoid(x)`."""
    return Pointwise("silu")


def Tanh() -> Pointwise:
    """Hyperbolic tangent."""
    return Pointwise("tanh")


def Sigmoid() -> Pointwise:
    """Logistic function."""
    return Pointwise("sigmoid")


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(_Same):
    """Sets features to zero at random in training; a random gate per feature."""

    probability: float = 0.1

    summary = "x * random mask / (1 - p)"
    source = "marcotte2025, section 3"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.probability < 1:
            raise ShapeError(f"{self}: the probability must lie in [0, 1)")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return HomogeneousRule(noisy=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if not run.training:
            return x[0]
        gate = run.gate(x[0])
        if gate is None:
            gate = (torch.rand_like(x[0]) >= self.probability).to(x[0].dtype)
        return x[0] * gate / (1 - self.probability)


@dataclass(frozen=True, eq=False, repr=False)
class StochasticDepth(_Same):
    """Drops a whole branch at random in training, example by example; passes everything in evaluation.

    Any matrix passes, but no constant: what it adds would be there for some examples only.
    """

    probability: float = 0.1

    summary = "x * random bit per example / (1 - p)"
    source = "theory of wires: S_out = S_in, t = 0"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.probability < 1:
            raise ShapeError(f"{self}: the probability must lie in [0, 1)")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(keeps_constants=False, noisy=True)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if not run.training:
            return x[0]
        one = x[0].new_empty((x[0].shape[0], *[1] * (x[0].ndim - 1)))
        gate = run.gate(one, 4)  # kept three times of four, so that several in a row still let something through
        kept = torch.rand_like(one) >= self.probability if gate is None else gate > 0
        return x[0] * kept.to(x[0].dtype) / (1 - self.probability)


@dataclass(frozen=True, eq=False, repr=False)
class Scale(_Same):
    """`x * factor / divisor`, a fixed number: scaled embeddings, logit scales, the mean of several branches.

    Any matrix passes, and constants times the number.  The divisor is apart so that means stay exact.
    """

    factor: float = 1.0
    divisor: int = 1

    summary = "x * factor / divisor"
    source = "theory of wires: S_out = S_in, t_out = a t_in"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.factor) or not self.factor:
            raise ShapeError(f"{self}: the factor must be a finite number other than 0")

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return PassRule(factor=Fraction(self.factor) / self.divisor)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return x[0] * (self.factor / self.divisor)

    @classmethod
    def _samples(cls) -> Sequence[Net]:
        return (cls(0.5), cls(-1.0, 3))


@dataclass(frozen=True, eq=False, repr=False)
class Softmax(_Same):
    """Softmax over the features: the weights of a router; router column sums are conserved (tran2026, theorem 4.5)."""

    summary = "softmax over features"
    source = "tran2026, theorem 4.5"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return SoftmaxRule()

    def width_minimum(self, port: int) -> int:
        return 3

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The block before an activation, on three features or more."""
        return () if signal.tokens or signal.features < 3 else (Series.of(cls(), Pointwise("tanh")),)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        e = torch.exp(x[0] - x[0].detach().amax(run.axis, keepdim=True))
        return e / e.sum(run.axis, keepdim=True)
