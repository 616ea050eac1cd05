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


class Bisected(torch.autograd.Function):
    """The number above which one unit of mass lies, found by halving; its gradient by the implicit function theorem."""

    @staticmethod
    def forward(ctx, x, right):
        top = x.max(-1, keepdim=True).values
        low, step = top - 1, torch.full_like(top, 1 - 1 / x.shape[-1])
        for _ in range(60):
            step = step / 2
            low = torch.where((x - low - step).clamp(min=0).sum(-1, keepdim=True) >= 1, low + step, low)
        y = (x - low).clamp(min=0)
        ctx.right = right
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        on = (ctx.saved_tensors[0] > 0).to(g.dtype)
        mean = (g * on).sum(-1, keepdim=True) / on.sum(-1, keepdim=True)
        return on * (g - mean * (1 if ctx.right else 0.9)), None


class Rectified(torch.autograd.Function):
    """A ReLU whose backward takes the other one of its two derivatives at zero."""

    @staticmethod
    def forward(ctx, x, right):
        ctx.right = right
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x >= 0) * (1 if ctx.right else 0.9), None


class Behind(Net):
    def __init__(self, function, right: bool):
        super().__init__()
        self.function, self.right = function, right
        with torch.no_grad():
            self.a.bias.zero_()  # rows of padding are at zero exactly

    def forward(self, x):
        return self.b(self.function.apply(self.a(x), self.right))


@pytest.mark.parametrize("function", [Bisected, Rectified])
def test_a_backward_that_knows_more_than_the_kernels_one_by_one(function) -> None:
    """A bisection's kernels have no derivative that is its own, and at a kink there are two."""
    x = torch.cat([X, torch.zeros(2, 4)])
    found = assert_lawful(Behind(function, right=True), x)
    assert len(found.vouched("reference")) == 4
    with pytest.raises(AssertionError, match=f"the backward of {function.__name__}") as error:
        assert_lawful(Behind(function, right=False), x)
    assert "a.weight" in str(error.value) and "b.weight" not in str(error.value)


class Twice(nn.Module):
    """One operator at two places."""

    def __init__(self, function, second: bool):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.m, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.function, self.second = function, second

    def forward(self, x):
        return self.c(self.function.apply(self.m(self.function.apply(self.a(x), True)), self.second))


def test_an_operator_that_is_right_at_one_place_is_judged_at_the_other() -> None:
    """Its backward stands in for the derivative where it knows more, and only there."""
    assert len(assert_lawful(Twice(Bisected, second=True), X).vouched("reference")) == 6
    with pytest.raises(AssertionError, match="the backward of Bisected") as error:
        assert_lawful(Twice(Bisected, second=False), X)
    assert "m.weight" in str(error.value) and "c.weight" not in str(error.value)


class Quantised(torch.autograd.Function):
    """A quantiser that learns its step: gradients pass the rounding, and the step's is not that of the kernels."""

    @staticmethod
    def forward(ctx, x, right, step=None):
        ctx.right = right
        ctx.save_for_backward(x / step, step)
        return (x / step).round().clamp(-8, 7) * step

    @staticmethod
    def backward(ctx, g):
        v, _ = ctx.saved_tensors
        q = v.round()
        on = (q >= -8) & (q <= 7)
        slope = torch.where(on, q - v, q.clamp(-8, 7)) if ctx.right else torch.where(on, q + v, q.clamp(-8, 7))
        return g * on, None, (g * slope).sum().reshape(1)


class Quantises(Net):
    def __init__(self, right: bool):
        super().__init__()
        self.step, self.right = nn.Parameter(torch.tensor([0.21])), right

    def forward(self, x):
        return self.b(Quantised.apply(self.a(x), self.right, self.step))


def test_the_learned_step_of_a_quantiser_is_straight_through_too() -> None:
    found = assert_lawful(Quantises(right=True), X)
    assert "straight-through, so no gradient by design: step" in str(found)
    with pytest.raises(AssertionError, match="step"):
        assert_lawful(Quantises(right=False), X)


def test_an_optimizer_that_steps_inside_of_backward() -> None:
    """The weights that a gradient was taken at are those before the step."""
    module = Net()

    def step(p: torch.Tensor) -> None:
        with torch.no_grad():
            p -= 0.1 * p.grad

    for p in module.parameters():
        p.register_post_accumulate_grad_hook(step)
    assert len(assert_lawful(module, X).vouched("reference")) == 4


class Clamped(torch.autograd.Function):
    """A map whose gradient for its input is cut off."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return (g @ w).clamp(-5, 5), g.t() @ x


class Probed(nn.Module):
    """A probe behind a declared detach, with an operator that is wrong for large gradients."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.main, self.inner = nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(5, 5)
        self.w = nn.Parameter(torch.randn(2, 5))

    def forward(self, x):
        h = torch.tanh(self.body(x))
        d = h.detach()  # lawful: by design
        return {"main": self.main(h), "probe": Clamped.apply(torch.tanh(self.inner(d)), self.w)}


def test_what_no_gradient_of_an_operator_reaches_is_not_accused_of_it() -> None:
    with pytest.raises(AssertionError, match="not linear in the gradient") as error:
        assert_lawful(Probed(), X, {"main": "mse", "probe": "mse"})
    accused = [line for line in str(error.value).splitlines() if line.startswith("  parameter:")]
    assert any("inner.weight" in line for line in accused) and not any("body" in line for line in accused)
