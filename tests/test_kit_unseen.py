"""What nobody can look into, measured by the slope of the whole loss: threads, nested tensors; and torch.cond."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.autograd import Function

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Towers(nn.Module):
    def __init__(self, between: object = torch.relu) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 3)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(lambda m: m(x), [self.a, self.b])
        return self.c(self.between(one + other))


class Half(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g / 2


def test_threads() -> None:
    found = assert_lawful(Towers(), X)
    assert len(found.vouched("derivative")) == 6 and not found.vouched("reference")
    assert "another thread" in str(found)
    with pytest.raises(AssertionError, match="not the slope of the loss") as error:
        assert_lawful(Towers(Half.apply), X)
    assert "4 of 6 trainable parameters have no witness" in str(error.value)


class Branches(Towers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x) + self.b(x)
        return self.c(torch.cond(h.sum() > 0, lambda h: h.tanh(), lambda h: h.sin(), (h,)))


def test_cond() -> None:
    found = assert_lawful(Branches(), X)
    assert len(found.vouched("reference")) == 6


class Ragged(Towers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.nested.nested_tensor([x[:3], x[3:]], layout=torch.jagged)
        return self.c((self.a(rows) + self.b(rows)).relu().values())


def test_nested_tensors() -> None:
    assert len(assert_lawful(Ragged(), X).vouched("derivative")) == 6
