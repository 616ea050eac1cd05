"""What the ledger reads inside of a model and of a step: autocast in a forward, torch's own BatchNorm, shared sums."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loops import LAWS, MLP
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import lawful as lw
from lawful.dynamics.forms import Forms
from lawful.dynamics.sheets import GRADIENT, THETA, Sheets, wanted


class Inner(MLP):
    """Autocast inside of the model's own forward, as Accelerate puts it there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


@pytest.mark.parametrize(("factor", "named"), [(1.0, set()), (4.0, {"fc2.weight", "fc2.bias", "fc3.weight"})])
def test_autocast_inside_of_forward(factor: float, named: set[str]) -> None:
    model = Inner(torch.float32)
    model.fc3.weight.register_hook(lambda g: factor * g)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    ledger = lw.Ledger(model, optimizer, [law for law in LAWS if law.name in ("balance of fc2", "balance of fc1")])
    for i in range(10):
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        F.cross_entropy(model(x).float(), x.argmax(1) % 3).backward()
        optimizer.step()
    assert ledger.verdict == ("unexplained" if named else "rounding in part"), ledger.health()
    # in so few digits the law that holds clears nobody: all of the broken one are named
    assert {n for f in ledger.findings() if f.fault for n in f.parameters} == named


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-2), nn.ReLU(), nn.Conv2d(6, 5, 3, bias=False),
        nn.BatchNorm2d(5, eps=1e-2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    return net.double()


CONVOLUTIONS = lw.derive(convolutions(), "cross_entropy", args=(torch.randn(4, 3, 6, 6).double(),))
Pass = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def probed(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Gradients that somebody looks at and that never reach the parameters."""
    z = net(x)
    torch.autograd.grad(z.square().sum(), list(net.parameters()), retain_graph=True)
    return z


def trained(forward: Pass, plant: Callable[[nn.Module], Any] = lambda net: None) -> lw.Ledger:
    net = convolutions()
    plant(net)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    ledger = lw.Ledger(net, optimizer, CONVOLUTIONS)
    for i in range(6):
        g = torch.Generator().manual_seed(i)
        x = torch.randn(8, 3, 6, 6, generator=g, dtype=torch.float64)
        optimizer.zero_grad()
        F.cross_entropy(forward(net, x), torch.randint(0, 4, (8,), generator=g)).backward()
        optimizer.step()
    return ledger


WAYS: dict[str, Pass] = {
    "plain": lambda net, x: net(x),
    "probed": probed,
    "checkpoint": lambda net, x: checkpoint(net, x, use_reentrant=False),
    "reentrant": lambda net, x: checkpoint(net, x.requires_grad_(), use_reentrant=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_epsilon_of_a_batchnorm_is_read_where_it_is_computed(way: str) -> None:
    ledger = trained(WAYS[way])
    assert ledger.verdict == "epsilon", ledger.health()
    assert max(row.relative for row in ledger.rows()) < 1e-13
    assert max(abs(row.causes["norm epsilon"]) for row in ledger.rows()) > 1e-6


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda net: net[1].register_full_backward_hook(lambda m, g, _: (1.001 * g[0],)), "0.weight"),
        (lambda net: net[4].weight.register_hook(lambda g: 1.001 * g), "4.weight"),
        (lambda net: net[4].weight.register_hook(torch.zeros_like), "4.weight"),
    ],
)
def test_a_wrong_backward_of_a_batchnorm_is_no_epsilon(plant: Callable[[nn.Module], Any], named: str) -> None:
    ledger = trained(WAYS["plain"], plant)
    assert ledger.verdict == "unexplained"
    assert named in {n for f in ledger.findings() if f.fault for n in f.parameters}, ledger.health()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sums_that_laws_share_are_their_own_products(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr("lawful.dynamics.sheets.PIECE", 40)
    monkeypatch.setattr("lawful.dynamics.sheets.LARGE", 100)
    g = torch.Generator().manual_seed(0)
    shapes = {n: p.shape for n, p in convolutions().named_parameters()}
    theta, grad = ({n: torch.randn(s, generator=g).to(dtype) for n, s in shapes.items()} for _ in range(2))
    forms = [Forms(law, theta) for law in CONVOLUTIONS]
    read = [f for f in forms if f.readings]
    assert len(read) >= 4
    need = wanted(one for f in read for one in f.readings)
    sheets = Sheets({n: {THETA: theta[n], GRADIENT: grad[n]} for n in theta}, need)
    for f in read:
        some = {n: {GRADIENT: 2.0, THETA: -1.0} for n in f.names}
        got = f.combined(sheets, [{n: {THETA: 1.0} for n in f.names}, some], {1: 0.5}, f.law.value(theta).reshape(-1))
        mixed = {n: 2 * grad[n] - theta[n] for n in f.names}
        wished = f.products([theta, mixed], {1: 0.5})
        for one, other in ((got.slopes, wished.slopes), (got.steps, wished.steps), (got.sizes, wished.sizes)):
            torch.testing.assert_close(one, other, rtol=1e-12 if dtype == torch.float64 else 1e-4, atol=1e-4)


def test_what_health_says_of_gradients_that_no_law_compares() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    optimizer = torch.optim.SGD([net[0].weight, net[2].weight, net[2].bias], 0.1)
    ledger = lw.Ledger(net, optimizer, loss="cross_entropy", args=(torch.randn(5, 4).double(),))
    for _ in range(2):
        F.cross_entropy(net(torch.randn(8, 4).double()), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
        net.zero_grad()  # so that nothing is left to be seen afterwards
    assert [f.parameters for f in ledger.findings() if f.kind == "missing"] == [("0.bias",)]
    assert "no law joins 2.bias to other parameters" in ledger.health()
    row = ledger.rows()[0]
    assert ledger.explain(row) == ledger.explain(row.law) == ledger.explain(ledger.laws[0])
    assert ledger.account(row)["change"].shape == ledger.laws[0].shape


def test_laws_of_a_module_whose_helpers_are_decorated_by_context_managers() -> None:
    """As torchmetrics has them, which every LightningModule reaches."""

    @contextlib.contextmanager
    def quiet():
        yield

    @quiet()
    def helper(x: torch.Tensor) -> torch.Tensor:
        return x.relu()

    class Decorated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(helper(self.a(x)))

    assert [law.name for law in lw.derive(Decorated(), args=torch.randn(5, 4))] == ["balance of a"]
