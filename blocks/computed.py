"""What a traced module computes of its inputs alone, as one block without parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lawful.theory.gauge.rules import ComputedRule, Rule
from lawful.theory.gauge.spans import Span

from .base import Block, Signal
from .run import Run

Call = Callable[[Sequence[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Computed(Block):
    """A function of the network's inputs: no gauge acts on it, and what it can give at all is measured.

    Args:
        operation: the name of its last call.
        reads: number of inputs that it reads.
        writes: the signal that it gives.
        call: computes it from the inputs; it is no plain data, so an architecture with such a block cannot be written
            as JSON.
    """

    operation: str
    reads: int
    writes: Signal
    call: Call | None = field(default=None, compare=False)

    portable = False
    summary = "computed of the inputs alone"
    source = "theory of wires: S = 0, t = 0"

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """As many ports as it reads inputs."""
        return self.reads

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return (self.writes,)

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        return ComputedRule((Span(),))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        assert self.call is not None
        return self.call(x)

    def config(self) -> dict[str, Any]:
        """Its fields, without how it is computed."""
        return {k: v for k, v in super().config().items() if k != "call"}
