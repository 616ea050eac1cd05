"""The loss gradients of a polynomial program as a family of fields that can be searched.

Choices (activation patterns, tokens) are made into numbers where that changes nothing.  A potential that is affine in
what every single choice picks is affine in the weights `t_1 + ... + t_K = 1` of its options, so that potentials with
random weights span the same space as those with one weight 1 and the others 0, and no pattern is rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..oracle.exact.jets import Differentiator
from ..oracle.exact.program import Program, Step
from .program_signs import choices_used_twice, sign_flips

MEMORY = 1 << 23  # residues of all values of the samples that are evaluated at once
MOST = 64  # fields in one combination, where choices stay choices


class ProgramFields:
    """The gradients of a program in its parameters for all data and choices; an `ExactFields`.

    Args:
        program: a potential whose gradients are the fields, see `lawful.graph.questions.exact.potential_program`.

    Attributes:
        kept: the choices that are drawn from their options, since some product reads one of them twice.
    """

    def __init__(self, program: Program) -> None:
        program = program.unfrozen()
        self.kept = frozenset(choices_used_twice(program))
        self._drawn, self._relaxed = program, _relaxed(program, self.kept)
        self._masks = sign_flips(program)
        self._differentiators: dict[int, Differentiator] = {}

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the scalar parameters: `fc0.weight[0,1]`."""
        return self._drawn.variables

    @cached_property
    def field_degree(self) -> int:
        """The degree of the gradients in parameters, data and weights of options."""
        return max(self._relaxed.degree - 1, 0)

    @cached_property
    def missed(self) -> float:
        """The largest probability that a random field does not tell a law from one that holds for some choices only.

        0 where all choices are numbers.  Else a function of choices out of `K` that is a sum of functions of `d` of
        them each, and not zero, is not zero for a share `K^-d` of all (the distance of Reed-Muller codes).
        """
        if not self.kept:
            return 0.0
        most = max(self._drawn.choices[n][1] for n in self.kept)
        return float((1.0 - float(most) ** -self._kept_degree) ** self._combined)

    def values(self, theta: np.ndarray, prime: int, rng: np.random.Generator) -> np.ndarray:
        """One gradient at each point, as `ExactFields.values`."""
        if prime not in self._differentiators:
            self._differentiators = {prime: Differentiator(self._relaxed, prime)}
        found = np.zeros_like(theta)
        step = max(1, MEMORY // max(self._relaxed.width, 1))
        for start in range(0, len(theta), step):
            points = theta[start : start + step]
            for _ in range(self._combined):
                gradient = self._differentiators[prime].gradient({0: points}, self._draws(len(points), prime, rng))[0]
                share = rng.integers(0, prime, (len(points), 1)) if self._combined > 1 else 1
                found[start : start + step] = (found[start : start + step] + share * gradient) % prime
        return found

    def parities(self) -> list[int]:
        """Sign flips of parameters and data that leave the potential as it is or change its sign."""
        return list(self._masks)

    @property
    def _combined(self) -> int:
        """Fields in one random combination, so that rare choices are seen."""
        return min(MOST, 4 << self._kept_degree) if self.kept else 1

    @cached_property
    def _kept_degree(self) -> int:
        """How many of the choices that are kept one term of the program can read."""
        found: list[int] = []
        for step in self._drawn.steps:
            read = [found[i] for i in step.inputs]
            if step.kind == "pick":
                found.append(int(step.name in self.kept))
            else:
                found.append(sum(read) if step.kind in ("multiply", "matmul") else max(read, default=0))
        return found[-1]

    def _draws(self, n: int, prime: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Data, weights of options that add up to 1, and choices."""
        draws = {k: rng.integers(0, prime, (n, *s)) for k, s in self._relaxed.data.items()}
        for k in self._drawn.choices.keys() - self.kept:
            weights = draws[_weights(k)]
            weights[..., 0] = (1 - weights[..., 1:].sum(-1)) % prime
        return draws | {k: rng.integers(0, b, (n, *s)) for k, (s, b) in self._relaxed.choices.items()}


def _weights(choices: str) -> str:
    return f"weights of {choices}"


def _relaxed(program: Program, kept: frozenset[str]) -> Program:
    """The program with a weight for every option in place of a choice, but for the choices that are kept."""
    steps: list[Step] = []
    place: list[int] = []  # where a step of the program went
    for step in program.steps:
        if step.kind == "pick" and step.name not in kept and step.table is not None:
            shape, options = program.choices[step.name]
            wide = (*step.shape, options)
            index = step.places[:, None] * options + np.arange(options)
            steps += [
                Step("data", (), (*shape, options), _weights(step.name)),
                Step("take", (len(steps),), wide, index=index.reshape(wide)),
                Step("constant", (), wide, table=np.moveaxis(step.table, 0, -1).copy()),
                Step("multiply", (len(steps) + 1, len(steps) + 2), wide),
                Step("total", (len(steps) + 3,), step.shape),
            ]
        else:
            steps.append(replace(step, inputs=tuple(place[i] for i in step.inputs)))
        place.append(len(steps) - 1)
    weights = {_weights(n): (*s, k) for n, (s, k) in program.choices.items() if n not in kept}
    choices = {n: c for n, c in program.choices.items() if n in kept}
    return Program(program.parameters, {**program.data, **weights}, choices, tuple(steps))
