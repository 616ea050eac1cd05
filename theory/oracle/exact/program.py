"""Polynomials as programs: a few kinds of steps on arrays, which are all that exact counting has to know.

A program computes one scalar from parameters and data.  The kinds of steps are

    parameter   the array of one parameter
    frozen      the array of one that training does not move: drawn once, the same in all fields
    data        numbers drawn at random (inputs, gradients that a loss sends)
    pick        `table[choice, place]` for choices drawn at random (activation patterns, tokens)
    constant    fixed numbers
    take        entries of a value in another order, repeated or left out (views, windows, padding)
    add         a sum of values with fixed coefficients
    multiply    entry by entry
    matmul      `(batch, n, k)` times `(batch, k, m)`
    total       the sum over the last axis

and the derivative of each is made of the same kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

Shape = tuple[int, ...]
FROZEN = "frozen "  # before the name of a frozen parameter, which may be that of an input


class NotPolynomialError(ValueError):
    """A network that is no polynomial in its parameters, even with its activation patterns fixed.

    Args:
        what: which operation, and why.
        way_out: what to do.

    Attributes:
        what: the same.
    """

    def __init__(self, what: str, way_out: str = "count in floats, without exact=True") -> None:
        super().__init__(what, way_out)
        self.what = what

    def __str__(self) -> str:
        return "; ".join(self.args)


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a program.

    Attributes:
        kind: what it does (see the module).
        inputs: the steps that it reads.
        shape: of the array that it gives.
        name: of the parameter, the data or the choices that it reads.
        index: for `take` the flat place of every entry in the value that is read, -1 for zero; for `pick` the flat
            place of every choice.
        table: for `constant` the numbers; for `pick` the number for every option and place.
        factors: for `add` the coefficient of every input.
    """

    kind: str
    inputs: tuple[int, ...]
    shape: Shape
    name: str = ""
    index: np.ndarray | None = None
    table: np.ndarray | None = None
    factors: tuple[Fraction, ...] = ()

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def places(self) -> np.ndarray:
        """The index, flat; everything in its order where there is none."""
        return np.arange(self.size) if self.index is None else self.index.ravel()

    @cached_property
    def injective(self) -> bool:
        """Whether a `take` takes no entry twice."""
        taken = self.places[self.places >= 0]
        return len(np.unique(taken)) == len(taken)


@dataclass(frozen=True, eq=False)
class Program:
    """A scalar polynomial of parameters and data.

    Attributes:
        parameters: shapes by name, in the order in which they make up one vector.
        data: shapes of what is drawn from all residues, by name.
        choices: shape and number of options of what is drawn from a few, by name.
        steps: in an order in which each reads only earlier ones; the last gives the scalar.
        frozen: shapes of what is drawn once, by name.
        realised: for choices that are not free, the combinations of options that a network can have, by name: arrays
            of shape `(combinations, *shape)`, equally many for all of them.  Others are drawn freely.
    """

    parameters: Mapping[str, Shape]
    data: Mapping[str, Shape]
    choices: Mapping[str, tuple[Shape, int]]
    steps: tuple[Step, ...]
    frozen: Mapping[str, Shape] = field(default_factory=dict)
    realised: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of scalar parameters `D`."""
        return sum(int(np.prod(s, dtype=np.int64)) for s in self.parameters.values())

    @property
    def variables(self) -> tuple[str, ...]:
        """A name for every scalar parameter: `weight[0,1]`."""
        return tuple(
            f"{n}[{','.join(map(str, i))}]" if s else n for n, s in self.parameters.items() for i in np.ndindex(*s)
        )

    @cached_property
    def moving(self) -> tuple[bool, ...]:
        """Which steps depend on parameters."""
        found: list[bool] = []
        for step in self.steps:
            found.append(step.kind == "parameter" or any(found[i] for i in step.inputs))
        return tuple(found)

    @cached_property
    def degree(self) -> int:
        """A bound on the total degree in parameters and data together."""
        found: list[int] = []
        for step in self.steps:
            degrees = [found[i] for i in step.inputs]
            if step.kind in ("parameter", "frozen", "data"):
                found.append(1)
            elif step.kind in ("multiply", "matmul"):
                found.append(sum(degrees))
            else:
                found.append(max(degrees, default=0))
        return found[-1]

    @cached_property
    def width(self) -> int:
        """Entries of all values together, which is what a sample takes in memory."""
        return sum(s.size for s in self.steps)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "parameters": {n: list(s) for n, s in self.parameters.items()},
            "data": {n: list(s) for n, s in self.data.items()},
            "frozen": {n: list(s) for n, s in self.frozen.items()},
            "choices": {n: [list(s), k] for n, (s, k) in self.choices.items()},
            "realised": {n: t.tolist() for n, t in self.realised.items()},
            "steps": [_step_data(s) for s in self.steps],
        }

    def unfrozen(self) -> Program:
        """The same polynomial with frozen numbers as data, so that what is said holds for all of them."""
        steps = tuple(replace(s, kind="data") if s.kind == "frozen" else s for s in self.steps)
        return replace(self, data={**self.data, **self.frozen}, frozen={}, steps=steps)


def _step_data(step: Step) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": step.kind, "shape": list(step.shape)}
    if step.inputs:
        out["inputs"] = list(step.inputs)
    if step.name:
        out["name"] = step.name
    if step.index is not None:
        out["index"] = step.places.tolist()
    if step.table is not None:
        out["table"] = step.table.tolist()
    if step.factors:
        out["factors"] = [str(c) for c in step.factors]
    return out


@dataclass
class Builder:
    """Collects the steps of a program; the same step is not taken twice."""

    steps: list[Step] = field(default_factory=list)

    def add(
        self,
        kind: str,
        inputs: tuple[int, ...],
        shape: Shape,
        name: str = "",
        index: np.ndarray | None = None,
        table: np.ndarray | None = None,
        factors: tuple[Fraction, ...] = (),
    ) -> int:
        """Appends a step and returns its number.

        A `take` of a `take` becomes one; `index=None` takes everything in its order, which is a change of shape.
        """
        shape = tuple(int(n) for n in shape)
        if kind == "take":
            read = self.steps[inputs[0]]
            if index is not None and np.array_equal(index.ravel(), np.arange(read.size)):
                index = None
            if read.kind == "take":
                before = np.append(read.places, -1)
                both = before if index is None else before[index.ravel()]
                kept = None if read.index is None and index is None else both[: int(np.prod(shape, dtype=np.int64))]
                return self.add(kind, read.inputs, shape, index=kept)
            if index is None and shape == read.shape:
                return inputs[0]
        self.steps.append(Step(kind, inputs, shape, name, index, table, factors))
        return len(self.steps) - 1

    def reachable(self, last: int) -> tuple[Step, ...]:
        """The steps that one of them needs, renumbered, itself at the end."""
        needed, todo = set(), [last]
        while todo:
            i = todo.pop()
            if i not in needed:
                needed.add(i)
                todo += self.steps[i].inputs
        order = [*sorted(needed - {last}), last]
        place = {old: new for new, old in enumerate(order)}
        return tuple(replace(s, inputs=tuple(place[i] for i in s.inputs)) for s in (self.steps[i] for i in order))
