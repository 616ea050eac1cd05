"""Rotations: wires that may turn although no symmetric matrix may act on them.

A rotation is its own inverse transpose, so writers and readers answer alike.  Its generators are skew: they are no
gradient, and give a law under momentum only (`theory/flows/skew.py`, where the rules and their sources are).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial

import torch

from lawful.theory.derive.lawset import LawSet
from lawful.theory.flows import FlowLaw
from lawful.theory.flows.kinds import Momentum
from lawful.theory.flows.momentum import momentum_laws
from lawful.theory.flows.rotations import Rotations
from lawful.theory.flows.skew import Skew
from lawful.theory.gauge.solution import Solution
from lawful.theory.laws.proof import Proof
from lawful.theory.laws.statement import Part

from .element import Element
from .moves import Move
from .running import Setting
from .symmetry import Symmetry

STILL = "a row whose gradient is stopped turns with the others, which training does not do to it"
WHY = "the generators of rotations are skew, and no gradient; training with momentum keeps their angular momentum"


def rotations(solution: Solution, laws: LawSet, known: Sequence[Symmetry], setting: Setting) -> Iterator[Symmetry]:
    """The rotations of all classes of wires that no general linear group contains."""
    skew = Skew(solution.drawn, trained=False)
    trained = {w for wires in Skew(solution.drawn).classes for w in wires}

    angular = Angular(solution, laws)
    contained = [_reads(s.moves) for s in known if s.group == "general linear"]
    for wires in skew.classes:
        turns = skew.rotations(wires[0])
        kept, moves = _moves(solution, skew, wires)
        if not moves or any(_reads(moves) <= reads for reads in contained):
            continue
        wire = solution.drawn.wires[wires[0]].name
        yield Symmetry(
            f"rotations of {wire}",
            "unit complex" if turns.width == 2 else "orthogonal",
            (*kept, turns.width, turns.width),
            moves,
            ("free",) * len(kept) + ("matrix",),
            "matrix",
            partial(angular.of, wire),
            WHY if set(wires) <= trained else STILL,
            partial(_prove, wire, turns, solution, wires),
            partial(_make, kept, turns),
            partial(_exponential, turns),
            setting,
        )


def _reads(moves: Iterable[Move]) -> set[tuple[str, tuple[int, ...]]]:
    return {(m.part.parameter, m.part.view.order) for m in moves}


def _moves(solution: Solution, skew: Skew, wires: Sequence[int]) -> tuple[tuple[int, ...], tuple[Move, ...]]:
    """The leading axes of an element, and how every parameter on the wires answers."""
    moves: list[Move] = []
    lead: tuple[int, ...] = ()
    for w in wires:
        turns, size = skew.rotations(w), solution.drawn.wires[w].size
        dims = (turns.groups // turns.strided, turns.copies, turns.width, turns.strided)
        lead = tuple(n for n in (dims[0], dims[3]) if n > 1)
        outer = 0 if dims[0] > 1 else -1
        inner = (dims[0] > 1) if dims[3] > 1 else -1
        axes = (outer, -1, len(lead), int(inner))
        for use in skew.uses():
            for axis, ends in enumerate(use.axes):
                if ends[0][0] == w:
                    part = Part(use.parameter, use.views[axis], (size,), ((0, size),), dims, axes, use.offset)
                    moves.append(Move(part))
    return lead, tuple(moves)


def _exponential(turns: Rotations, s: torch.Tensor) -> Element:
    a = (s - s.transpose(-1, -2)) / 2
    if turns.still:
        a = a - a.mean(-1, keepdim=True)
        a = a - a.mean(-2, keepdim=True)
    return Element("matrix", torch.linalg.matrix_exp(a))


class Angular:
    """The angular momenta of a network, derived when one is asked for."""

    def __init__(self, solution: Solution, laws: LawSet) -> None:
        self.solution = solution
        self.laws = laws

    @cached_property
    def found(self) -> dict[str, FlowLaw]:
        """By their names."""
        found, _ = momentum_laws(self.solution, self.laws, Momentum())
        return {law.name: law for law in found if law.kind == "angular"}

    def of(self, wire: str) -> FlowLaw | None:
        """The law that training with momentum has on a wire."""
        return self.found.get(f"angular momentum of {wire}")


def _make(kept: tuple[int, ...], turns: Rotations, generator: torch.Generator) -> Element:
    shape = (*kept, turns.width, turns.width)
    return _exponential(turns, 2 * torch.randn(shape, generator=generator, dtype=torch.float64) / turns.width**0.5)


def _prove(wire: str, turns: Rotations, solution: Solution, wires: Sequence[int]) -> Proof:
    near = [s for s in solution.drawn.sites if set(wires) & set(s.wires)]
    steps = tuple(Proof(f"rule of {s.name}", s.rule.statement) for s in near)

    def check() -> bool:
        again = Skew(solution.drawn, trained=False)
        return any(set(ws) == set(wires) for ws in again.classes) and again.rotations(wires[0]) == turns

    claim = f"every block on {wire} passes a rotation on or its parameters undo it"
    return Proof("rotations", claim, "theory/flows/skew.py", (*steps, Proof("classes", "solved again", check=check)))
