"""Gradients of programs modulo a prime, with derivatives of any order along the way.

A jet is a polynomial in infinitesimals that square to zero: a dict from the set of infinitesimals (a bit mask) to the
array that stands in front of their product.  Evaluating a program at `theta + e X` and reading the part of `e` is the
derivative along `X`, exactly.  The first axis of every array runs over samples; it has length 1 where all agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .program import Program, Step
from .residues import matmul, residues

Jet = dict[int, np.ndarray]
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Differentiator:
    """Gradients of one program modulo one prime.

    Args:
        program: any program.
        prime: of at most 31 bits.
    """

    def __init__(self, program: Program, prime: int) -> None:
        self.program, self.prime = program, prime
        self._tables = {i: residues(s.table, prime) for i, s in enumerate(program.steps) if s.table is not None}
        self._factors = {
            i: [c.numerator * pow(c.denominator, -1, prime) % prime for c in s.factors]
            for i, s in enumerate(program.steps)
            if s.factors
        }

    def gradient(self, theta: Jet, draws: Mapping[str, np.ndarray]) -> Jet:
        """The gradient of the program in its parameters.

        Args:
            theta: the point, arrays of shape `(samples or 1, D)`.
            draws: data and choices by name, arrays of shape `(samples, ...)`; frozen numbers of shape `(1, ...)`.

        Returns:
            Arrays of shape `(samples or 1, D)`.
        """
        values = self._values(theta, draws)
        steps = self.program.steps
        back: list[Jet] = [{} for _ in steps]
        back[-1] = {0: np.ones((1, *steps[-1].shape), dtype=np.int64)}
        out: dict[str, Jet] = {}
        for i in range(len(steps) - 1, -1, -1):
            if not self.program.moving[i] or not back[i]:
                continue
            if steps[i].kind == "parameter":
                out[steps[i].name] = self._plus(out.get(steps[i].name, {}), back[i])
            else:
                for j, jet in self._pulled(i, back[i], values):
                    back[j] = self._plus(back[j], jet)
            back[i], values[i] = {}, {}
        return self._joined(out)

    def _joined(self, parts: Mapping[str, Jet]) -> Jet:
        """Gradients of all parameters side by side."""
        masks = sorted({m for jet in parts.values() for m in jet})
        length = max((a.shape[0] for jet in parts.values() for a in jet.values()), default=1)
        found: Jet = {m: np.zeros((length, self.program.size), dtype=np.int64) for m in masks or [0]}
        at = 0
        for name, shape in self.program.parameters.items():
            n = int(np.prod(shape, dtype=np.int64))
            for m, a in parts.get(name, {}).items():
                found[m][:, at : at + n] = a.reshape(a.shape[0], n)
            at += n
        return found

    def _values(self, theta: Jet, draws: Mapping[str, np.ndarray]) -> list[Jet]:
        """The value of every step."""
        values: list[Jet] = []
        slices: dict[str, tuple[int, int]] = {}
        at = 0
        for name, shape in self.program.parameters.items():
            n = int(np.prod(shape, dtype=np.int64))
            slices[name] = (at, at + n)
            at += n
        for i, step in enumerate(self.program.steps):
            read = [values[j] for j in step.inputs]
            if step.kind == "parameter":
                a, b = slices[step.name]
                values.append({m: t[:, a:b].reshape(len(t), *step.shape) for m, t in theta.items()})
            elif step.kind in ("data", "frozen"):
                values.append({0: draws[step.name]})
            elif step.kind == "pick":
                choices = draws[step.name].reshape(len(draws[step.name]), -1)[:, step.places]
                table = self._tables[i].reshape(len(self._tables[i]), -1)
                picked = table[choices, np.arange(step.size)]
                values.append({0: picked.reshape(-1, *step.shape)})
            elif step.kind == "constant":
                values.append({0: self._tables[i][None]})
            elif step.kind == "take":
                values.append({m: _taken(a, step) for m, a in read[0].items()})
            elif step.kind == "add":
                total: Jet = {}
                for c, jet in zip(self._factors[i], read, strict=True):
                    total = self._plus(total, self._scaled(jet, c))
                values.append(total)
            elif step.kind == "multiply":
                values.append(self._product(read[0], read[1], self._times))
            elif step.kind == "matmul":
                values.append(self._product(read[0], read[1], self._matmul))
            else:  # total
                values.append({m: a.sum(-1) % self.prime for m, a in read[0].items()})
        return values

    def _pulled(self, i: int, back: Jet, values: list[Jet]) -> list[tuple[int, Jet]]:
        """What the derivative of a step sends back to the steps that it reads."""
        step, moving = self.program.steps[i], self.program.moving
        if step.kind == "take":
            read = self.program.steps[step.inputs[0]]
            return [(step.inputs[0], {m: self._spread(a, step, read) for m, a in back.items()})]
        if step.kind == "add":
            pairs = zip(step.inputs, self._factors[i], strict=True)
            return [(j, self._scaled(back, c)) for j, c in pairs if moving[j]]
        if step.kind == "total":
            n = self.program.steps[step.inputs[0]].shape[-1]
            return [(step.inputs[0], {m: np.repeat(a[..., None], n, axis=-1) for m, a in back.items()})]
        left, right = step.inputs
        found = []
        if step.kind == "multiply":
            if moving[left]:
                found.append((left, self._product(back, values[right], self._times)))
            if moving[right]:
                found.append((right, self._product(back, values[left], self._times)))
        else:
            if moving[left]:
                found.append((left, self._product(back, _transposed(values[right]), self._matmul)))
            if moving[right]:
                found.append((right, self._product(_transposed(values[left]), back, self._matmul)))
        return found

    def _spread(self, a: np.ndarray, step: Step, read: Step) -> np.ndarray:
        """Entries back where they were taken; those taken more than once add up."""
        flat = a.reshape(a.shape[0], -1)
        if step.index is None:
            return flat.reshape(-1, *read.shape)
        out = np.zeros((a.shape[0], read.size), dtype=np.int64)
        kept = step.places >= 0
        if step.injective:
            out[:, step.places[kept]] = flat[:, kept]
        else:
            order = np.argsort(step.places, kind="stable")
            order = order[step.places[order] >= 0]
            places, starts = np.unique(step.places[order], return_index=True)
            out[:, places] = np.add.reduceat(flat[:, order], starts, axis=1) % self.prime
        return out.reshape(-1, *read.shape)

    def _times(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b % self.prime

    def _matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return matmul(a, b, self.prime)

    def _product(self, a: Jet, b: Jet, times: Product) -> Jet:
        out: Jet = {}
        for m, x in a.items():
            for n, y in b.items():
                if not m & n:  # an infinitesimal squares to zero
                    term = times(x, y)
                    out[m | n] = (out[m | n] + term) % self.prime if m | n in out else term
        return out

    def _plus(self, a: Jet, b: Jet) -> Jet:
        return {m: (a[m] + b[m]) % self.prime if m in a and m in b else a[m] if m in a else b[m] for m in a | b}

    def _scaled(self, a: Jet, c: int) -> Jet:
        return a if c == 1 else {m: x * c % self.prime for m, x in a.items()}


def _taken(a: np.ndarray, step: Step) -> np.ndarray:
    if step.index is None:
        return a.reshape(-1, *step.shape)
    flat = a.reshape(a.shape[0], -1)
    out = flat[:, step.places]
    if (step.places < 0).any():
        out[:, step.places < 0] = 0
    return out.reshape(-1, *step.shape)


def _transposed(a: Jet) -> Jet:
    return {m: np.swapaxes(x, -1, -2) for m, x in a.items()}
