"""What the kit is asked in odd places, and what it says beside a verdict: tied memory, padding, modes of torch."""

import pytest
import torch
from torch import nn
from torch.autograd import Function

from lawful.testing import assert_lawful

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(24).reshape(4, 6) % 11


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))


def test_under_inference_mode_and_on_the_meta_device() -> None:
    model = net()
    with torch.inference_mode():
        assert assert_lawful(model, X).verdict.passed
        inside = nn.Linear(5, 3)
    with pytest.raises(ValueError, match="weight of Linear is an inference tensor"):
        assert_lawful(inside, X)
    with torch.device("meta"):
        nothing = nn.Linear(5, 3)
    with pytest.raises(ValueError, match="input 0 of Linear is on the meta device, without numbers"):
        assert_lawful(nn.Linear(3, 2), torch.randn(4, 3, device="meta"))
    with pytest.raises(ValueError, match="weight of Linear is on the meta device, without numbers"):
        assert_lawful(nothing, X)


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e, self.a = nn.Embedding(11, 8, padding_idx=2), nn.Linear(8, 8)
        self.head = nn.Linear(8, 11, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.a(self.e(ids)).relu())


def test_two_parameters_over_one_memory_and_a_row_of_padding() -> None:
    model = Language()
    assert not any("memory" in n or "padding" in n for n in assert_lawful(model, IDS).notes)
    model.head.weight.data = model.e.weight.data
    with torch.no_grad():
        model.e.weight[2] = 1.0
    notes = "\n".join(assert_lawful(model, IDS).notes)
    assert "e.weight and head.weight are two parameters over one memory" in notes
    assert "row 2 of e.weight is declared as padding (padding_idx)" in notes


class Twice(Function):
    """Runs a module again in its backward, and looks for its parameters; twice the gradient."""

    @staticmethod
    def forward(ctx, x, run, *parameters):
        ctx.run, ctx.parameters = run, parameters
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        return (
            *(2 * d for d in torch.autograd.grad(y, (x,), g, retain_graph=True)),
            None,
            *(2 * d for d in torch.autograd.grad(y, ctx.parameters, g)),
        )


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.f, self.c = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(Twice.apply(self.a(x).tanh(), self.f, *self.f.parameters()))


def test_a_declared_operator_that_looks_for_its_own_parameters() -> None:
    assert assert_lawful(Own(), X, by_design=["Twice"]).verdict.passed
    with pytest.raises(AssertionError, match="the backward of Twice"):
        assert_lawful(Own(), X)
