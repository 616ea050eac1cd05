"""What is no fault, or may be meant: stopped and reversed gradients, state, what nothing sees; and odd sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from wrong_backwards import Product

from lawful.testing import assert_lawful

X = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(self.a(x).relu())


class Offset(Net):
    """Adds one number to all classes."""

    def __init__(self):
        super().__init__()
        self.c = nn.Linear(4, 1)

    def forward(self, x):
        return super().forward(x) + self.c(x)


def test_what_the_loss_cannot_see_is_zero_as_it_should_be() -> None:
    found = assert_lawful(Offset(), X, "cross_entropy")
    assert any("the loss does not see what it adds: c.weight, c.bias" in n for n in found.notes)
    assert {"c.weight", "c.bias"} <= set(assert_lawful(Offset(), X).vouched("reference"))


class Pairs(Product):
    """Its backward works on pairs of rows and leaves an odd last one out."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        even = len(x) // 2 * 2
        return g * w, (g * x)[:even].sum(0)


class Scaled(Net):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return self.b(Pairs.apply(self.a(x), self.w).relu())


def test_a_kernel_that_is_wrong_for_odd_sizes() -> None:
    with pytest.raises(AssertionError, match="the backward of Pairs") as error:
        assert_lawful(Scaled(), X)
    assert "parameter:  w (" in str(error.value)
    assert "wrong with one example more in the batch" in str(error.value)
    assert "written at: test_kit_design.py" in str(error.value)


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6)), nn.Linear(6, 6)

    def forward(self, x):
        a, b = self.body(x), self.body(x + 0.1)
        return -F.cosine_similarity(self.head(a), b.detach(), dim=-1).mean()


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -0.5 * g


class Domains(Net):
    def forward(self, x):
        h = self.a(x).relu()
        return self.b(h), self.b(Reversal.apply(h))


@pytest.mark.parametrize(
    ("make", "says", "name"),
    [(Twins, "a part is missing in 4 of 6", "detach"), (Domains, "the backward of Reversal", "Reversal")],
)
def test_gradients_that_may_be_meant_have_their_sentence(make: type[nn.Module], says: str, name: str) -> None:
    with pytest.raises(AssertionError, match=says) as error:
        assert_lawful(make(), X)
    assert "if meant:" in str(error.value) and "by_design=[" in str(error.value)
    assert assert_lawful(make(), X, by_design=[name]).verdict.passed


class Mean(Net):
    """Subtracts a running mean, which is made anew at every call."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        h = self.a(x)
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        return self.b(h - self.mean)


class Stale(Net):
    """Keeps a copy of its weight in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("copy", None)

    def forward(self, x):
        self.copy = self.a.weight.detach() * 2
        return self.b((x @ self.copy.T + self.a.bias).relu())


def test_state_is_told_from_a_stale_copy() -> None:
    assert assert_lawful(Mean(), X).verdict.passed
    with pytest.raises(AssertionError, match=r"parameter:  a\.weight"):
        assert_lawful(Stale(), X)


class Masked(Net):
    """A mask as language models write it: no number in float64, where float32 is cast to on the way."""

    def forward(self, x):
        scores = self.a(x)
        mask = torch.ones(8)
        return self.b((scores + ((1.0 - mask.float()) * torch.finfo(scores.dtype).min).to(scores.dtype)).softmax(-1))


class Tower(Net):
    def __init__(self):
        super().__init__()
        self.tower, self.empty = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), nn.Parameter(torch.zeros(0, 3))


def test_what_cannot_be_looked_at() -> None:
    assert assert_lawful(Masked(), X).verdict.passed
    with pytest.raises(AssertionError, match=r"tower \(all 4 parameters\): the forward never reads it") as error:
        assert_lawful(Tower(), X)
    assert "allow_untested=['tower']" in str(error.value)
    assert assert_lawful(Tower(), X, allow_untested=["tower"]).verdict.passed
