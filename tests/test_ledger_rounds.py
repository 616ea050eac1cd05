"""Several optimizers that take turns, and parts that train at some steps: told apart from faults."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F

import lawful as lw
from lawful.dynamics import Finding

Make = Callable[[Sequence[nn.Parameter]], optim.Optimizer]


class Pair(nn.Module):
    """A generator and what judges it."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        middle = [nn.LayerNorm(4)] if norm else []
        self.g = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
        self.d = nn.Sequential(nn.Linear(3, 4), *middle, nn.LeakyReLU(0.2), nn.Linear(4, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.d(self.g(z))


LAWS = {norm: lw.derive(Pair(norm).double(), args=(torch.randn(5, 2).double(),)) for norm in (False, True)}


def sgd(p: Sequence[nn.Parameter]) -> optim.Optimizer:
    return optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.01)


def adam(p: Sequence[nn.Parameter]) -> optim.Optimizer:
    return optim.Adam(p, 1e-3)


class Turns:
    """An adversarial loop."""

    def __init__(self, makes: Sequence[Make], clear: str = "all", every: int | None = None, norm: bool = False) -> None:
        self.model, self.clear = Pair(norm).double(), clear
        parts = (self.model.g, self.model.d)
        self.optimizers = [make(list(m.parameters())) for make, m in zip(makes, parts, strict=True)]
        self.ledger = lw.Ledger(self.model, self.optimizers, LAWS[norm], every=every)

    def turn(self, i: int) -> None:
        """Backward, and a step of one."""
        if self.clear == "all":
            self.model.zero_grad()
        elif self.clear == "own":
            self.optimizers[i].zero_grad()
        ((-1) ** i * self.model(torch.randn(5, 2).double())).mean().backward()
        self.optimizers[i].step()

    def together(self) -> None:
        """Backward, and a step of both."""
        self.model.zero_grad()
        self.model(torch.randn(5, 2).double()).square().mean().backward()
        for one in self.optimizers:
            one.step()

    def faults(self) -> list[Finding]:
        return [f for f in self.ledger.findings() if f.fault]


@pytest.mark.parametrize("clear", ["all", "own"])
@pytest.mark.parametrize(("makes", "every"), [((sgd, sgd), 2), ((sgd, adam), 1), ((adam, sgd), 3)])
def test_optimizers_that_take_turns_are_no_fault(clear: str, makes: Sequence[Make], every: int) -> None:
    run = Turns(makes, clear, every)
    for _ in range(8):
        run.turn(0)
        run.turn(1)
    assert not run.ledger.findings(), run.ledger.health()
    rows = {row.law: row for row in run.ledger.rows()}
    assert max(row.relative for row in rows.values()) < 1e-12
    assert rows["balance of g.0"].verdict == rows["balance of d.0"].verdict == "ok"
    assert rows["balance of g.2"].verdict == "not watched"  # joins what never steps together
    assert run.ledger.accounts["balance of d.0"].steps >= 2


@pytest.mark.parametrize("order", ["01111", "0011", "0b1b", "bb01", "b0"])
@pytest.mark.parametrize("norm", [False, True])
def test_whatever_turns_they_take(order: str, norm: bool) -> None:
    run = Turns((sgd, adam), "all", norm=norm)
    for one in 4 * order:
        run.together() if one == "b" else run.turn(int(one))
    assert not run.faults(), run.ledger.health()
    assert max(row.relative for row in run.ledger.rows()) < 1e-10


@pytest.mark.parametrize("part", ["g", "d"])
def test_a_wrong_gradient_is_seen_in_either_turn(part: str) -> None:
    run = Turns((sgd, adam), "own")
    run.model.get_submodule(part)[0].weight.register_hook(lambda g: 1.1 * g)
    for _ in range(8):
        run.turn(0)
        run.turn(1)
    assert run.ledger.verdict == "unexplained"
    assert all(f.kind == "gradient" and f"{part}.0.weight" in f.parameters for f in run.faults()), run.ledger.health()


def test_gradients_that_are_not_cleared_are_seen_where_optimizers_take_turns() -> None:
    run = Turns((sgd, adam), "none")
    for _ in range(8):
        run.turn(0)
        run.turn(1)
    assert "uncleared" in [f.kind for f in run.faults()], run.ledger.health()


@pytest.mark.parametrize("lost", [False, True])
def test_a_layer_that_trains_where_nobody_looks(lost: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    optimizer = optim.SGD(model.parameters(), 0.05)
    ledger = lw.Ledger(model, optimizer, every=3)
    for i in range(30):
        optimizer.zero_grad()
        model(torch.randn(6, 3).double()).square().mean().backward()
        if lost or i % 3 == 0:
            model[0].weight.grad = None
        optimizer.step()
    kinds = {f.kind: f.fault for f in ledger.findings()}
    assert kinds == ({"gradient": True, "silent": False} if lost else {"alternating": False}), ledger.health()


class Twice(torch.optim.Adam):
    """Calls the step of its base, whose hooks torch calls as well, and then moves one weight again."""

    moved: torch.Tensor

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        before = self.moved.detach().clone()
        super().step()
        self.moved.add_(self.moved - before)


@pytest.mark.parametrize("hooked", [False, True])
def test_what_a_step_does_after_that_of_its_base_belongs_to_it(hooked: bool) -> None:
    torch.manual_seed(0)
    if hooked:  # torch hooks the step of a class when the first optimizer of it is made
        torch.optim.Adam(nn.Linear(2, 2).parameters())
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    optimizer = Twice(model.parameters(), 1e-2)
    optimizer.moved = model[2].weight
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy", like=torch.optim.Adam)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(16, 6).double()), torch.randint(3, (16,))).backward()
        optimizer.step()
    found = [f for f in ledger.findings() if f.fault]
    assert ledger.verdict == "unexplained" and [f.parameters for f in found] == [("2.weight",)]
    assert "steps not watched" not in ledger.accounts["balance of 0"].causes
