"""Norms, and a loss near zero, magnify rounding: correct runs are not accused, faults in them are seen all the same."""

import itertools

import pytest
import torch
from torch import nn

import lawful as lw

WIDTH = 8


class Wrong(torch.autograd.Function):
    """The identity with a gradient that is too large."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor) -> torch.Tensor:
        return 1.1 * grads[0]


class Net(nn.Module):
    def __init__(self, norm: nn.Module, wrong: bool) -> None:
        super().__init__()
        self.read, self.norm, self.write, self.wrong = nn.Linear(6, WIDTH), norm, nn.Linear(WIDTH, 4), wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.read(x)))
        return self.write(Wrong.apply(h) if self.wrong else h)


NORMS = {
    "groups of one": lambda: nn.GroupNorm(WIDTH, WIDTH),
    "groups of two": lambda: nn.GroupNorm(WIDTH // 2, WIDTH),
    "groups of four": lambda: nn.GroupNorm(WIDTH // 4, WIDTH),
    "layer": lambda: nn.LayerNorm(WIDTH),
}


def ledger(norm: str, optimizer: str, seed: int, wrong: bool = False) -> lw.Ledger:
    torch.manual_seed(seed)
    model, x, y = Net(NORMS[norm](), wrong), torch.randn(16, 6), torch.randint(4, (16,))
    made = (
        torch.optim.AdamW(model.parameters(), 1e-3)
        if optimizer == "adamw"
        else torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    )
    laws = lw.derive(Net(NORMS[norm](), False), args=(x,))
    watching = lw.Ledger(model, made, laws)
    for _ in range(15):
        made.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        made.step()
    return watching


@pytest.mark.parametrize(("norm", "optimizer"), list(itertools.product(NORMS, ("sgd", "adamw"))))
def test_rounding_that_a_norm_magnifies_is_no_fault(norm: str, optimizer: str) -> None:
    for seed in range(3):
        found = ledger(norm, optimizer, seed).health()
        assert "unexplained" not in str(found), found


@pytest.mark.parametrize("norm", NORMS)
def test_a_fault_behind_such_a_norm_is_seen(norm: str) -> None:
    found = str(ledger(norm, "sgd", 0, wrong=True).health())
    assert "fault" in found and "write.weight" in found, found


def test_a_norm_of_an_architecture_is_measured_as_well() -> None:
    net = lw.Architecture(
        lw.blocks.Linear(6, WIDTH)
        >> lw.blocks.GroupNorm(WIDTH, WIDTH)
        >> lw.blocks.ReLU()
        >> lw.blocks.Linear(WIDTH, 4)
    )
    model = net.to_torch(torch.float32)
    x, made = torch.randn(16, 6), torch.optim.SGD(model.parameters(), 0.1)
    watching = lw.Ledger(model, made)
    for _ in range(10):
        made.zero_grad()
        model(x).square().mean().backward()
        made.step()
    assert "unexplained" not in str(watching.health())


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "sgd": lambda p: torch.optim.SGD(p, 0.3, momentum=0.9),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 1),
}


def fitted(optimizer: str, dtype: torch.dtype, wrong_from: int | None = None) -> tuple[lw.Ledger, float]:
    """A batch that is fitted until nothing is left of its loss: what everybody does first."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).to(dtype)
    x, y = torch.randn(16, 6, dtype=dtype), torch.randint(3, (16,))
    made = OPTIMIZERS[optimizer](model.parameters())
    watching = lw.Ledger(model, made, loss="cross_entropy")
    uneven = torch.tensor([1.0, 1.0, 1.5], dtype=dtype)

    def closure() -> torch.Tensor:
        made.zero_grad()
        out = model(x)
        if wrong_from is not None and watching.steps >= wrong_from:
            out = Uneven.apply(out, uneven)
        loss = nn.functional.cross_entropy(out, y)
        loss.backward()
        return loss

    for _ in range(8 if optimizer == "lbfgs" else 120):
        loss = made.step(closure)
    return watching, float(loss.detach())


class Uneven(torch.autograd.Function):
    """The identity, whose gradient is wrong for some classes."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.factor, None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_batch_that_is_fitted_is_no_fault(optimizer: str, dtype: torch.dtype) -> None:
    watching, loss = fitted(optimizer, dtype)
    assert loss < 1e-3 and watching.verdict in ("ok", "rounding"), watching.health()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("first", [3, 20])
def test_a_wrong_gradient_of_the_loss_is_seen_where_there_is_something_to_fit(dtype: torch.dtype, first: int) -> None:
    watching, _ = fitted("sgd", dtype, wrong_from=first)
    assert watching.verdict == "unexplained" and "4.bias" in str(watching.health()), watching.health()
