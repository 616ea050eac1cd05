"""Operations that no rule covers, and outputs that nothing reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lawful.theory.gauge.rules import ChosenRule, CutRule, DiscardRule, MovedRule, OpaqueRule, Rule

from .base import Block, Net, Signal, Wiring
from .called import Call, Operation
from .joins import Split
from .run import Run


@dataclass(frozen=True, eq=False, repr=False)
class Opaque(Operation):
    """An operation that is known by what it computes only: no law crosses it.

    It is what tracing makes of an operation that it does not understand.

    Args:
        operation: its name.
        reads: number of streams that it reads.
        writes: the signals that it writes.
        shapes: shapes of the parameters that it uses by itself, by local name.
        call: computes the outputs from the inputs and the parameters; it is no plain data, so an architecture with an
            opaque block cannot be written as JSON.
        frozen: local names of parameters that training does not move.
        cut: whether no gradient comes back through it (`detach`, a comparison).
    """

    operation: str
    reads: int
    writes: tuple[Signal, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    call: Call | None = field(default=None, compare=False)
    frozen: tuple[str, ...] = ()
    cut: bool = False

    summary = "an operation without a rule"
    source = "nothing passes"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        own = tuple((names[local], shape) for local, shape in self.shapes)
        return CutRule(own) if self.cut else OpaqueRule(own)


@dataclass(frozen=True, eq=False, repr=False)
class Moved(Opaque):
    """Positions of its first port, moved or added up at places that the others give: edges of a graph, sorted tokens.

    Args:
        adds: whether some are added up, so that a constant comes out as often as there are terms.
        chooses: whether it gives the largest (or smallest) of some, or 0 where there are none, feature by feature.
    """

    adds: bool = False
    chooses: bool = False

    summary = "positions that data choose"
    source = "wire-balance theorem (lawful)"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        if self.chooses:
            return ChosenRule(mixes=True)
        return MovedRule(weights="uniform", keeps_constants=not self.adds, mixes=self.adds, repeats=True)


@dataclass(frozen=True, eq=False, repr=False)
class Discard(Block):
    """The end of a wire that nothing reads: a part of a map that a network computes and drops."""

    summary = "nothing reads it"
    source = "theory of wires: everything is unseen"

    @property
    def outputs(self) -> int:
        return 0

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return ()

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return DiscardRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        return ()

    @classmethod
    def examples(cls, signal: Signal) -> Sequence[Net]:
        """The first half of the features, the other one dropped."""
        half = signal.features // 2
        if signal.tokens or half < 2:
            return ()
        nodes: dict[str, Net] = {"halves": Split((half, signal.features - half)), "end": cls()}
        return (Wiring(nodes, {"halves": ("input",), "end": ("halves:1",)}, ("halves:0",)),)
