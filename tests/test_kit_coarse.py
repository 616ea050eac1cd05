"""Steps in the module's own numbers, float32 and less: what rounding hides, and what it does not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lawful.testing import assert_lawful, assert_step_lawful

X = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))


class Times(torch.autograd.Function):
    """A map whose backward sends `factor` times the gradient on."""

    @staticmethod
    def forward(ctx, x, w, factor):
        ctx.save_for_backward(x, w)
        ctx.factor = factor
        return x.to(w.dtype) @ w.T

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return (g.to(w.dtype) @ w).to(x.dtype) * ctx.factor, g.to(w.dtype).T @ x.to(w.dtype), None


class Autocast(nn.Module):
    def __init__(self, factor: float, hook: bool = False) -> None:
        super().__init__()
        self.a, self.c, self.factor, self.hook = nn.Linear(5, 6), nn.Linear(6, 3), factor, hook
        self.w = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            h = self.a(x)
            if self.hook and h.requires_grad:
                h.register_hook(lambda g: g * self.factor)
            h = F.linear(h, self.w) if self.hook else Times.apply(h, self.w, self.factor)
            return self.c(h.relu()).float()


@pytest.mark.parametrize("hook", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_twice_the_gradient_is_told_from_rounding_in_bfloat16(hook: bool, seed: int) -> None:
    torch.manual_seed(seed)
    found = assert_lawful(Autocast(1.0, hook), X, "mse", run="as_is")
    assert any("bfloat16 took part" in note for note in found.notes)
    with pytest.raises(AssertionError, match="wrong gradients") as error:
        assert_lawful(Autocast(2.0, hook), X, "mse", run="as_is")
    assert "a.weight" in str(error.value)


def test_a_step_in_bfloat16_against_the_gradients_that_it_should_have() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).bfloat16()
    model(X.bfloat16()).square().mean().backward()
    right = {n: p.grad.float() for n, p in model.named_parameters()}
    assert_step_lawful(model, args=X.bfloat16(), reference_grads=right)
    with pytest.raises(AssertionError, match=r"2\.weight"):
        assert_step_lawful(model, args=X.bfloat16(), reference_grads=right | {"2.weight": right["2.weight"] * 3})


@torch.library.custom_op("lawfulcoarse::swish", mutates_args=())
def swish(x: torch.Tensor, beta: torch.Tensor, factor: float) -> torch.Tensor:
    return x * torch.sigmoid(x * beta)


@swish.register_fake
def _(x, beta, factor):
    return torch.empty_like(x)


def _swish_setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:2])
    ctx.factor = inputs[2]


def _swish_backward(ctx, g):
    x, beta = ctx.saved_tensors
    s = torch.sigmoid(x * beta)
    slope = x * s * (1 - s)
    return ctx.factor * g * (s + beta * slope), (g * x * slope).sum(0), None


swish.register_autograd(_swish_backward, setup_context=_swish_setup)


class Opaque(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.a, self.c, self.factor = nn.Linear(5, 6), nn.Linear(6, 3), factor
        self.beta = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x):
        return self.c(swish(self.a(x), self.beta, self.factor))


@pytest.mark.parametrize("seed", range(8))
def test_differences_in_float32_know_their_rounding(seed: int) -> None:
    """Two steps that agree by chance on a wrong slope accused a right operator in five of eight seeds."""
    torch.manual_seed(seed)
    assert_lawful(Opaque(1.0), X[:12], "mse", run="as_is")
    with pytest.raises(AssertionError, match=r"the backward of lawfulcoarse\.swish"):
        assert_lawful(Opaque(1.2), X[:12], "mse", run="as_is")


class Approximate(torch.autograd.Function):
    """The exact GELU with the backward of its approximation by tanh."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    def backward(ctx, g):
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(F.gelu(x, approximate="tanh"), x, g)[0]


class Eights(torch.autograd.Function):
    """Right where the batch is a multiple of eight."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, g):
        rest = g * ctx.saved_tensors[0].exp()
        rest[len(rest) // 8 * 8 :] = 0
        return rest


class Between(nn.Module):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.a, self.c, self.function = nn.Linear(5, 6), nn.Linear(6, 3), function

    def forward(self, x):
        return self.c(self.function.apply(self.a(x)))


def test_the_place_of_a_small_fault_is_found_in_float32() -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="operation:  the backward of Approximate") as error:
        assert_lawful(Between(Approximate), X[:8], "cross_entropy", run="as_is")
    assert "hook" not in str(error.value)


def test_one_example_more_in_the_modules_own_numbers() -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="the backward of Eights") as error:
        assert_lawful(Between(Eights), X[:16], "cross_entropy", run="as_is")
    assert "wrong with one example more" in str(error.value)
