"""Writes plain torch modules for `modules.py`: values with their shapes, parameters reused in every way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from .programs import Constant, Operand, Program, Source, Step, Weight, call

T = TypeVar("T")
BATCH = 4
LARGEST = 60  # trainable scalars: a Lie algebra of that size takes a second at most
WIDEST = 6

# Views of one parameter that can serve where another shape is asked for.
VIEWS: tuple[tuple[str, tuple[Operand, ...]], ...] = (
    ("t", ()),
    ("sum", (0,)),
    ("sum", (1,)),
    ("mean", (0,)),
    ("first", ()),
    ("first_entries", ()),
    ("head_of", (2,)),
    ("tail_of", (2,)),
    ("tail_of", (3,)),
    ("features", (0, 2)),
    ("features", (0, 3)),
    ("features", (1, 3)),
    ("diag", ()),
    ("flatten", (0,)),
    ("repeat", (0,)),
    ("repeat", (-1,)),
)
# What changes a parameter and keeps its shape.
CHANGES: tuple[tuple[str, tuple[Operand, ...]], ...] = (
    ("negative", ()),
    ("scale", (2,)),
    ("scale", (0.5,)),
    ("centre", (0,)),
    ("centre", (-1,)),
    ("flip", (0,)),
    ("roll", (0,)),
    ("abs", ()),
    ("leaky", ()),
    ("tanh", ()),
    ("square", ()),
    ("unit", (-1,)),
    ("softmax", (-1,)),
    ("tril", ()),
)
MASKS = ((1.0, 0.0), (0.0, 1.0), (1.0, -1.0), (2.0, 0.0))


class Author:
    """Collects the instructions of one module; every value is computed as it is written, which gives its shape."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.inputs: list[Source] = []
        self.weights: list[Weight] = []
        self.constants: list[Constant] = []
        self.steps: list[Step] = []
        self.values: dict[str, torch.Tensor] = {}
        self.pool: list[str] = []  # parameters and what is made of them
        self.left = LARGEST
        self._count = 0

    def pick(self, options: Sequence[T]) -> T:
        """One of some options, the first being the simplest."""
        return self.draw(st.sampled_from(options))

    def chance(self, outof: int) -> bool:
        """True once in so many times; False is simpler."""
        return self.draw(st.integers(0, outof - 1)) == outof - 1

    def width(self, least: int = 2) -> int:
        """A number of features."""
        return self.draw(st.integers(least, max(least, 4)))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value."""
        return tuple(self.values[name].shape)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _random(self, shape: Sequence[int]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self._count)
        return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)

    def source(self, shape: tuple[int, ...], words: int = 0) -> str:
        """An input."""
        name = "x" if not self.inputs else f"x{len(self.inputs)}"
        self.inputs.append(Source(name, shape, words))
        numbers = torch.arange(torch.Size(shape).numel()).reshape(shape) % max(words, 1)
        self.values[name] = numbers if words else self._random(shape)
        return name

    def say(self, called: str, *operands: Operand) -> str:
        """Writes an instruction; returns the name of its value."""
        value = call(called)(*(self.values[o] if isinstance(o, str) else o for o in operands))
        if not value.isfinite().all():
            raise UnsatisfiedAssumption
        name = self._name("h")
        self.values[name] = value
        self.steps.append(Step(name, called, tuple(operands)))
        return name

    def fresh(self, shape: Sequence[int], frozen: bool = False) -> str:
        """A parameter of its own."""
        shape = tuple(shape)
        if not frozen:
            self.left -= torch.Size(shape).numel()
            if self.left < 0:
                raise UnsatisfiedAssumption
        name = self._name("p")
        self.weights.append(Weight(name, shape, frozen))
        self.values[name] = self._random(shape)
        if not frozen:
            self.pool.append(name)
        return name

    def mask(self, width: int) -> str:
        """Fixed numbers, some of them zero."""
        pattern = self.pick(MASKS)
        name = self._name("c")
        values = tuple(pattern[i % len(pattern)] for i in range(width))
        self.constants.append(Constant(name, values))
        self.values[name] = torch.tensor(values, dtype=torch.float64)
        return name

    def _made(self, called: str, *operands: Operand) -> str:
        name = self.say(called, *operands)
        self.pool.append(name)
        return name

    def reused(self, shape: Sequence[int]) -> str:
        """A parameter or a view of one that is there already; a fresh one if none fits."""
        shape = tuple(shape)
        options: list[tuple[str, str, tuple[Operand, ...]]] = []
        for name in self.pool:
            value = self.values[name]
            if tuple(value.shape) == shape:
                options.append((name, "", ()))
            for called, operands in VIEWS:
                if value.ndim and value.ndim <= 2:
                    try:
                        found = call(called)(value, *operands)
                    except (RuntimeError, IndexError):
                        continue
                    if tuple(found.shape) == shape:
                        options.append((name, called, operands))
        if not options:
            return self.fresh(shape)
        name, called, operands = self.pick(options)
        return self._made(called, name, *operands) if called else name

    def weight(self, shape: Sequence[int], deep: int = 1) -> str:
        """A value of parameters of a shape: fresh, reused, or made of others."""
        shape = tuple(shape)
        # Mostly plain: a module has several weights, and one that is made of others is enough.
        ways = ["fresh"] * 12 + ["reused"] * 4
        if deep:
            ways += ["sum", "changed", "made", "frozen"]
        way = self.pick(ways)
        if way == "fresh":
            return self.fresh(shape)
        if way == "reused":
            return self.reused(shape)
        if way == "frozen":
            return self.fresh(shape, frozen=True)
        if way == "sum":
            return self._sum(shape)
        if way == "changed":
            return self._changed(shape)
        return self._composed(shape)

    def _sum(self, shape: tuple[int, ...]) -> str:
        a, b = self.weight(shape, 0), self.weight(shape, 0)
        form = self.pick(["a + b", "a - b", "a + .5 b", "a + b + b", "a * b", "a + a"])
        if form == "a + b":
            return self._made("add", a, b)
        if form == "a - b":
            return self._made("subtract", a, b)
        if form == "a + .5 b":
            return self._made("combine", a, b, 0.5)
        if form == "a * b":
            return self._made("multiply", a, b)
        if form == "a + a":
            return self._made("add", a, a)
        return self._made("add", self._made("add", a, b), b)

    def _changed(self, shape: tuple[int, ...]) -> str:
        a = self.weight(shape, 0)
        if self.chance(4) and shape[-1] > 1:
            return self._made("multiply", a, self.mask(shape[-1]))
        called, operands = self.pick(CHANGES)
        if called == "tril" and len(shape) < 2:
            called, operands = "negative", ()
        return self._made(called, a, *operands)

    def _composed(self, shape: tuple[int, ...]) -> str:
        """Of parts, a product, a scalar, an outer product, another shape."""
        ways = ["scalar", "cat"] if len(shape) == 1 else ["cat", "scalar", "row"]
        if len(shape) == 2:
            ways += ["product", "outer", "reshape"]
        way = self.pick(ways)
        if way == "cat" and shape[0] >= 2:
            first = 1 if shape[0] < 4 else shape[0] // 2
            a = self.weight((first, *shape[1:]), 0)
            b = a if shape[0] == 2 * first and self.chance(2) else self.weight((shape[0] - first, *shape[1:]), 0)
            return self._made("cat", a, b, 0)
        if way == "row":
            return self._made("expand", self.weight(shape[1:], 0), shape)
        if way == "product":
            return self._made("matmul", self.weight((shape[0], 2), 0), self.weight((2, shape[1]), 0))
        if way == "outer":
            return self._made("outer", self.weight(shape[:1], 0), self.weight(shape[1:], 0))
        if way == "reshape":
            return self._made("reshape", self.weight((shape[0] * shape[1],), 0), shape)
        return self._made("expand", self.weight((1,), 0), shape)

    def program(self, outputs: Sequence[str]) -> Program:
        """What was written, without what nothing reads."""
        found = Program(
            tuple(self.inputs), tuple(self.weights), tuple(self.constants), tuple(self.steps), tuple(outputs)
        )
        return found.pruned()
