"""The testing kit on faults of the kinds that were reported in public, each with its correct twin."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lawful.testing import assert_lawful
from lawful.theory.verdict import Verdict

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


def operator(forward: Callable, backward: Callable) -> Callable:
    """An operator with a backward of its own, which is given what the forward was given."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *args):
            ctx.save_for_backward(*args)
            return forward(*args)

        @staticmethod
        def backward(ctx, grad):
            return backward(grad, *ctx.saved_tensors)

    return Own.apply


class Model(nn.Module):
    """Two linear maps around anything."""

    def __init__(self, middle: Callable, weights: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down, self.middle = nn.Linear(4, 6), nn.Linear(6, 3), middle
        self.gain = nn.ParameterList(nn.Parameter(1 + 0.3 * torch.randn(6)) for _ in range(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.middle(self.up(x), *self.gain))


def norm(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * w


def norm_back(g, x, w, dx: float = 1.0, dw: float | None = 1.0, term: float = 1.0):
    r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    h = g * w
    inner = r * (h - term * x * r * r * (h * x).mean(-1, keepdim=True))
    return dx * inner, None if dw is None else dw * (g * x * r).flatten(0, -2).sum(0)


def cut_half(x, w):
    y = x * w
    return torch.cat([y[..., :3].detach(), y[..., 3:]], -1)


def no_grad(x, w):
    with torch.no_grad():
        y = torch.tanh(x * w)
    return y + x


def behind(x, w):
    y = torch.relu(x * w)
    y.data.mul_(-1)
    return y


FAULTS = {
    "no gradient": (operator(norm, lambda g, x, w: norm_back(g, x, w, dw=None)), "gain.0", "missing"),
    "scale": (operator(norm, lambda g, x, w: norm_back(g, x, w, dw=2)), "gain.0", "2 times too large"),
    "sign": (operator(norm, lambda g, x, w: norm_back(g, x, w, dx=-1)), "up.weight", "the sign is wrong"),
    "small": (operator(norm, lambda g, x, w: norm_back(g, x, w, term=0.998)), "up.weight", "a part of it"),
    "term": (operator(norm, lambda g, x, w: norm_back(g, x, w, term=0)), "up.weight", "a part of it"),
    "rows": (operator(torch.mul, lambda g, x, w: (g * w, (g * x)[:8].sum(0))), "gain.0", "a part of it"),
    "detach": (cut_half, "up.weight", "detach"),
    "no_grad": (no_grad, "up.weight", "a no_grad region"),
    "data": (behind, "up.weight", "what it saved was overwritten"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_and_placed(name: str) -> None:
    middle, parameter, guess = FAULTS[name]
    with pytest.raises(AssertionError) as error:
        assert_lawful(Model(middle), (X,))
    text = str(error.value)
    assert parameter in text and guess in text and "test_kit_faults.py:" in text
    assert text.count("\n") < 25 and "down.weight" not in text


RIGHT = {
    "plain": norm,
    "own": operator(norm, norm_back),
    "float32": operator(
        lambda x, w: norm(x.float(), w.float()).to(x.dtype),
        lambda g, x, w: tuple(t.to(g.dtype) for t in norm_back(g.float(), x.float(), w.float())),
    ),
    "dead": lambda x, w: torch.relu(x * w - torch.tensor([9.0, 0, 0, 0, 0, 0])),
    "softmax by hand": lambda x, w: F.normalize(
        torch.exp(x * w - (x * w).amax(-1, keepdim=True).detach()), p=1, dim=-1
    ),
    "in place": lambda x, w: (x * w).add_(x).relu_(),
    "checkpoint": lambda x, w: checkpoint(norm, x, w, use_reentrant=False),
    "reentrant": lambda x, w: checkpoint(norm, x, w, use_reentrant=True),
    "straight through": lambda x, w: x * w + (torch.round(x * w) - x * w).detach(),
    "straight through by hand": operator(lambda x, w: torch.round(x * w), lambda g, x, w: (g * w, (g * x).sum(0))),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_twin_passes(name: str) -> None:
    found = assert_lawful(Model(RIGHT[name]), (X,))
    assert found.verdict is Verdict.HOLDS
    assert any("by design" in n for n in found.notes) == name.startswith("straight")
    assert set(found.vouched("reference")) >= {"down.weight", "down.bias"}


class Table(nn.Module):
    def __init__(self, look: Callable, **options: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.out, self.look = nn.Embedding(7, 5, **options), nn.Linear(5, 3), look

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.look(self, ids)))


IDS = torch.randint(7, (6, 4), generator=torch.Generator().manual_seed(1))


def test_tables() -> None:
    def plain(m, i):
        return m.table(i)

    assert_lawful(Table(plain, padding_idx=0), (IDS,))
    assert_lawful(Table(plain, scale_grad_by_freq=True), (IDS,))
    assert_lawful(Table(plain, sparse=True), (IDS,))
    with pytest.raises(AssertionError, match="declared as padding"):
        model = Table(lambda m, i: m.table.weight[i], padding_idx=0)
        nn.init.normal_(model.table.weight)
        assert_lawful(model, (IDS,))
    tied = Table(lambda m, i: F.embedding(i, m.table.weight.detach()) @ m.table.weight.T @ m.table.weight)
    with pytest.raises(AssertionError, match=r"detach\(\)[\s\S]*table\.weight"):
        assert_lawful(tied, (IDS,))


def test_what_reaches_nothing_has_no_witness() -> None:
    class Gate(nn.Module):
        def __init__(self, wrong: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.gate, self.out, self.wrong = nn.Linear(4, 3, bias=False), nn.Linear(4, 3), wrong

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.gate(x)
            top = torch.softmax(z.topk(1, -1).values, -1) if self.wrong else torch.softmax(z, -1).topk(1, -1).values
            return self.out(x) * top

    assert_lawful(Gate(False), (X,))
    with pytest.raises(AssertionError, match=r"no witness: gate\.weight: its gradient is zero everywhere"):
        assert_lawful(Gate(True), (X,))
    assert_lawful(Gate(True), (X,), allow_untested=["gate"])


def test_operators_that_torch_cannot_look_into() -> None:
    def cube(x):
        return torch.from_numpy(x.detach().numpy() ** 3)

    assert_lawful(Model(operator(cube, lambda g, x: 3 * x * x * g), 0), (X,))
    with pytest.raises(AssertionError, match=r"0\.667 times the derivative along a random direction"):
        assert_lawful(Model(operator(cube, lambda g, x: 2 * x * x * g), 0), (X,))


def test_a_gradient_that_is_meant_to_be_another_one() -> None:
    reverse = operator(lambda x: x.clone(), lambda g, x: -g)
    with pytest.raises(AssertionError, match="the sign is wrong"):
        assert_lawful(Model(reverse, 0), (X,))
    assert_lawful(Model(reverse, 0), (X,), by_design=["Own"])


def test_models_that_return_their_loss() -> None:
    class Loss(nn.Module):
        def __init__(self, each: bool, reduction: str = "mean") -> None:
            super().__init__()
            torch.manual_seed(0)
            self.up, self.each, self.reduction = nn.Linear(4, 5), each, reduction

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            z = self.up(x)
            if self.each:
                return -z.log_softmax(-1).gather(1, t[:, None])[:, 0]
            return F.cross_entropy(z, t, label_smoothing=0.1, ignore_index=0, reduction=self.reduction)

    t = torch.randint(5, (12,), generator=torch.Generator().manual_seed(0))
    for model in (Loss(True), Loss(False), Loss(False, "sum"), Loss(False, "none")):
        assert assert_lawful(model, (X, t)).vouched("reference") == ["up.weight", "up.bias"]


@pytest.mark.parametrize(
    ("model", "args", "error", "text"),
    [
        (nn.ReLU(), (X,), AssertionError, "ReLU has no parameters"),
        (nn.Linear(4, 3).requires_grad_(False), (X,), AssertionError, "all are frozen"),
        (nn.Linear(4, 3), (), ValueError, "needs example inputs"),
        (nn.Linear(4, 3), (X.long(),), ValueError, "the forward of Linear does not run"),
        (nn.Linear(5, 3), (X,), ValueError, "the forward of Linear does not run"),
        (nn.BatchNorm1d(4), (X[:1],), ValueError, "the forward of BatchNorm1d does not run"),
        (nn.Linear(4, 3), (X * math.nan,), AssertionError, "not a number"),
    ],
)
def test_what_cannot_be_tested_is_one_sentence(model, args, error, text) -> None:
    with pytest.raises(error, match=text) as raised:
        assert_lawful(model, args)
    assert "\n" not in str(raised.value)


def test_an_operator_that_runs_only_once_is_not_trusted() -> None:
    runs = []

    def once(x):
        if runs:
            raise RuntimeError("the kernel is gone")
        runs.append(1)
        return torch.from_numpy(x.detach().numpy() ** 3)

    with pytest.raises((AssertionError, ValueError)):
        assert_lawful(Model(operator(once, lambda g, x: 2 * x * x * g), 0), (X,), samples=1)


@pytest.mark.parametrize("name", ["inner", "inner.last"])
def test_a_gradient_that_is_meant_is_declared_by_the_module_around_it_too(name: str) -> None:
    class Last(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return operator(lambda x: x.clone(), lambda g, x: -g)(x)

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), Last()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    model = nn.Sequential()
    model.add_module("inner", Inner())
    found = assert_lawful(model, (torch.randn(5, 3),), by_design=[name])
    assert found.verdict.passed and not found.stale


def test_a_weight_that_no_output_moves_with_is_said_to_be_one() -> None:
    """A GroupNorm of one channel at one position gives 0 for everything before it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(6, 6), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(AssertionError, match=r"0\.weight: no output moves with it"):
        assert_lawful(model, (torch.randn(16, 4),), "mse")
    assert assert_lawful(model, (torch.randn(16, 4),), "mse", allow_untested=["0.weight"]).verdict.passed
