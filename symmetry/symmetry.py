"""A transformation of the weights that leaves a network's function unchanged, as an object that acts.

This file is long because whatever is asked of a transformation is asked of this one object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch

from lawful.blocks import ShapeError
from lawful.theory.arguments import of_right_kinds, plural
from lawful.theory.flows import FlowLaw
from lawful.theory.laws.law import Law
from lawful.theory.laws.pages import Printed
from lawful.theory.laws.proof import Proof
from lawful.theory.parts import base
from lawful.theory.typed import typed_methods
from lawful.theory.verdict import Verdict

from .element import Element
from .given import ELEMENT, WAYS, expect_shapes
from .models import of_model, write
from .moves import Move, Stack, moved, restacked
from .running import Setting, Tensors, distance, outputs, tensors_of

Model = TypeVar("Model", torch.nn.Module, dict[str, torch.Tensor])

TOLERANCE = 1e-9  # relative, in float64: rounding of a deep network is smaller
STATISTICS = ("running_mean", "running_var")
CONTROLS = 3  # moves that are left out, each by itself
ROUNDS = 6  # of other inputs, elements and moves that are left out, while no wrong element is seen
MOVED = (
    3  # rounds after which the network's own weights move too: an expert that none of them chooses is seen at others
)
VISIBLE = 1e-7  # what a wrong element changes an output by at least, if the test sees it at all


@dataclass(frozen=True, repr=False)
class Verified(Printed):
    """The outcome of trying a symmetry on a network.

    Attributes:
        verdict: `HOLDS` if the outputs stay and a wrong element changes them; `VIOLATED` if they change; `VACUOUS` if a
            wrong element changes nothing either; `UNDECIDED` where outputs are not numbers.
        error: largest relative change of an output in float64.
        control: the same for a wrong element, to which one parameter did not answer (the most visible of a few); where
            that is never seen, for all that answer scaled unevenly.
    """

    verdict: Verdict
    error: float
    control: float

    def __str__(self) -> str:
        return f"{self.verdict}: outputs change by {self.error:.1e}, under a wrong element by {self.control:.1e}"


@typed_methods(ways=WAYS | ELEMENT, leave=("__init__",))
@dataclass(frozen=True, eq=False, repr=False)
@of_right_kinds
class Symmetry(Printed):
    """A group of transformations of the parameters under which the network computes the same function.

    Attributes:
        name: unique within its list.
        group: `general linear`, `orthogonal`, `unit complex`, `positive diagonal`, `scalar`, `shift`, `permutation`,
            `signs`, ...
        shape: shape of an element; leading axes of matrices are heads or groups, each with a matrix of its own.
        moves: every parameter that answers, with axis, slice and degree.
        kinds: what every axis of an element is.
        kind: how elements act (see `Element`).
        find: finds its law, when that is asked for.
        why: the reason where there is no law.
        proof: why the function does not change.
        make: from normal numbers to an element.
        exponential: from a generator (a symmetric matrix, logarithms of factors, a shift) to an element.
        setting: the network that it belongs to.
        stacks: parameters of branches that change places as wholes (experts in a list).
    """

    name: str
    group: str
    shape: tuple[int, ...]
    moves: tuple[Move, ...]
    kinds: tuple[str, ...]
    kind: str
    find: Callable[[], Law | FlowLaw | None] = field(repr=False)
    why: str
    prove: Callable[[], Proof] = field(repr=False)
    make: Callable[[torch.Generator], Element] = field(repr=False)
    exponential: Callable[[torch.Tensor], Element] | None = field(repr=False)
    setting: Setting = field(repr=False)
    stacks: tuple[Stack, ...] = ()

    @cached_property
    def law(self) -> Law | FlowLaw | None:
        """What training conserves because of it; of rotations what training with momentum does; None if nothing."""
        return self.find()

    @property
    def lawful(self) -> bool:
        """Whether gradient flow conserves something because of it."""
        return self.kind in ("scale", "shift") or (self.kind == "matrix" and not self.why)

    @property
    def proof(self) -> Proof:
        """The derivation, as a tree of theorems with their hypotheses."""
        return self.prove()

    @property
    def count(self) -> int:
        """Number of scalar laws behind it; none for permutations, signs and rotations."""
        return self.law.count if isinstance(self.law, Law) else 0

    @property
    def writers(self) -> tuple[Move, ...]:
        """What moves by the element."""
        return tuple(m for m in self.moves if m.power > 0)

    @property
    def readers(self) -> tuple[Move, ...]:
        """What answers by its inverse."""
        return tuple(m for m in self.moves if m.power < 0)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Paths of the parameters (and running statistics) that answer, each once."""
        parts = (p for m in self.moves for p in (m.part, m.partner) if p is not None)
        stacked = (n for s in self.stacks for n in s.parameters)
        return tuple(dict.fromkeys((*(base(p.parameter) for p in parts), *stacked)))

    def random(self, generator: torch.Generator | None = None) -> Element:
        """A random element, in float64, at a moderate distance from the identity."""
        return self.make(generator or torch.Generator().manual_seed(0))

    def exp(self, generator: torch.Tensor) -> Element:
        """The element of a generator: logarithms of the factors, a symmetric matrix, a shift.

        Args:
            generator: shape `shape`; what the group has no direction for is projected out.

        Raises:
            ValueError: for another shape, and for a group without generators.
        """
        if self.exponential is None:
            raise ValueError(f"{self.group} is a finite group without generators; use element(...)")
        if tuple(generator.shape) != self.shape:
            raise ValueError(f"{self.name} has generators of shape {self.shape}, got {tuple(generator.shape)}")
        return self.exponential(generator.double())

    def element(self, value: torch.Tensor) -> Element:
        """An element from its factors, matrices, indices or signs, checked to be one.

        Args:
            value: shape `shape`: positive factors, invertible matrices, shifts, permutations of `range(n)`, or signs.

        Raises:
            ValueError: for what is no element of the group.
        """
        wrong = _wrong(self, value)
        if wrong:
            raise ValueError(f"no element of {self.name} ({self.group} of shape {self.shape}): {wrong}")
        return Element(self.kind, value.long() if self.kind == "permutation" else value.double())

    def changed(self, tensors: Mapping[str, torch.Tensor], element: Element) -> Tensors:
        """The parameters that change, by name.

        Raises:
            KeyError: if a parameter is missing.
            ShapeError: for a model of other shapes, and an element of another group.
        """
        found = tensors_of(tensors, self.setting.aliases)
        expect_shapes(self.parameters, found, self.setting)
        shape = self.shape
        if self.group == "joint linear":
            shape = (sum(shape),) * 2
        elif self.group == "complex linear":  # as a real matrix: real and imaginary parts
            shape = (*shape[:-2], 2 * shape[-2], 2 * shape[-1])
        if element.kind != self.kind or tuple(element.value.shape) != shape:
            raise ShapeError(
                f"{self.name} acts by a {self.kind} of shape {shape}, and the element is a {element.kind} of "
                f"shape {tuple(element.value.shape)}; {ELEMENT['element']}"
            )
        wide = {n: _wide(found[n]) for n in self.parameters}
        new = _answers(self, (*self.moves, *self.stacks), element, wide)
        return {n: t.to(found[n].dtype) for n, t in new.items()}

    def apply(self, model: Model, element: Element, in_place: bool = False) -> Model:
        """The model after an element of the group.

        Args:
            model: a module or a dict of tensors, which gives one of the same kind.
            element: from `random`, `exp` or `element`; its inverse is `element.inverse`, products are `g @ h`.
            in_place: change the model itself.

        Raises:
            ValueError: for what has no parameters (a TypeError for entries that are no tensors), for parameters of
                other shapes, and for an element of another group.
            KeyError: if a parameter is missing.
        """
        return write(model, self.changed(tensors_of(model), element), self.setting.aliases, in_place)

    def verify(
        self,
        model: torch.nn.Module | Mapping[str, torch.Tensor] | None = None,
        element: Element | None = None,
        seed: int = 0,
    ) -> Verified:
        """Tries an element on the network: its outputs must stay, and a wrong element must change them.

        Runs in float64 whatever the module's own type is, in the mode that it is in, on random inputs.  While no wrong
        element changes an output, other inputs are drawn and other parameters left out; the network itself is tried at
        other weights as well.

        Args:
            model: a module of the same class with other weights, or a dict of tensors; by default the network itself
                (an architecture gets random parameters).
            element: the element; a random one by default.
            seed: of the element, the inputs and random parameters.
        """
        generator = torch.Generator().manual_seed(seed)
        setting, tensors = of_model(self.setting, model, generator)
        error = seen = 0.0
        for i in range(ROUNDS):
            if i >= MOVED and model is None:
                tensors = of_model(self.setting, None, generator, everywhere=True)[1]
            given = element or self.random(generator)
            wrong = _wrong_answers(self, tensors, given, i)
            if i == ROUNDS - 1:  # each parameter may answer by itself: then all that answer are scaled unevenly
                wrong.append({n: tensors[n] * _uneven(tensors[n]) for n in self.parameters})
            changes = [self.changed(tensors, given), *wrong]
            start, right, *controls = outputs(setting, [tensors, *(tensors | c for c in changes)], seed + i)
            errors = [error, distance(start, right), seen, *(distance(start, c) for c in controls)]
            if any(e != e for e in errors):
                error = seen = float("nan")
                break
            error, seen = max(errors[:2]), max(errors[2:])
            if error > TOLERANCE or seen > VISIBLE:
                break
        if error != error:
            verdict = Verdict.UNDECIDED
        elif error > TOLERANCE:
            verdict = Verdict.VIOLATED
        else:
            verdict = Verdict.HOLDS if seen > VISIBLE else Verdict.VACUOUS
        return Verified(verdict, error, seen)

    def __repr__(self) -> str:
        return f"<Symmetry {self.name}: {self.group} {self.shape}, moves {plural(len(self.parameters), 'parameter')}>"

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.group} of shape {self.shape}"]
        lines += [f"  by the element: {m}" for m in self.writers]
        answer = "by its inverse" if self.kind in ("scale", "matrix") else "with them"
        lines += [f"  {answer}: {m}" for m in self.readers]
        lines += [f"  with them: {s}" for s in self.stacks]
        if isinstance(self.law, Law):
            conserved = self.law.text
        elif self.law is not None:
            conserved = f"with momentum {self.law.formula}"
        else:
            conserved = f"nothing, since {self.why}"
        return "\n".join([*lines, f"  conserved: {conserved}"])


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in a type that products can be made in."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _wrong_answers(symmetry: Symmetry, tensors: Tensors, element: Element, turn: int) -> list[Tensors]:
    """Wrong changes: one move is left out; where nothing answers anything, all else is scaled unevenly.

    The moves that change most come first, others in later turns.
    """
    found = tensors_of(tensors, symmetry.setting.aliases)
    steps: tuple[Move | Stack, ...] = (*symmetry.moves, *symmetry.stacks)
    if len(steps) < 2 or symmetry.kind == "shift":
        floats = {n: t for n, t in found.items() if t.is_floating_point()}
        others = {n: t for n, t in floats.items() if n not in symmetry.parameters} or floats
        return [{n: t * _uneven(t) for n, t in others.items()}]
    sizes = []
    for i, step in enumerate(steps):
        one = _answers(symmetry, (step,), element, found)
        change = sum(float((t - found[n]).norm()) for n, t in one.items())
        sizes.append((all(n.endswith(STATISTICS) for n in one), -change, i))
    order = [i for *_, i in sorted(sizes)]
    skipped = dict.fromkeys(order[(turn * CONTROLS + i) % len(order)] for i in range(CONTROLS))
    return [_answers(symmetry, steps[:i] + steps[i + 1 :], element, found) for i in skipped]


