"""Where gradients stop in ways that no `detach()` shows: a new parameter, a frozen layer, an output, a decorator."""

import pytest
import torch
from torch import nn
from torch.autograd import Function

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.d, self.c = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.middle(self.a(x)))


class Renewed(Net):
    def middle(self, h: torch.Tensor) -> torch.Tensor:
        w = self.d.weight / self.d.weight.norm(dim=1, keepdim=True)
        w = nn.Parameter(w)
        return h @ w.T + self.d.bias


class Frozen(Net):
    def middle(self, h: torch.Tensor) -> torch.Tensor:
        self.d.requires_grad_(False)
        y = self.d(h)
        self.d.requires_grad_(True)
        return y


class Unit(Function):
    @staticmethod
    def forward(ctx, x):
        n = x.norm(dim=-1, keepdim=True)
        ctx.save_for_backward(x, n)
        ctx.mark_non_differentiable(n)
        return x / n, n

    @staticmethod
    def backward(ctx, g, _):
        x, n = ctx.saved_tensors
        u = x / n
        return (g - u * (g * u).sum(-1, keepdim=True)) / n


class Marked(Net):
    def middle(self, h: torch.Tensor) -> torch.Tensor:
        unit, size = Unit.apply(self.d(h))
        return unit * size.log1p()


class Detached(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.d(self.a(x))).detach()


class Decorated(Net):
    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.d(self.a(x)))


@pytest.mark.parametrize(
    ("kind", "why", "line"),
    [
        (Renewed, "a new nn.Parameter() of what was computed", "h @ w.T"),
        (Frozen, "requires_grad_(False) in the forward", "y = self.d(h)"),
        (Marked, "mark_non_differentiable() in the forward of Unit", "Unit.apply(self.d(h))"),
        (Detached, "detach() or .data", ".detach()"),
        (Decorated, "a no_grad region", "@torch.no_grad()"),
    ],
)
def test_cuts_are_named(kind: type[Net], why: str, line: str) -> None:
    with pytest.raises(AssertionError, match="gradients stop at 1 place") as error:
        assert_lawful(kind(), X)
    stopped = next(row for row in str(error.value).splitlines() if "stopped by" in row)
    assert why in stopped and line in stopped
    name = str(error.value).partition("by_design=['")[2].partition("'")[0]
    assert assert_lawful(kind(), X, by_design=[name], allow_untested=["a", "d", "c"]).verdict.name
