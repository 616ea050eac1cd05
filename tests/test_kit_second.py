"""A second step: what is stale by then, adapters that start at zero, and inputs that saturate every unit."""

import random
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.c, self.middle = nn.Linear(5, 6), nn.Linear(6, 3), middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.middle(self.a(x)))


class Kept(Function):
    """A linear map whose backward reads a transposed weight that the module keeps."""

    @staticmethod
    def forward(ctx, x, w, module):
        if module.turned is None or not module.once:
            module.turned = w.detach().t().contiguous()
        ctx.module = module
        ctx.save_for_backward(x)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g @ ctx.module.turned.t(), g.t() @ x, None


class Keeps(nn.Module):
    def __init__(self, once: bool) -> None:
        super().__init__()
        self.w, self.turned, self.once = nn.Parameter(torch.randn(6, 6) / 2), None, once

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Kept.apply(x, self.w, self)


def test_a_weight_of_the_first_step() -> None:
    assert assert_lawful(Net(Keeps(once=False)), X).verdict.passed
    with pytest.raises(AssertionError, match="the backward of Kept") as error:
        assert_lawful(Net(Keeps(once=True)), X)
    assert "right in a first step; wrong in a second one" in str(error.value)


class Turned(Function):
    """The same, kept where the backward first runs: by what is called `keep`."""

    @staticmethod
    def forward(ctx, x, w, keep):
        ctx.keep = keep
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ ctx.keep(w), g.t() @ x, None


class Keeper(nn.Module):
    def __init__(self, where: dict) -> None:
        super().__init__()
        self.w, self.where, self.once = nn.Parameter(torch.randn(6, 6) / 2), where, True

    def kept(self, w: torch.Tensor) -> torch.Tensor:
        return self.where.setdefault("w", w.detach().clone()) if self.once else w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Turned.apply(x, self.w, self.kept)


GLOBAL: dict = {}


class OfTheClass(Keeper):
    STORE: ClassVar[dict] = {}


@pytest.mark.parametrize(
    "make",
    [lambda: Keeper({}), lambda: Keeper(GLOBAL), lambda: OfTheClass(OfTheClass.STORE)],
    ids=["module", "global", "class"],
)
def test_a_weight_that_the_first_backward_kept(make) -> None:
    module = Net(make())
    with pytest.raises(AssertionError, match="the backward of Turned") as error:
        assert_lawful(module, X)
    assert "right in a first step; wrong in a second one" in str(error.value)
    assert not module.middle.where  # the module is given back as it was
    module.middle.once = False
    assert assert_lawful(module, X).verdict.passed


class Doubling(Function):
    """Right when it runs for the first time only."""

    calls = 0

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        Doubling.calls += 1
        return g @ w, g.t() @ x * (1 if Doubling.calls == 1 else 2)


class Doubles(Keeper):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Doubling.apply(x, self.w)


def test_a_backward_that_is_right_once() -> None:
    with pytest.raises(AssertionError, match="2 times too large"):
        assert_lawful(Net(Doubles({})), X)


class Adapter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(6, 6).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.zeros(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w(x) + x @ self.down.T @ self.up.T


def test_an_adapter_that_starts_at_zero_as_it_is() -> None:
    model = Net(Adapter())
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    found = assert_lawful(model, X, run="as_is")
    assert "middle.down" in found.vouched("reference")
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_units_that_are_all_saturated() -> None:
    assert "a.weight" in assert_lawful(Net(nn.Tanh()), X * 1e6).vouched("reference")


class Fixed(nn.Module):
    """A fixed point, with the gradient of the implicit function theorem, solved in as many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.w = steps, nn.Parameter(torch.randn(6, 6) * 0.15)

    def once(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ self.w.T + x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            z = torch.zeros_like(x)
            for _ in range(self.steps):
                z = self.once(z, x)
        z = self.once(z, x)
        if z.requires_grad:
            start = z.detach().requires_grad_()
            end = self.once(start, x.detach())

            def solve(g: torch.Tensor) -> torch.Tensor:
                v = g
                for _ in range(self.steps):
                    v = g + torch.autograd.grad(end, start, v, retain_graph=True)[0]
                return v

            z.register_hook(solve)
        return z


def test_an_implicit_gradient_is_as_right_as_its_iteration() -> None:
    assert assert_lawful(Net(Fixed(28)), X).verdict.passed
    with pytest.raises(AssertionError, match="if it is meant, pass tolerance=1e-0") as error:
        assert_lawful(Net(Fixed(12)), X)
    assert "a hook changes it" not in str(error.value)
    assert assert_lawful(Net(Fixed(12)), X, tolerance=1e-4).verdict.passed


class Repeated(nn.Module):
    """Draws the mask of a checkpoint past torch, so that it is another one the second time."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.f, self.reentrant, self.dice = nn.Linear(6, 6), reentrant, random.Random(0)

    def run(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.tensor([2.0 * (self.dice.random() > 0.5) for _ in range(6)], dtype=x.dtype)
        return self.f(x * mask).tanh() * mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.run, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_that_computes_otherwise_is_named(reentrant: bool) -> None:
    with pytest.raises(AssertionError, match="the checkpoint around it computes otherwise the second time"):
        assert_lawful(Net(Repeated(reentrant)), X)
