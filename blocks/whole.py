"""Operations that are known by their degrees: what scaling whole tensors does to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lawful.theory.gauge.rules import Rule, WholeRule

from .base import Block, ShapeError, Signal, Spec
from .pieces import in_pieces
from .run import Run

Call = Callable[[Sequence[torch.Tensor], Mapping[str, torch.Tensor]], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Whole(Block):
    """An operation that is homogeneous in each tensor it reads, and of which nothing else is known.

    It is what tracing makes of products, sums and maps that mix positions and features in a way that no finer rule
    covers: multiples of the identity pass, and the factors of parameters answer them.  `limits` of the laws name it.

    Args:
        operation: its name.
        reads: number of streams that it reads.
        writes: the signals that it writes.
        equations: sums of factors that are 0, see `WholeRule`.
        shapes: shapes of its parameters by local name.
        call: computes the outputs from the inputs and the parameters; it is no plain data, so an architecture with such
            a block cannot be written as JSON.
        narrow: whether more may pass than its rule lets through.
        frozen: local names of parameters that training does not move.

    Law: none of its own; `||w||^2` of its parameters enters the laws of the wires around it (wire-balance theorem).
    """

    operation: str
    reads: int
    writes: tuple[Signal, ...]
    equations: tuple[tuple[tuple[str, int], ...], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    call: Call | None = field(default=None, compare=False)
    narrow: bool = True
    frozen: tuple[str, ...] = ()

    portable = False
    summary = "homogeneous as a whole"
    source = "wire-balance theorem (lawful)"
    least = {"reads": 0}  # noqa: RUF012

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """As many ports as it reads streams."""
        return self.reads

    @property
    def outputs(self) -> int:
        return len(self.writes)

    @property
    def parameters(self) -> dict[str, Spec]:
        return {name: Spec(shape, 0.5) for name, shape in self.shapes}

    def output(self, *signals: Signal) -> Sequence[Signal]:
        return self.writes

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        own = tuple((names[local], shape) for local, shape in self.shapes)
        return WholeRule(self.equations, own, self.narrow)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if self.call is None:
            raise ShapeError(f"{self} does not say how it is computed; trace the module that it comes from")
        return in_pieces(self.call, run, x, p)

    def config(self) -> dict[str, Any]:
        """Its fields, without how it is computed."""
        return {k: v for k, v in super().config().items() if k != "call"}
