"""What a ledger says where no law reads: runs without laws, parameters beside the laws, weights that just move."""

from typing import Any

import pytest
import torch
from loops import LAWS, MLP
from torch import nn, optim
from torch.nn import functional as F

import lawful as lw


class Half(torch.autograd.Function):
    """A ReLU with half of its backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, *g: torch.Tensor) -> torch.Tensor:
        return 0.5 * g[0] * (ctx.saved_tensors[0] > 0)


class Act(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Half.apply(x)


class Refused(nn.Module):
    """A model that no derivation can follow: it runs in training only where a gradient may be asked for twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] != 8 or type(x) is not torch.Tensor:
            raise RuntimeError("eight rows, and nothing else")
        return self.fc(x).tanh()


def network(act: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 3)).double()


def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    x = torch.randn(8, 4, dtype=next(model.parameters()).dtype)
    F.cross_entropy(model(x), torch.randint(3, (8,))).backward()
    optimizer.step()


@pytest.mark.parametrize("make", [lambda: network(nn.GELU()), lambda: Refused(), lambda: network(nn.SiLU())])
def test_training_goes_on_where_there_is_no_law(make: Any) -> None:
    model = make()
    optimizer = optim.AdamW(model.parameters())
    ledger = lw.Ledger(model, optimizer)
    for _ in range(3):
        step(model, optimizer)
    assert ledger.steps == 3 and ledger.verdict == "undecided" and not ledger.rows()
    (finding,) = ledger.findings()
    assert finding.kind == "no law" and not finding.fault and 'loss="cross_entropy"' in finding.text
    assert "no law is watched" in str(ledger) and "undecided" in ledger.health()
    with pytest.raises(KeyError, match="no law named"):
        ledger.explain("balance of 0")
    again = lw.Ledger(model, optimizer)
    again.load_state_dict(ledger.state_dict())
    step(model, optimizer)
    assert again.steps == 4


def test_what_needs_no_law_is_found_without_one() -> None:
    model = network(nn.GELU())
    optimizer = optim.SGD([model[0].weight, model[0].bias, model[2].weight], 0.1)
    ledger = lw.Ledger(model, optimizer)
    for _ in range(3):
        step(model, optimizer)
    assert ledger.verdict == "unexplained"
    assert [f.parameters for f in ledger.findings() if f.kind == "missing"] == [("2.bias",)]
    model[0].weight.data.fill_(float("nan"))
    step(model, optimizer)
    assert "0.weight" in next(f for f in ledger.findings() if f.kind == "not finite").parameters


def test_what_no_law_reads_is_named_and_not_called_fine() -> None:
    model = network(Act())
    optimizer = optim.SGD(model.parameters(), 0.1)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for _ in range(3):
        step(model, optimizer)
    assert ledger.verdict == "ok in part" and {row.verdict for row in ledger.rows()} == {"ok"}
    assert "no law that is watched reads 0.weight, 0.bias: `assert_lawful` judges their gradients" in str(ledger)
    whole = network(nn.ReLU())
    optimizer = optim.SGD(whole.parameters(), 0.1)
    ledger = lw.Ledger(whole, optimizer, loss="cross_entropy")
    assert "no law that is watched reads" not in ledger.health()  # nothing is derived yet
    step(whole, optimizer)
    assert ledger.verdict == "ok" and "no law that is watched reads" not in str(ledger)


@pytest.mark.parametrize("way", ["data", "no_grad"])
def test_exactly_what_changed_between_the_steps_is_named(way: str) -> None:
    model = MLP()
    optimizer = optim.SGD(model.parameters(), 0.05)
    ledger = lw.Ledger(model, optimizer, LAWS)
    for i in range(5):
        step(model, optimizer)
        if i == 2:
            with torch.no_grad():
                for p in model.parameters():
                    p.copy_(p.clone())  # written, and the same
                (model.fc2.weight.data if way == "data" else model.fc2.weight).mul_(1.1)
    assert [(f.kind, f.parameters) for f in ledger.findings()] == [("outside", ("fc2.weight",))], ledger.health()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_what_was_frozen_before_and_moves_is_found(held: bool, large: bool) -> None:
    model = MLP()
    model.old = nn.Linear(1100, 1000) if large else nn.Linear(3, 3)
    model.old.requires_grad_(False)
    optimizer = optim.SGD(model.parameters() if held else [p for p in model.parameters() if p.requires_grad], 0.05)
    ledger = lw.Ledger(model, optimizer, LAWS)
    step(model, optimizer)
    assert not ledger.findings()
    if held:  # a gradient of before the freezing, which nobody clears
        optimizer.register_step_pre_hook(
            lambda *_: setattr(model.old.weight, "grad", torch.ones_like(model.old.weight))
        )
    else:
        model.old.weight.data.mul_(0.9)
    step(model, optimizer)
    (finding,) = ledger.findings()
    assert finding.kind == "frozen" and finding.parameters == ("old.weight",) and finding.fault == held


def test_of_a_large_model_what_may_have_changed_is_told_from_what_did() -> None:
    model = nn.Sequential(nn.Linear(1100, 1000), nn.ReLU(), nn.Linear(1000, 3))
    optimizer = optim.SGD(model.parameters(), 0.1)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy", every=1)
    for i in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(4, 1100)), torch.randint(3, (4,))).backward()
        optimizer.step()
        with torch.no_grad():
            if i == 1:
                model[2].weight.mul_(1.1)
                model[0].weight[1, 3] += 1
    did, perhaps = ledger.findings()
    assert did.parameters == ("2.weight",) and perhaps.parameters == ("0.weight",) and "may have" in perhaps.text


def test_no_forward_pass_in_training_and_lazy_parameters_do_not_stop_a_loop() -> None:
    model = network(nn.ReLU()).eval()
    optimizer = optim.SGD(model.parameters(), 0.1)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    step(model, optimizer)
    assert ledger.verdict == "undecided" and "model.train()" in ledger.health()
    model.train()
    step(model, optimizer)
    assert ledger.verdict == "ok"
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3)).double()
    optimizer = optim.SGD(lazy.parameters(), 0.1)
    ledger = lw.Ledger(lazy, optimizer, loss="cross_entropy")
    for _ in range(3):
        step(lazy, optimizer)
    assert ledger.verdict == "ok", ledger.health()
