"""Idioms of public repositories, right and wrong: own checkpoints, torch.func, inputs that need no gradient."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_lawful, assert_step_lawful

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Again(torch.autograd.Function):
    """A checkpoint as diffusion repositories write it: parameters are passed along, and read by the function itself."""

    @staticmethod
    def forward(ctx, run, keeps, x, *parameters):
        ctx.run, ctx.keeps, ctx.dice = run, keeps, torch.get_rng_state()
        ctx.save_for_backward(x, *parameters)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx, g):
        x, *parameters = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            if ctx.keeps:
                torch.set_rng_state(ctx.dice)
            y = ctx.run(x)
        return None, None, *torch.autograd.grad(y, (x, *parameters), g)


class Net(nn.Module):
    keeps = True

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(Again.apply(self.middle, self.keeps, self.a(x), *self.b.parameters()))

    def middle(self, h: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.b(h).tanh(), 0.4)


class Forgets(Net):
    """Draws other numbers when it runs again."""

    keeps = False


def test_a_checkpoint_of_ones_own() -> None:
    assert assert_lawful(Net(), X).verdict.passed
    with pytest.raises(AssertionError, match="the backward of Again") as error:
        assert_lawful(Forgets(), X)
    assert "b.weight (off by" in str(error.value)


class Inside(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, run):
        ctx.run = run
        ctx.save_for_backward(x)
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx, g):
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            ctx.run(x).backward(g)
        return x.grad, None


class Reversible(Net):
    """Its operator gives gradients to parameters only if its input needs one."""

    def forward(self, x):
        return self.c(Inside.apply(self.first(x), lambda h: self.b(h).tanh()))

    def first(self, x):
        return self.a(x)


class FirstLayer(Reversible):
    def first(self, x):
        return torch.cat((x, x), -1)


def test_an_operator_whose_input_needs_no_gradient() -> None:
    assert assert_lawful(Reversible(), X).verdict.passed
    with pytest.raises(AssertionError, match="no input needs a gradient, so that none reaches the parameters"):
        assert_lawful(FirstLayer(), X, allow_untested=["a"])


class Field(Net):
    """The gradient of a network by its input, as in physics-informed ones."""

    def forward(self, x):
        return torch.vmap(torch.func.jacrev(lambda v: self.b(self.a(v).tanh()).tanh()))(x).flatten(1)


class Directional(Net):
    def forward(self, x):
        return torch.func.jvp(lambda v: self.b(self.a(v).tanh()).tanh(), (x,), (torch.ones_like(x),))[1]


class Scored(Net):
    """Weights of one with a gradient, as in routed layers."""

    def forward(self, x):
        h = self.a(x)
        scores = self.b(h).softmax(-1)
        return self.c(h * (scores + (1 - scores).detach()))


@pytest.mark.parametrize("kind", [Field, Directional])
def test_torch_func_inside_of_a_forward(kind: type[Net]) -> None:
    assert {"a.weight", "b.weight"} <= set(assert_lawful(kind(), X, allow_untested=["c"]).vouched("reference"))


def test_a_sum_of_one_number_everywhere_is_straight_through() -> None:
    found = assert_lawful(Scored(), X)
    assert any("straight-through" in n and "b.weight" in n for n in found.notes)


class FromFirstInputs(Net):
    """A normalisation whose parameters start at what its first inputs say."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(8))
        self.register_buffer("begun", torch.tensor(0))

    def forward(self, x):
        h = self.a(x)
        if not self.begun.item():
            self.shift.data, self.begun = -h.mean(0).data, torch.tensor(1)
        return self.c(self.b(h + self.shift).relu())


def test_parameters_that_start_from_the_first_inputs() -> None:
    model = FromFirstInputs()
    found = assert_lawful(model, X)
    assert any("started by the first call from its inputs" in n and "shift" in n for n in found.notes)
    assert not bool(model.shift.any()) and not model.begun
    model(X)
    assert not any("started" in n for n in assert_lawful(model, X).notes)


class Phase(torch.autograd.Function):
    """A complex product, whose backward must conjugate."""

    @staticmethod
    def forward(ctx, x, w, conjugates):
        ctx.save_for_backward(x, w)
        ctx.conjugates = conjugates
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.mH, (x.mH if ctx.conjugates else x.mT) @ g, None


class Complex(nn.Module):
    def __init__(self, right: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.right = right
        self.a, self.b = (nn.Parameter(torch.randn(n, 4, dtype=torch.cfloat)) for n in (4, 4))

    def forward(self, x):
        return Phase.apply(x.to(self.a.dtype) @ self.a, self.b, self.right).abs()


def test_complex_parameters() -> None:
    model = Complex()
    assert assert_lawful(model, X).verdict.passed
    assert model.a.is_complex()
    with pytest.raises(AssertionError, match=r"the backward of Phase[\s\S]*parameter:  b"):
        assert_lawful(Complex(right=False), X)
    laws = lw.derive(model, args=X)
    model(X).square().mean().backward()
    assert assert_step_lawful(model, laws, allow_untested=["b"]).verdict.passed
    model.a.grad *= 1.1
    with pytest.raises(AssertionError, match="wrong gradients"):
        assert_step_lawful(model, laws)


class Doubled(torch.autograd.Function):
    """A linear map whose backward gives its weight twice what it should."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, 2 * g.T @ x


@pytest.mark.parametrize("run", ["double", "as_is"])
@pytest.mark.parametrize("right", [True, False])
def test_two_parameters_on_one_memory_are_one(run: str, right: bool) -> None:
    """The old way to tie (`b.weight.data = a.weight.data`): each has a part of the gradient, and all are stepped."""
    one, other = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    other.weight.data = one.weight.data

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = one, other

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.relu(self.one(x))
            return self.other(h) if right else Doubled.apply(h, self.other.weight)

    if right:
        assert list(assert_lawful(Tied(), X, run=run).parameters) == ["one.weight"]
        return
    with pytest.raises(AssertionError, match=r"the backward of Doubled, for one\.weight"):
        assert_lawful(Tied(), X, run=run)