def _answers(symmetry: Symmetry, steps: Sequence[Move | Stack], element: Element, tensors: Tensors) -> Tensors:
    """The tensors that change where some parameters of a symmetry answer."""
    new = moved(tuple(s for s in steps if isinstance(s, Move)), symmetry.kinds, element, tensors)
    for stack in (s for s in steps if isinstance(s, Stack)):
        new |= restacked(stack, element, tensors | new)
    return new


def _uneven(tensor: torch.Tensor) -> torch.Tensor:
    return (1.5 + torch.cos(torch.arange(tensor.numel()).double() ** 2)).reshape(tensor.shape).to(tensor)


def _wrong(symmetry: Symmetry, value: torch.Tensor) -> str:
    """What is wrong with an element that a user gives; empty if nothing is."""
    shape = tuple(value.shape)
    if (symmetry.kind == "matrix" and symmetry.group != "general linear") or symmetry.kinds.count("traceless"):
        return "its elements have a form of their own; use exp(generator)"
    if shape != symmetry.shape:
        return f"it has the shape {shape}"
    if not bool(torch.isfinite(value.double()).all()):
        return "it is not finite"
    if symmetry.kind == "scale" and not bool((value > 0).all()):
        return "factors must be positive"
    if symmetry.kind == "signs" and not bool((value.abs() == 1).all()):
        return "signs are 1 or -1"
    if symmetry.kind == "permutation" and not torch.equal(
        value.long().sort(-1).values, torch.arange(shape[-1]).expand(shape)
    ):
        return f"it is no permutation of 0 to {shape[-1] - 1}"
    if symmetry.kind == "matrix":
        if any(abs(m.power) != 1 for m in symmetry.moves):
            return "its readers have several degrees; use exp(generator)"
        if not bool((torch.linalg.matrix_rank(value.double()) == shape[-1]).all()):
            return "the matrix is singular"
    return ""
