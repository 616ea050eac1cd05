"""What a forward pass may ask for besides its inputs: random gates, the mode, running statistics."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

import torch


@dataclass
class Run:
    """One forward pass.

    Attributes:
        axis: index of the feature axis of the block that runs (set for every block).
        training: whether normalisations use batch statistics and dropout draws.
        gates: free gates by name: activation patterns drawn as part of the data, so that the laws counted are those
            that hold for all parameters.  None means the real activations.
        recorded: shapes and sizes of the gates that were asked for, when `recording`.
        state: running statistics by name, updated in training; None keeps none.
    """

    axis: int = -1
    name: str = ""
    training: bool = True
    gates: Mapping[str, torch.Tensor] | None = None
    recording: bool = False
    recorded: dict[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    state: MutableMapping[str, torch.Tensor] | None = None

    def gate(self, x: torch.Tensor, options: int = 2) -> torch.Tensor | None:
        """An integer gate per element in `range(options)` as a tensor of x's dtype, or None for the real activation."""
        if self.recording:
            self.recorded[self.name] = (tuple(x.shape), options)
        if self.gates is None:
            return None
        return self.gates[self.name].to(x.dtype)


def draw_gates(
    recorded: Mapping[str, tuple[tuple[int, ...], int]], lead: tuple[int, ...], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Random gates, with extra leading axes (one set per sample)."""
    return {
        name: torch.randint(options, (*lead, *shape), generator=generator)
        for name, (shape, options) in recorded.items()
    }
