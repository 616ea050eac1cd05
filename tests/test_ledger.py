"""The ledger accounts for every change of every law, whatever the optimizer, and goes on after a restart."""

import io

import pytest
import torch
from loops import LAWS, MLP, train
from torch import nn, optim

import lawful as lw


def groups(m: nn.Module) -> list[dict]:
    weights, rest = ([p for p in m.parameters() if (p.ndim > 1) == big] for big in (True, False))
    return [{"params": weights, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0, "lr": 5e-3}]


def muon(m: nn.Module) -> list[optim.Optimizer]:
    weights, rest = ([p for p in m.parameters() if (p.ndim > 1) == big] for big in (True, False))
    return [optim.Muon(weights, 0.01), optim.AdamW(rest, 0.01)]


class Mine(optim.Optimizer):
    """An optimizer that nobody knows."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign() * p.grad.abs().sqrt()


class Sharp(optim.SGD):
    """SAM as people write it: up the gradient, gradient there, back, step."""

    @torch.no_grad()
    def up(self, radius=0.05):
        self.moved = {p: radius * p.grad / (p.grad.norm() + 1e-12) for g in self.param_groups for p in g["params"]}
        for p, e in self.moved.items():
            p.add_(e)
            p.grad = None

    @torch.no_grad()
    def down(self):
        for p, e in self.moved.items():
            p.sub_(e)


OPTIMIZERS = {
    "sgd": lambda m: optim.SGD(m.parameters(), 0.1),
    "sgd, decay": lambda m: optim.SGD(m.parameters(), 0.1, weight_decay=0.1),
    "sgd, all options": lambda m: optim.SGD(m.parameters(), 0.05, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "nesterov": lambda m: optim.SGD(m.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "maximize": lambda m: optim.SGD(m.parameters(), 0.01, momentum=0.9, maximize=True, foreach=True),
    "fused sgd": lambda m: optim.SGD(m.parameters(), 0.05, momentum=0.9, fused=True),
    "sgd, groups": lambda m: optim.SGD(groups(m), 0.05, momentum=0.9),
    "adam": lambda m: optim.Adam(m.parameters(), 0.01, weight_decay=0.1),
    "amsgrad": lambda m: optim.Adam(m.parameters(), 0.01, amsgrad=True, maximize=True),
    "adamw": lambda m: optim.AdamW(m.parameters(), 0.01, weight_decay=0.1),
    "adamw, groups, fused": lambda m: optim.AdamW(groups(m), 0.01, fused=True),
    "adamax": lambda m: optim.Adamax(m.parameters(), 0.01, weight_decay=0.1),
    "rmsprop": lambda m: optim.RMSprop(m.parameters(), 0.01, weight_decay=0.1),
    "rmsprop, all options": lambda m: optim.RMSprop(m.parameters(), 1e-3, momentum=0.9, centered=True),
    "adagrad": lambda m: optim.Adagrad(m.parameters(), 0.01, lr_decay=0.1, initial_accumulator_value=0.1),
    "adadelta": lambda m: optim.Adadelta(m.parameters(), 1.0, weight_decay=0.1),
    "nadam": lambda m: optim.NAdam(m.parameters(), 0.01, weight_decay=0.1),
    "nadam, decoupled": lambda m: optim.NAdam(m.parameters(), 0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda m: optim.RAdam(m.parameters(), 0.01, weight_decay=0.1),
    "radam, decoupled": lambda m: optim.RAdam(m.parameters(), 0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "muon": muon,
    "asgd": lambda m: optim.ASGD(m.parameters(), 0.01),
    "unknown": lambda m: Mine(m.parameters()),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_is_left_over(name: str) -> None:
    ledger = train(OPTIMIZERS[name])
    assert ledger.verdict == "ok" and not ledger.findings()
    for row in ledger.rows():
        assert row.relative <= 1e-13
        assert abs(row.change - sum(row.causes.values())) <= 1e-12
        assert abs(row.change) > 1e-6 or row.law.startswith("shift"), "a law that does not move tests nothing"
    assert all(a.leak < 1e-14 for a in ledger.accounts.values())


def test_every_scalar_adds_up() -> None:
    ledger = train(OPTIMIZERS["adamw"])
    for law in LAWS:
        parts = ledger.account(law)
        change = parts.pop("change")
        assert change.shape == law.value(MLP()).shape
        torch.testing.assert_close(sum(parts.values()), change, rtol=0, atol=1e-13)


def test_the_causes_are_those_of_the_theory() -> None:
    """SGD with decay: `h+ = (1 - rate decay)^2 h + rate^2 Q(g)`, the table of the theory."""
    model = MLP()
    before = LAWS["balance of fc1"].value(model).detach()
    ledger = train(lambda m: optim.SGD(m.parameters(), 0.1, weight_decay=0.2), model=model, steps=1)
    parts = ledger.account("balance of fc1")
    torch.testing.assert_close(parts["decay"], ((1 - 0.1 * 0.2) ** 2 - 1) * before)


def test_schedules_accumulation_clipping_and_unscaling_are_understood() -> None:
    def by_value(m, o, i):
        nn.utils.clip_grad_value_(m.parameters(), 0.01)

    def by_parameter(m, o, i):
        for p in m.parameters():
            p.grad.mul_(min(1.0, 0.05 / float(p.grad.norm())))

    def unscaled(m, o, i):
        for p in m.parameters():
            p.grad.mul_(2.0**-10)
        nn.utils.clip_grad_norm_(m.parameters(), 1e-4)

    def schedule(m, o, i):
        o.param_groups[0]["lr"] *= 0.9

    for hook, clips in ((by_value, True), (by_parameter, True), (unscaled, False), (schedule, False)):
        for name in ("nesterov", "adamw", "unknown"):
            ledger = train(OPTIMIZERS[name], between=hook)
            assert ledger.verdict == "ok", (hook.__name__, name, ledger.health())
            assert ("clipping" in ledger.rows()[0].causes) == clips


def test_sharpness_aware_steps() -> None:
    model = MLP()
    optimizer = Sharp(model.parameters(), 0.1, momentum=0.9)
    ledger = lw.Ledger(model, optimizer, LAWS)
    for _ in range(20):
        x, y = torch.randn(16, 4, dtype=torch.float64), torch.randint(0, 3, (16,))
        for at in ("here", "above"):
            nn.functional.cross_entropy(model(x), y).backward()
            if at == "here":
                optimizer.up()
        optimizer.down()
        optimizer.step()
        optimizer.zero_grad()
    assert ledger.verdict == "ok", ledger.health()
    assert "sharpness" in ledger.rows()[0].causes
    assert all(row.relative <= 1e-12 for row in ledger.rows())


def test_a_closure_is_run_once() -> None:
    model = MLP()
    optimizer = optim.SGD(model.parameters(), 0.1)
    ledger = lw.Ledger(model, optimizer, LAWS)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = model(torch.ones(3, 4, dtype=torch.float64)).square().mean() + 0 * model.fc4.bias.sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert len(calls) == 3 and ledger.rows()[0].relative < 1e-14
    assert {r.law: r.verdict for r in ledger.rows()}["balance of fc1"] == "ok"


def test_a_closure_that_runs_many_times() -> None:
    model = MLP()
    optimizer = optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    ledger = lw.Ledger(model, optimizer, LAWS)
    x, y = torch.randn(16, 4, dtype=torch.float64), torch.randint(0, 3, (16,))

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)
    assert ledger.verdict == "ok", ledger.health()


def test_what_only_rounding_moves() -> None:
    """A bias before BatchNorm has no gradient but rounding, which RMSprop blows up: a cause, not a fault."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.RMSprop(model.parameters(), 1e-3)
    ledger = lw.Ledger(model, optimizer)
    for _ in range(10):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
    assert ledger.verdict == "epsilon in part" and not [f for f in ledger.findings() if f.fault], ledger.health()
    frozen = next(row for row in ledger.rows() if row.law == "frozen 0.bias")
    assert frozen.relative < 1e-5 < abs(frozen.change)


