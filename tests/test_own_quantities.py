"""A quantity that somebody wrote down himself is tested by gradients, with a control."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b

NET = b.chain(up=b.Linear(3, 4), act=b.ReLU(), down=b.Linear(4, 2))
P = dict[str, torch.Tensor]


def balance(p: P) -> torch.Tensor:
    return p["up.weight"].square().sum(1) + p["up.bias"].square() - p["down.weight"].square().sum(0)


def without_bias(p: P) -> torch.Tensor:
    return p["up.weight"].square().sum(1) - p["down.weight"].square().sum(0)


def of_angle(p: P) -> torch.Tensor:
    """No polynomial: a function of what is conserved is conserved."""
    return balance(p).tanh().sum()


QUANTITIES: dict[str, tuple[Callable[[P], torch.Tensor], str]] = {
    "balance": (balance, "holds"),
    "a function of it": (of_angle, "holds"),
    "without the bias": (without_bias, "violated"),
    "a constant": (lambda p: p["up.bias"].sum() * 0 + 1, "vacuous"),
    "no number": (lambda p: (-p["up.weight"].square().sum()).log(), "violated"),
}


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(x)))


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("module", [False, True])
def test_a_quantity_of_ones_own(name: str, module: bool) -> None:
    quantity, wanted = QUANTITIES[name]
    torch.manual_seed(0)
    given: dict[str, Any] = {"args": torch.randn(20, 3)} if module else {}
    found = lw.verify(Module() if module else NET, {name: quantity}, **given)
    assert str(found.verdict) == wanted and found.laws[0].law == name, str(found)
    if wanted == "holds":
        assert found[name].residual < 1e-10 < 1e-3 < found[name].control


def test_one_several_and_by_name() -> None:
    assert lw.verify(NET, balance)["balance"].verdict.passed
    found = lw.verify(NET, [balance, lambda p: without_bias(p)])
    assert [r.law for r in found.laws] == ["balance", "quantity 1"] and str(found.verdict) == "violated"
    assert str(lw.verify(NET, {"mine": balance}, "cross_entropy").verdict) == "holds"
    shift = lw.verify(NET, lambda p: p["down.bias"].sum(), "cross_entropy")
    assert str(shift.verdict) == "holds" and str(lw.verify(NET, lambda p: p["down.bias"].sum()).verdict) == "violated"
    assert lw.verify(lw.Architecture(NET).to_torch(), balance).laws


def test_what_cannot_be_tested_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"reads 'up.wieght', which is no parameter; did you mean up.weight"):
        lw.verify(NET, lambda p: p["up.wieght"].sum())
    with pytest.raises(TypeError, match="gives a float, expected a tensor"):
        lw.verify(NET, lambda p: 1.0)
    with pytest.raises(ValueError, match=r"laws is .* it must be a Law or a list of values, each a Law"):
        lw.verify(NET, [balance, lw.derive(NET)[0]])
