"""A small network, and training loops with and without planted faults, for the tests of the ledger."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw

Hook = Callable[[nn.Module, torch.optim.Optimizer, int], Any]


class Backward(torch.autograd.Function):
    """The identity with a backward that is wrong by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.factor * g[0], None


class MLP(nn.Module):
    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2, self.fc3, self.fc4 = (
            nn.Linear(a, b, dtype=dtype) for a, b in ((4, 12), (12, 10), (10, 8), (8, 3))
        )
        self.after: dict[int, Callable[[torch.Tensor], torch.Tensor]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate((self.fc1, self.fc2, self.fc3)):
            x = self.after.get(i, lambda h: h)(F.relu(layer(x)))
        return self.fc4(x)


LAWS = lw.derive(MLP(), "cross_entropy", args=(torch.randn(5, 4, dtype=torch.float64),))


def train(
    optimizer: Callable[[nn.Module], Any],
    *,
    model: nn.Module | None = None,
    dtype: torch.dtype = torch.float64,
    steps: int = 30,
    plant: Callable[[MLP], Any] | None = None,
    penalty: Callable[[nn.Module], torch.Tensor] | None = None,
    between: Hook | None = None,
    outside: Hook | None = None,
    **options: Any,
) -> lw.Ledger:
    """Trains, and gives the ledger.

    Args:
        optimizer: makes the optimizer, or several, of a model.
        plant: called with the model before the first step.
        penalty: added to the loss.
        between: called after backward.
        outside: called after the step.
    """
    module = MLP(dtype) if model is None else model
    made = optimizer(module)
    many: Sequence[torch.optim.Optimizer] = made if isinstance(made, list) else [made]
    ledger = lw.Ledger(module, made, LAWS, **options)
    if plant:
        plant(module)
    generator = torch.Generator().manual_seed(1)
    for i in range(steps):
        x = torch.randn(16, 4, dtype=torch.float64, generator=generator).to(dtype)
        y = torch.randint(0, 3, (16,), generator=generator)
        for one in many:
            one.zero_grad()
        loss = F.cross_entropy(module(x), y)
        (loss if penalty is None else loss + penalty(module)).backward()
        if between:
            between(module, many[0], i)
        for one in many:
            one.step()
        if outside:
            outside(module, many[0], i)
    return ledger
