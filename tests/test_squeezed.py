"""A forward that squeezes a batch of one has its classes on the last axis, for every question."""

import pytest
import torch
from torch import nn

import lawful as lw


class Squeezed(nn.Module):
    """Two layers, whose output loses every axis of one entry."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.q = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output."""
        return self.q(self.f(x).relu()).squeeze()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_all_questions_answer(loss: str, rows: int) -> None:
    torch.manual_seed(0)
    module, x = Squeezed(), torch.randn(rows, 3)
    laws = lw.derive(module, loss, args=(x,))
    assert laws.verify(module, args=(x,)).verdict.passed
    assert lw.verify(module, loss=loss, args=(x,)).verdict.passed
    assert lw.count(module, loss, args=(x,)).laws == laws.independent == {"mse": 4, "cross_entropy": 9}[loss]
