"""What is rough, and right: numbers that are rounded on purpose, drawn by a law of their own, or laid out with gaps."""

import pytest
import torch
from torch import nn
from torch.autograd import Function

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, middle: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.c, self.middle = nn.Linear(5, 6), nn.Linear(6, 3), middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.middle(self.a(x)))


class Thrice(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * (1 - x.tanh() ** 2)


def in_bins(h: torch.Tensor) -> torch.Tensor:
    table = torch.linspace(-1, 1, 40, dtype=h.dtype) ** 2
    bins = (h.sigmoid() * 30).floor()
    return h + table[bins.long()] + torch.remainder((h * 1e6).floor(), 2)


def test_bins_blind_no_witness() -> None:
    found = assert_lawful(Net(in_bins), X)
    assert found.vouched("reference") == ["a.weight", "a.bias", "c.weight", "c.bias"]
    with pytest.raises(AssertionError, match="the backward of Thrice"):
        assert_lawful(Net(lambda h: Thrice.apply(in_bins(h))), X)


class Rows(Function):
    """The rows of a table, with a sparse gradient."""

    factor = 1.0

    @staticmethod
    def forward(ctx, ids, table):
        ctx.save_for_backward(ids)
        ctx.shape = table.shape
        return table[ids]

    @staticmethod
    def backward(ctx, g):
        (ids,) = ctx.saved_tensors
        return None, torch.sparse_coo_tensor(ids.reshape(1, -1), Rows.factor * g.reshape(ids.numel(), -1), ctx.shape)


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.c = nn.Parameter(torch.randn(7, 6)), nn.Linear(6, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.c(Rows.apply(ids, self.table).tanh())


def test_a_backward_that_gives_a_sparse_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.arange(12).reshape(3, 4) % 7
    assert assert_lawful(Table(), ids).verdict.passed
    monkeypatch.setattr(Rows, "factor", 2.0)
    with pytest.raises(AssertionError, match="2 times too large"):
        assert_lawful(Table(), ids)


def test_a_result_with_gaps_in_memory() -> None:
    assert assert_lawful(Net(lambda h: torch.linalg.lstsq(h, h.sin()).solution[:1] + h), X).verdict.passed


@pytest.mark.parametrize("kind", ["Gamma", "Beta", "Dirichlet"])
def test_reparametrised_samples(kind: str) -> None:
    def draw(h: torch.Tensor) -> torch.Tensor:
        many = [nn.functional.softplus(h) + 0.5, 1 + h.abs()][: 1 if kind == "Dirichlet" else 2]
        return getattr(torch.distributions, kind)(*many).rsample()

    found = assert_lawful(Net(draw), X)
    assert len(found.vouched("reference")) == 4


class Prompt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.linspace(-1, 1, 12).reshape(4, 3))

    def forward(self) -> torch.Tensor:
        return self.p.tanh()


def test_a_forward_without_inputs() -> None:
    assert assert_lawful(Prompt()).vouched("reference") == ["p"]
    with pytest.raises(ValueError, match="needs example inputs"):
        assert_lawful(nn.Linear(2, 2))


class Stochastic(Function):
    """Rounded up or down by chance, straight through."""

    @staticmethod
    def forward(ctx, x):
        return torch.floor(x * 16 + torch.rand_like(x)) / 16

    @staticmethod
    def backward(ctx, g):
        return g


class Named(torch.Tensor):
    """Another class, of plain memory."""


def test_chance_in_an_estimator_and_a_class_of_tensors() -> None:
    found = assert_lawful(Net(Stochastic.apply), X)
    assert len(found.vouched("reference")) == 4 and "straight-through gradient" in str(found)
    found = assert_lawful(Net(lambda h: h.as_subclass(Named).relu().as_subclass(torch.Tensor)), X)
    assert len(found.vouched("reference")) == 4
