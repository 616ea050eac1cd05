"""The backward of an operator for other gradients than the one that comes in: larger ones, ones that others read."""

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


class Fused(Function):
    """A mean of squares that computes its gradient in the forward."""

    reads = True

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(2 * x / x.numel())
        return x.square().mean()

    @staticmethod
    def backward(ctx, g):
        (d,) = ctx.saved_tensors
        return g * d if Fused.reads else d


class Loss(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Fused.apply(self.a(x).tanh())


def test_a_fused_loss_that_ignores_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Loss(None)
    model.c.requires_grad_(False)
    assert assert_lawful(model, X).verdict.passed
    monkeypatch.setattr(Fused, "reads", False)
    with pytest.raises(AssertionError, match="the backward of Fused") as error:
        assert_lawful(model, X)
    assert "ignores the gradient that comes in" in str(error.value)
    assert "wrong for a loss that is divided" in str(error.value)


class Clipped(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g.clamp(-1, 1)


def test_a_gradient_that_is_clipped() -> None:
    with pytest.raises(AssertionError, match="not linear in the gradient") as error:
        assert_lawful(Net(Clipped.apply), X)
    assert "by_design=['Clipped']" in str(error.value)
    assert assert_lawful(Net(Clipped.apply), X, by_design=["Clipped"]).verdict.passed


class Sine(Function):
    inside = False

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g.mul_(x.cos()) if Sine.inside else g * x.cos()


@pytest.mark.parametrize("first", [False, True])
def test_a_backward_that_writes_into_its_gradient(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    def two(h: torch.Tensor) -> torch.Tensor:
        parts = [Sine.apply, torch.tanh]
        one, other = (f(h) for f in (parts if first else parts[::-1]))
        return one + other

    assert assert_lawful(Net(two), X).verdict.passed
    monkeypatch.setattr(Sine, "inside", True)
    if first:  # it is the last one to read the gradient, as in fused kernels
        assert "the backward of Sine writes into its gradient" in str(assert_lawful(Net(two), X))
        return
    with pytest.raises(AssertionError, match="operation:  the backward of Sine") as error:
        assert_lawful(Net(two), X)
    assert "it writes into the gradient that comes in" in str(error.value)
