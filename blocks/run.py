"""What a forward pass may ask for besides its inputs: activation patterns, noise, the mode, running statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch

Tap = Callable[[torch.Tensor, torch.Tensor, int, Any], torch.Tensor]  # see `Run.taps`


@dataclass
class Run:
    """One forward pass.

    Attributes:
        axis: index of the feature axis of the block that runs (set for every block).
        name: of the block that runs (set for every block).
        training: whether normalisations use batch statistics and dropout draws.
        gates: gates by name: activation patterns that are part of the data, so that the laws counted are those that
            hold for all parameters.  None means the real activations.
        recording: whether to note which gates are asked for.
        recorded: shapes and sizes of the gates that were asked for, when `recording`.
        observing: whether to note the real pattern of every gate that is not given.
        seen: these patterns by name, when `observing`; never those of noise, which nothing decides.
        state: running statistics by name, updated in training; None keeps none.
        taps: observers by name of a block: each gets what the block reads and writes, the feature axis and the block,
            and gives the same numbers back.
    """

    axis: int = -1
    name: str = ""
    training: bool = True
    gates: Mapping[str, torch.Tensor] | None = None
    recording: bool = False
    recorded: dict[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    observing: bool = False
    seen: dict[str, torch.Tensor] = field(default_factory=dict)
    state: MutableMapping[str, torch.Tensor] | None = None
    taps: Mapping[str, Tap] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)

    def next_gate(self) -> str:
        """The name of the next gate that the block asks for."""
        at = self._asked.get(self.name, 0)
        self._asked[self.name] = at + 1
        return f"{self.name}:{at}" if at else self.name

    def gate(
        self, x: torch.Tensor, options: int = 2, real: Callable[[], torch.Tensor] | None = None
    ) -> torch.Tensor | None:
        """An integer gate per element in `range(options)` as a tensor of x's dtype, or None for the real activation.

        Args:
            x: a tensor with the shape and dtype of the gate.
            options: number of pieces; 0 where a gate can be observed but not drawn.
            real: the gate that the values of this pass give; None for noise.
        """
        key = self.next_gate()
        if self.recording and options:
            self.recorded[key] = (tuple(x.shape), options)
        if self.gates is not None and key in self.gates:
            return self.gates[key].to(x.dtype)
        if not self.observing or real is None:
            return None
        self.seen[key] = real().detach().long()
        return self.seen[key].to(x.dtype)


def draw_gates(
    recorded: Mapping[str, tuple[tuple[int, ...], int]], lead: tuple[int, ...], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Random gates, with extra leading axes (one set per sample)."""
    return {
        name: torch.randint(options, (*lead, *shape), generator=generator)
        for name, (shape, options) in recorded.items()
    }
