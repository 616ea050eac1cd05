"""Which activation patterns of a network are one: gates that compare one value with one threshold switch together.

`2 relu(h) = |h| + h`, so the patterns of both functions must be the same choice.  Gates are therefore known by what
they compare, never by the block that asks: the polynomial `value - threshold` is evaluated at random points modulo a
prime, and two gates share a pattern if these polynomials are multiples of each other by a constant (with a negative one
they switch against each other).  Other gates (the largest of several) are one if they compare the same numbers in the
same way.  What is missed here stays free, which can only hide laws from the proof that they hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .evaluate import Evaluation
from .lowering import Heard, Recorder, Tensors
from .program import Shape, Step
from .residues import PRIMES
from .symbols import Choice, Symbol

SHARED = "patterns"  # the name of the choices that several gates may read
BIASES = (0.5, 0.9, 0.5, 0.1)  # how often a gate is open, sample by sample
SAMPLES = 16
LARGEST = 1 << 10  # of the whole numbers that polynomials are compared at
SCALE = 1 << 20  # fixed numbers become whole

Real = Callable[[], torch.Tensor] | None
Ask = Callable[[str, torch.Tensor, int, Real], torch.Tensor]
Asking = Callable[[Tensors, Tensors, Tensors, Ask], Any]


@dataclass(frozen=True, eq=False)
class Gate:
    """Where a gate of a network finds its pattern.

    Attributes:
        name: of the choices.
        shape: of the gate.
        options: how many there are.
        places: of the shared patterns, for every entry; None where the choices are the gate.
        flipped: entries that are open where the pattern is not.
    """

    name: str
    shape: Shape
    options: int
    places: np.ndarray | None = None
    flipped: np.ndarray | None = None

    def of(self, chosen: torch.Tensor) -> torch.Tensor:
        """The gate from the choices."""
        if self.places is None or self.flipped is None:
            return chosen
        found = chosen.index_select(0, torch.from_numpy(self.places.ravel())).reshape(self.shape)
        return torch.where(torch.from_numpy(self.flipped), 1 - found, found)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A gate that a network asked for, and what it compared to know its real pattern."""

    key: str
    shape: Shape
    options: int
    heard: tuple[Heard, ...] | None
    threshold: bool
    site: object


def gates_of(
    function: Asking,
    parameters: Mapping[str, torch.Tensor],
    data: Mapping[str, torch.Tensor],
    choices: Mapping[str, tuple[Shape, int]],
    frozen: Mapping[str, torch.Tensor],
) -> dict[str, Gate]:
    """The gates that a function asks for, by its names for them, and which of them are one.

    Args:
        function: runs a network on parameters, data and choices, and asks for gates: by name, with a tensor of their
            shape, the number of options and a function that computes the real one.
        parameters: examples of the parameters.
        data: examples of what is drawn.
        choices: shape and number of options of what is drawn from a few.
        frozen: numbers that stay what they are.
    """
    recorder, asked = Recorder(), {}

    def ask(key: str, x: torch.Tensor, options: int, real: Real) -> torch.Tensor:
        heard, outcome = recorder.listen(real) if real else (None, None)
        one = heard is not None and len(heard) == 1 and heard[0].above and heard[0].result is outcome
        gate = recorder.choice(f"gate {key}", tuple(x.shape), options)
        site = getattr(real, "__code__", None)
        asked[f"gate {key}"] = _Asked(key, tuple(x.shape), options, heard, one and options == 2, site)
        return gate

    p, x, c = recorder.sources(parameters, data, choices, frozen)
    with torch.no_grad(), recorder:
        function(p, x, c, ask)
    return _Classes(recorder.writer.builder.steps, asked, choices, frozen).found()


