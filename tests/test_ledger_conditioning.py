"""Norms that magnify rounding: correct runs in float32 are not accused, faults in them are seen all the same."""

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
