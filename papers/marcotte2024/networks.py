"""Networks and digits that several parts share."""

from __future__ import annotations

import torch
from torch import Tensor

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions import flows as f

from .. import data

ENTROPY = f.Mirror({"*": "entropy"})


def linear(n: int, r: int, m: int) -> Architecture:
    """Two linear maps; the factors of NMF, too."""
    return Architecture(b.Linear(n, r, bias=False) >> b.Linear(r, m, bias=False))


def convex(n: int, hidden: int, m: int) -> Architecture:
    """An input convex network: its last weights are positive."""
    return Architecture(b.Linear(n, hidden) >> b.ReLU() >> b.Linear(hidden, m, bias=False))


def small_digits(many: int) -> tuple[Tensor, Tensor]:
    """Digits of scikit-learn as rows of 64 pixels in [0, 1], and their classes as one-hot rows."""
    x, y = data.digits()
    return (x[:many].flatten(1) + 1) / 2, torch.nn.functional.one_hot(y[:many], 10).double()


def squared(output: Tensor, y: Tensor) -> Tensor:
    """The squared loss."""
    return (output - y).square().sum() / (2 * len(y))
