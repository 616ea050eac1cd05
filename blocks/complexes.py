"""Linear maps of complex numbers, which a wire carries as pairs of a real and an imaginary part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lawful.theory.gauge.rules import ComplexLinearRule, Rule

from .base import Block, Net, ShapeError, Signal, Spec
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class ComplexLinear(Block):
    """`y = W x + b` over the complex numbers, of `features` numbers to `width` numbers.

    A wire carries complex numbers as `torch.view_as_real` writes them, one behind the other: real part, imaginary part.
    So x has the shape `(batch, ..., 2 features)` and y `(batch, ..., 2 width)`.

    Args:
        features: complex numbers of x.
        width: complex numbers of y.
        bias: whether there is a complex `b`, of shape `(width, 2)`.
        frozen: local names of parameters that training does not move.
        transposed: whether the weight is stored as `(features, width, 2)` and not as `(width, features, 2)`.
        reads: `complex`, or `real` for an x without imaginary parts, of shape `(batch, ..., features)`.
        writes: `complex`, or `real` for the real part of y alone, of shape `(batch, ..., width)`; `b` is real then.

    Law: `A A^H - W^H W` between two of them, a Hermitian matrix (wire-balance theorem; the real case is
    Marcotte et al. 2023, proposition 4.2).
    """

    features: int
    width: int
    bias: bool = True
    frozen: tuple[str, ...] = ()
    transposed: bool = False
    reads: str = "complex"
    writes: str = "complex"

    summary = "y = W x + b over the complex numbers"
    source = "wire-balance theorem (lawful)"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reads", "writes"):
            if getattr(self, name) not in ("complex", "real"):
                raise ShapeError(f"{self}: {name} is {getattr(self, name)!r}; give 'complex' or 'real'")

    @property
    def parameters(self) -> dict[str, Spec]:
        bias = (self.width, 2) if self.writes == "complex" else (self.width,)
        own = {"weight": Spec(self._shape, (2 * self.features) ** -0.5)}
        return own | ({"bias": Spec(bias, 0.1)} if self.bias else {})

    @property
    def _shape(self) -> tuple[int, int, int]:
        one, other = (self.features, self.width) if self.transposed else (self.width, self.features)
        return one, other, 2

    @property
    def _ends(self) -> tuple[int, int]:
        """Features of both wires."""
        return self.features * self.width_multiple(0), self.width * self.width_multiple(-1)

    def input_signal(self) -> Signal:
        return Signal(self._ends[0])

    def output(self, *signals: Signal) -> Sequence[Signal]:
        self.expect(signals[0], self._ends[0])
        if signals[0].channels_first and signals[0].space:
            raise ShapeError(f"{self} reads features last but gets {signals[0]}; flatten or pool first")
        return (dataclasses.replace(signals[0].with_features(self._ends[1]), channels_first=False),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        ends = (self.reads == "complex", self.writes == "complex")
        return ComplexLinearRule(names["weight"], self._shape, names.get("bias"), self.transposed, *ends)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        w = p["weight"].transpose(0, 1) if self.transposed else p["weight"]
        real, imaginary = (w.select(2, i).transpose(0, 1) for i in (0, 1))
        if self.reads == "real":
            parts = [x[0] @ real, x[0] @ imaginary]
        else:
            u, v = x[0][..., 0::2], x[0][..., 1::2]
            parts = [u @ real - v @ imaginary, u @ imaginary + v @ real]
        if self.writes == "real":
            return parts[0] + p["bias"] if self.bias else parts[0]
        if self.bias:
            parts = [y + p["bias"][:, i] for i, y in enumerate(parts)]
        return torch.stack(parts, -1).flatten(-2)

    @property
    def chooses_width(self) -> bool:
        return True

    def width_multiple(self, port: int) -> int:
        return 2 if (self.reads if port >= 0 else self.writes) == "complex" else 1

    def resize(self, signals: Sequence[Signal], width: int) -> Block:
        sizes = (signals[0].features // self.width_multiple(0), width // self.width_multiple(-1))
        return dataclasses.replace(self, features=sizes[0], width=sizes[1])

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """Maps of pairs of features, and of real features to pairs and back."""
        if signal.tokens or (signal.channels_first and signal.space):
            return ()
        back = cls(signal.features, 2, reads="real") >> cls(2, 2, False, writes="real")
        if signal.features % 2:
            return (back,)
        n = signal.features // 2
        return (back, cls(n, 2, False), cls(n, 2) >> cls(2, n, False))


__all__ = ["ComplexLinear"]
