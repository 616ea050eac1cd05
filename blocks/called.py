"""Blocks that keep the call that they stand for: what tracing makes of operations that no block describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .base import Block, ShapeError, Signal, Spec
from .pieces import in_pieces
from .run import Run

Call = Callable[[Sequence[torch.Tensor], Mapping[str, torch.Tensor]], Any]


class Called(Block):
    """A block that runs its `call`, which is no plain data, so that no file can hold it.

    Attributes:
        call: computes the outputs from the inputs and the parameters.
    """

    call: Call | None
    portable = False

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Run) -> Any:
        if self.call is None:
            raise ShapeError(f"{self} does not say how it is computed; trace the module that it comes from")
        return in_pieces(self.call, run, x, p)

    def config(self) -> dict[str, Any]:
        """Its fields, without how it is computed."""
        return {k: v for k, v in super().config().items() if k != "call"}


class Operation(Called):
    """A call with any number of ports and with parameters of its own.

    Attributes:
        reads: number of streams that it reads.
        writes: the signals that it writes.
        shapes: shapes of its parameters by local name.
    """

    reads: int
    writes: tuple[Signal, ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
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
