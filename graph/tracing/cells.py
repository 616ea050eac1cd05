"""Recurrent cells as plain sums and products where examples are mapped over: torch maps no cell, it runs a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Tensor = torch.Tensor


class PlainCells(TorchFunctionMode):
    """Runs every recurrent cell by calls that torch can map over."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        cell = CELLS.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if cell is None else cell(*args, **(kwargs or {}))


def _sums(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor | None, c: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.nn.functional.linear(x, w, b), torch.nn.functional.linear(h, u, c)


def gru_cell(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor | None = None, c: Tensor | None = None) -> Tensor:
    """`torch.gru_cell`."""
    (r1, z1, n1), (r2, z2, n2) = (s.chunk(3, -1) for s in _sums(x, h, w, u, b, c))
    new = torch.tanh(n1 + torch.sigmoid(r1 + r2) * n2)
    return new + torch.sigmoid(z1 + z2) * (h - new)


def lstm_cell(
    x: Tensor, states: Sequence[Tensor], w: Tensor, u: Tensor, b: Tensor | None = None, c: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`torch.lstm_cell`."""
    i, f, g, o = sum(_sums(x, states[0], w, u, b, c)).chunk(4, -1)
    memory = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def rnn_tanh_cell(
    x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor | None = None, c: Tensor | None = None
) -> Tensor:
    """`torch.rnn_tanh_cell`."""
    return torch.add(*_sums(x, h, w, u, b, c)).tanh()


def rnn_relu_cell(
    x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor | None = None, c: Tensor | None = None
) -> Tensor:
    """`torch.rnn_relu_cell`."""
    return torch.add(*_sums(x, h, w, u, b, c)).relu()


CELLS = {f.__name__: f for f in (gru_cell, lstm_cell, rnn_tanh_cell, rnn_relu_cell)}

__all__ = ["PlainCells"]
