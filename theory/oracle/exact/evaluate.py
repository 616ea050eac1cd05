"""Values of programs for some samples, in floats or modulo a prime, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .program import Program, Step
from .residues import matmul, residues

Source = Callable[[int, Step], np.ndarray]


class Evaluation:
    """The values of steps that are still being written, as far as they are asked for.

    Args:
        steps: in an order in which each reads only earlier ones.
        source: what a parameter, frozen or drawn number is, shape `(samples, *shape)`, and the options that a `pick`
            chooses, shape `(samples, choices)`, by the number of the step.
        prime: of the residues; None for float64.
    """

    def __init__(self, steps: Sequence[Step], source: Source, prime: int | None = None) -> None:
        self._steps, self._source, self._prime = steps, source, prime
        self._values: list[np.ndarray] = []

    def value(self, i: int) -> np.ndarray:
        """The value of a step, shape `(samples or 1, *shape)`."""
        for j in range(len(self._values), i + 1):
            self._values.append(self._next(j, self._steps[j]))
        return self._values[i]

    def _next(self, i: int, step: Step) -> np.ndarray:
        p, read = self._prime, [self._values[j] for j in step.inputs]
        if step.kind in ("parameter", "frozen", "data"):
            return self._source(i, step)
        if step.kind in ("constant", "pick"):
            assert step.table is not None
            table = step.table if p is None else residues(step.table, p)
            if step.kind == "constant":
                return table[None]
            options = self._source(i, step)[:, step.places]
            return table.reshape(len(table), -1)[options, np.arange(step.size)].reshape(-1, *step.shape)
        if step.kind == "take":
            flat = read[0].reshape(len(read[0]), -1)
            return np.concatenate([flat, np.zeros_like(flat[:, :1])], 1)[:, step.places].reshape(-1, *step.shape)
        if step.kind == "add":
            factors = [float(c) if p is None else c.numerator * pow(c.denominator, -1, p) % p for c in step.factors]
            terms = [self._reduced(c * x) for c, x in zip(factors, read, strict=True)]
            return self._reduced(sum(terms[1:], start=terms[0]))
        if step.kind == "multiply":
            return self._reduced(read[0] * read[1])
        if step.kind == "matmul":
            return read[0] @ read[1] if p is None else matmul(read[0], read[1], p)
        return self._reduced(read[0].sum(-1))  # total

    def _reduced(self, x: np.ndarray) -> np.ndarray:
        return x if self._prime is None else x % self._prime


def evaluate(program: Program, parameters: Mapping[str, np.ndarray], draws: Mapping[str, np.ndarray]) -> float:
    """The scalar that a program gives, in float64.

    Args:
        program: any program.
        parameters: by name.
        draws: one sample of the data, of frozen numbers and of the choices (integers), by name.
    """

    def source(i: int, step: Step) -> np.ndarray:
        found = parameters[step.name] if step.kind == "parameter" else draws[step.name]
        return found.reshape(1, -1) if step.kind == "pick" else found[None]

    return float(Evaluation(program.steps, source).value(len(program.steps) - 1)[0])
