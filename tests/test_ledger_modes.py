"""Parts that change their mode in the middle of a run, and a gradient that alone is never cleared."""

import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).double()


def trained(frozen_from: int) -> lw.Ledger:
    model = convolutions()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for i in range(12):
        if i % 3 == 0:  # what a validation does changes nothing
            model.eval()
            model(torch.randn(2, 2, 6, 6).double())
            model.train()
        if i >= frozen_from:
            model[1].eval()
            model[4].eval()
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 2, 6, 6).double()), torch.randint(3, (8,))).backward()
        optimizer.step()
    return ledger


def test_statistics_that_are_frozen_on_the_way_are_no_fault() -> None:
    ledger = trained(7)
    (found,) = (f for f in ledger.findings() if f.kind == "mode")
    assert not found.fault and "1, 4 changed" in found.text and "step 8" in found.text
    assert "unexplained" not in ledger.verdict and not any(f.fault for f in ledger.findings())
    assert all("steps not watched" in account.causes for account in ledger.accounts.values() if account.change.any())


def test_a_validation_is_no_change_of_mode() -> None:
    for frozen_from in (0, 99):
        ledger = trained(frozen_from)
        assert not [f for f in ledger.findings() if f.kind == "mode" or f.fault]


def test_the_one_gradient_that_is_never_cleared_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")
    for _ in range(5):
        F.cross_entropy(model(torch.randn(16, 6).double()), torch.randint(3, (16,))).backward()
        optimizer.step()
        for name, parameter in model.named_parameters():
            if name != "2.weight":
                parameter.grad = None
    (found,) = (f for f in ledger.findings() if f.fault)
    assert found.kind == "uncleared" and found.parameters == ("2.weight",)
