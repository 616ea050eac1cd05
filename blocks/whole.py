"""Operations that are known by their degrees: what scaling whole tensors does to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lawful.theory.gauge.rules import Rule, WholeRule

from .base import Signal
from .called import Call, Operation


@dataclass(frozen=True, eq=False, repr=False)
class Whole(Operation):
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

    summary = "homogeneous as a whole"
    source = "wire-balance theorem (lawful)"

    def rule(self, names: Mapping[str, str], inputs: Sequence[Signal], outputs: Sequence[Signal]) -> Rule:
        own = tuple((names[local], shape) for local, shape in self.shapes)
        return WholeRule(self.equations, own, self.narrow)
