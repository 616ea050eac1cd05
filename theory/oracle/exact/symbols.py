"""What a torch value is while its program is written, and how steps are appended to the program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from .program import Builder, NotPolynomialError, Shape


@dataclass(frozen=True)
class Symbol:
    """A value that depends on parameters or drawn numbers: a step of the program."""

    step: int


@dataclass(frozen=True)
class Choice:
    """A value that depends on choices alone.

    Attributes:
        name: of the choices.
        places: the flat place of the choice that every entry depends on.
        table: the value for every option, shape `(options, *shape)`.
    """

    name: str
    places: np.ndarray
    table: torch.Tensor


class Writer:
    """Writes the steps of a program."""

    def __init__(self) -> None:
        self.builder = Builder()

    def source(self, kind: str, name: str, shape: Shape) -> Symbol:
        """What the program starts from."""
        return Symbol(self.builder.add(kind, (), shape, name))

    def shape(self, value: Any) -> Shape:
        """Shape of anything."""
        if isinstance(value, Symbol):
            return self.builder.steps[value.step].shape
        if isinstance(value, Choice):
            return tuple(value.table.shape[1:])
        return tuple(value.shape) if isinstance(value, torch.Tensor) else ()

    def symbol(self, value: Any) -> Symbol:
        """Anything as a step."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, Choice):
            shape = self.shape(value)
            table = value.table.double().numpy()
            return Symbol(self.builder.add("pick", (), shape, value.name, value.places, np.ascontiguousarray(table)))
        numbers = torch.as_tensor(value, dtype=torch.float64)
        if not bool(torch.isfinite(numbers).all()):
            raise NotPolynomialError("a fixed number that is not finite is no coefficient of a polynomial")
        return Symbol(self.builder.add("constant", (), tuple(numbers.shape), table=numbers.numpy().copy()))

    def take(self, value: Symbol, index: np.ndarray) -> Symbol:
        """Entries of a value by their flat places."""
        return Symbol(self.builder.add("take", (value.step,), index.shape, index=index))

    def reshaped(self, value: Symbol, shape: Sequence[int]) -> Symbol:
        """The same entries in another shape."""
        return Symbol(self.builder.add("take", (value.step,), tuple(shape)))

    def broadcast(self, value: Symbol, shape: Shape) -> Symbol:
        """A value repeated to a shape."""
        own = self.shape(value)
        if own == shape:
            return value
        return self.take(value, np.broadcast_to(np.arange(math.prod(own)).reshape(own), shape))

    def add(self, terms: Sequence[tuple[Symbol, Fraction]]) -> Symbol:
        """A sum with coefficients, with broadcasting."""
        shape = tuple(np.broadcast_shapes(*(self.shape(t) for t, _ in terms)))
        steps = tuple(self.broadcast(t, shape).step for t, _ in terms)
        return Symbol(self.builder.add("add", steps, shape, factors=tuple(c for _, c in terms)))

    def multiply(self, a: Symbol, b: Symbol) -> Symbol:
        """A product entry by entry, with broadcasting."""
        shape = tuple(np.broadcast_shapes(self.shape(a), self.shape(b)))
        return Symbol(
            self.builder.add("multiply", (self.broadcast(a, shape).step, self.broadcast(b, shape).step), shape)
        )

    def matmul(self, a: Symbol, b: Symbol) -> Symbol:
        """A product of `(batch, n, k)` and `(batch, k, m)`."""
        (batch, n, _), (_, _, m) = self.shape(a), self.shape(b)
        return Symbol(self.builder.add("matmul", (a.step, b.step), (batch, n, m)))

    def total(self, value: Symbol, axes: Sequence[int], keep: bool) -> Symbol:
        """A sum over axes (all of them if there are none)."""
        shape = self.shape(value)
        axes = [a % len(shape) for a in axes] if len(axes) else list(range(len(shape)))
        kept = [i for i in range(len(shape)) if i not in axes]
        n = math.prod(shape[i] for i in axes)
        index = np.arange(math.prod(shape)).reshape(shape).transpose(*kept, *axes)
        moved = self.take(value, index.reshape(*(shape[i] for i in kept), n))
        out = Symbol(self.builder.add("total", (moved.step,), tuple(shape[i] for i in kept)))
        return self.reshaped(out, [1 if i in axes else k for i, k in enumerate(shape)]) if keep else out