def test_every_kth_step_and_a_sample_of_laws() -> None:
    assert train(OPTIMIZERS["adamw"], every=4).verdict == "ok"
    assert len(train(OPTIMIZERS["adamw"], sample=2).rows()) == 2


@pytest.mark.parametrize("name", ["sgd, all options", "adamw", "muon"])
def test_a_killed_run_resumes(name: str) -> None:
    whole = train(OPTIMIZERS[name], steps=30)
    model = MLP()
    first = train(OPTIMIZERS[name], model=model, steps=30)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    again = train(OPTIMIZERS[name], model=model, steps=0)
    again.load_state_dict(torch.load(buffer, weights_only=True))
    assert [r.as_dict() for r in again.rows()] == [r.as_dict() for r in first.rows()]
    assert [r.as_dict() for r in whole.rows()] == [r.as_dict() for r in first.rows()]


def test_laws_are_derived_from_the_first_forward_pass() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    ledger = lw.Ledger(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(5, 4)).square().mean().backward()
        optimizer.step()
    assert [row.law for row in ledger.rows()] == ["balance of 0"]
    assert "preconditioner" in ledger.explain("balance of 0") and "verdict" in str(ledger)
    assert ledger.plot() is not None


def test_names_of_wrappers() -> None:
    model = MLP()
    wrapped = nn.ModuleDict({"_orig_mod": nn.ModuleDict({"module": nn.ModuleDict({"net": model})})})
    ledger = lw.Ledger(wrapped, optim.SGD(model.parameters(), 0.1), LAWS)
    assert ledger.parameters["fc1.weight"] is model.fc1.weight
    with pytest.raises(ValueError, match="does not have"):
        lw.Ledger(nn.Linear(2, 2), optim.SGD(model.parameters(), 0.1), LAWS)


def test_bad_input() -> None:
    model = MLP()
    sgd = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="every=0"):
        lw.Ledger(model, sgd, LAWS, every=0)
    with pytest.raises(ValueError, match="no law to watch"):
        lw.Ledger(model, sgd, [])
    with pytest.raises(TypeError, match="expected an optimizer"):
        lw.Ledger(model, 3, LAWS)
    with pytest.raises(KeyError, match="no law named"):
        lw.Ledger(model, sgd, LAWS).explain("nothing")


@pytest.mark.parametrize("size", [0.0, 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decay_that_the_buffer_holds_without_gradients_is_no_stale_buffer(dtype: torch.dtype, size: float) -> None:
    """Found by a new user: the rounding of what decay put there was held against gradients of zero."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).to(dtype)
    optimizer, x = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01), torch.randn(8, 4)
    ledger = lw.Ledger(model, optimizer, args=x.to(dtype))
    for _ in range(12):
        optimizer.zero_grad()
        (size * model(x.to(dtype)).square().mean()).backward()
        optimizer.step()
    assert "fault" not in str(ledger.health()), ledger.health()
