"""Straight-through estimators: what they pass on is theirs, but no transposed gradient is meant."""

import pytest
import torch
from torch import nn
from torch.autograd import Function

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Quantised(Function):
    turned = False

    @staticmethod
    def forward(ctx, x, w):
        q = (w * 8).round() / 8
        ctx.save_for_backward(x, q)
        return x @ q.T

    @staticmethod
    def backward(ctx, g):
        x, q = ctx.saved_tensors
        return g @ q, x.T @ g if Quantised.turned else g.T @ x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.c, self.w = nn.Linear(5, 6), nn.Linear(6, 3), nn.Parameter(torch.randn(6, 6) / 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(Quantised.apply(self.a(x), self.w))


def test_a_transposed_straight_through_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    found = assert_lawful(Net(), X)
    assert "w" not in found.vouched("reference") and "a.weight" in found.vouched("reference")
    monkeypatch.setattr(Quantised, "turned", True)
    with pytest.raises(AssertionError, match="the backward of Quantised") as error:
        assert_lawful(Net(), X)
    assert "transposed, beside its own rounding passed through" in str(error.value)
    assert "1 of 6 parameters" in str(error.value) or "1 of 5 parameters" in str(error.value)