class _Classes:
    """Compares what gates compare, in the order in which they are asked for."""

    def __init__(
        self,
        steps: list[Step],
        asked: Mapping[str, _Asked],
        choices: Mapping[str, tuple[Shape, int]],
        frozen: Mapping[str, torch.Tensor],
    ) -> None:
        self._steps, self._asked, self._choices, self._frozen = steps, asked, choices, frozen
        self._random = np.random.default_rng(0)
        self._drawn: dict[str, np.ndarray] = {}
        self._gates: dict[str, Gate] = {}
        self._whole: dict[object, Gate] = {}  # gates by everything that they compare
        self._classes: dict[bytes, int] = {}
        self._signs: list[float] = []  # of the first member of each class, at the point that tells
        self._patterns: list[np.ndarray] = []  # what is drawn for each class
        self._exact = Evaluation(steps, lambda i, s: self._source(s) % PRIMES[0], PRIMES[0])
        self._rough = Evaluation(steps, lambda i, s: self._source(s) * (1 if s.kind == "pick" else 1.0))

    def found(self) -> dict[str, Gate]:
        for i, step in enumerate(self._steps):
            if step.name in self._asked:
                self._exact.value(i)
        for name in self._asked.keys() - self._drawn.keys():  # nothing reads them
            self._drawn[name] = self._gate(self._asked[name])
        return self._gates

    def _source(self, step: Step) -> np.ndarray:
        """The same whole numbers for both evaluations."""
        if step.name not in self._drawn:
            self._drawn[step.name] = self._new(step)
        return self._drawn[step.name]

    def _new(self, step: Step) -> np.ndarray:
        if step.name in self._asked:
            return self._gate(self._asked[step.name]).reshape(SAMPLES, -1)
        if step.kind == "pick":
            shape, options = self._choices[step.name]
            return self._random.integers(0, options, (SAMPLES, math.prod(shape)))
        if step.kind == "frozen":
            return np.rint(self._frozen[step.name].numpy() * SCALE).astype(np.int64)[None]
        return self._random.integers(-LARGEST, LARGEST, (SAMPLES, *step.shape))

    def _gate(self, asked: _Asked) -> np.ndarray:
        """Finds out which gate this is, and what its pattern is in every sample."""
        if asked.threshold and asked.heard:
            return self._compared(asked, asked.heard[0])
        content = None if asked.heard is None else tuple(map(self._content, asked.heard))
        known: object = asked.key if content is None or None in content else (asked.site, asked.options, content)
        gate = self._whole.setdefault(known, Gate(f"gates of {asked.key}", asked.shape, asked.options))
        self._gates[asked.key] = gate
        if gate.name != f"gates of {asked.key}":
            return next(self._drawn[n] for n, a in self._asked.items() if gate.name == f"gates of {a.key}")
        return self._random.integers(0, max(asked.options, 1), (SAMPLES, *asked.shape))

    def _content(self, heard: Heard) -> object:
        """An operation that compares, by its numbers."""
        if any(isinstance(a, Choice) for a in heard.given):
            return None
        seen = [self._digest(self._exact.value(a.step)) if isinstance(a, Symbol) else repr(a) for a in heard.given]
        return (heard.name, *seen)

    @staticmethod
    def _digest(values: np.ndarray) -> bytes:
        whole = np.broadcast_to(values, (SAMPLES, *values.shape[1:]))
        return hashlib.sha256(np.ascontiguousarray(whole).tobytes() + repr(values.shape).encode()).digest()

    def _compared(self, asked: _Asked, heard: Heard) -> np.ndarray:
        """A gate that is open where a value is above a threshold."""
        value: Symbol = heard.given[0]
        p, number = PRIMES[0], heard.number
        exact = (self._exact.value(value.step) - number.numerator * pow(number.denominator, -1, p)) % p
        rough = self._rough.value(value.step) - float(number)
        exact, rough = (np.broadcast_to(a, (SAMPLES, *a.shape[1:])).reshape(SAMPLES, -1) for a in (exact, rough))
        places, flipped = np.zeros(exact.shape[1], dtype=np.int64), np.zeros(exact.shape[1], dtype=bool)
        for j in range(exact.shape[1]):
            at = int((exact[:, j] != 0).argmax())
            scaled = exact[:, j] * pow(int(exact[at, j]) or 1, -1, p) % p
            largest = float(rough[at, j])
            places[j] = self._classes.setdefault(scaled.tobytes(), len(self._classes))
            if places[j] == len(self._patterns):
                self._signs.append(largest)
                bias = np.resize(BIASES, SAMPLES)
                self._patterns.append((self._random.random(SAMPLES) < bias).astype(np.int64))
            flipped[j] = largest * self._signs[places[j]] < 0
        gate = Gate(SHARED, asked.shape, 2, places.reshape(asked.shape), flipped.reshape(asked.shape))
        self._gates[asked.key] = gate
        drawn = (
            np.stack([self._patterns[k] for k in places], axis=1) if len(places) else np.zeros((SAMPLES, 0), np.int64)
        )
        return np.where(flipped, 1 - drawn, drawn).reshape(SAMPLES, *asked.shape)


def choices_of(gates: Mapping[str, Gate]) -> dict[str, tuple[Shape, int]]:
    """Shape and number of options of everything that gates choose from."""
    found = {g.name: (g.shape, g.options) for g in gates.values() if g.places is None}
    shared = [g.places.max() + 1 for g in gates.values() if g.places is not None and g.places.size]
    return found | ({SHARED: ((int(max(shared)),), 2)} if shared else {})


def realised(gates: Mapping[str, Gate], seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Patterns that a network has, in terms of its choices.

    Args:
        gates: of the network.
        seen: real gates by the network's names for them, shape `(patterns, *shape)`; those that nothing decides lack.
    """
    found: dict[str, np.ndarray] = {}
    for key, gate in gates.items():
        if key not in seen:
            continue
        if gate.places is None or gate.flipped is None:
            found.setdefault(gate.name, seen[key])
            continue
        (width,), _ = choices_of(gates)[SHARED]
        shared = found.setdefault(SHARED, np.zeros((len(seen[key]), width), dtype=np.int64))
        real = np.where(gate.flipped, 1 - seen[key], seen[key]).reshape(len(seen[key]), -1)
        shared[:, gate.places.ravel()] = real
    return found
