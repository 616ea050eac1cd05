"""Planted faults are seen, with the parameter that they sit in; correct runs are left in peace."""

from collections.abc import Callable

import pytest
import torch
from loops import LAWS, MLP, Backward, train
from torch import nn, optim

import lawful as lw

FROM = 8  # the step at which faults begin


def sgd(m: nn.Module) -> optim.Optimizer:
    return optim.SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)


def adamw(m: nn.Module) -> optim.Optimizer:
    return optim.AdamW(m.parameters(), 1e-3)


def after(layer, f):
    return {"plant": lambda m: m.after.__setitem__(layer, f)}


def hook(name, f):
    return {"plant": lambda m: m.get_parameter(name).register_hook(f)}


def doubled_row(g):
    g = g.clone()
    g[3] *= 2
    return g


def buffer(name, key, value):
    def change(m, o, i):
        if i == FROM:
            value(o.state[m.get_parameter(name)][key])

    return {"between": change}


def grad(name, change, last=10**6):
    def edit(m, o, i):
        if FROM <= i <= last:
            change(m.get_parameter(name).grad)

    return {"between": edit}


@torch.no_grad()
def shrink(m, o, i):
    for p in m.parameters():
        p.mul_(1 - 1e-3)


def without(name, kind=optim.SGD):
    return lambda m: kind([p for n, p in m.named_parameters() if n != name], 0.01)


def patched(m):
    optimizer = optim.AdamW(m.parameters(), 1e-3, weight_decay=0.1)

    def twice(o, args, kwargs):  # decay applied twice, inside of the step
        with torch.no_grad():
            m.fc2.weight.mul_(1 - 1e-4)

    optimizer.register_step_post_hook(twice)
    return optimizer


FAULTS = {  # what is planted, the parameter that must be named, the kind of the finding
    "sign in a backward": (sgd, after(0, lambda h: Backward.apply(h, -1.0)), "fc1.weight", "gradient"),
    "sign in a backward, AdamW": (adamw, after(0, lambda h: Backward.apply(h, -1.0)), "fc1.weight", "gradient"),
    "scale in a backward": (adamw, after(1, lambda h: Backward.apply(h, 0.99)), "fc2.bias", "gradient"),
    "scale in a backward, float32": (
        sgd,
        {"dtype": torch.float32, **after(1, lambda h: Backward.apply(h, 0.9))},
        "fc2.bias",
        "gradient",
    ),
    "detached branch": (sgd, after(1, lambda h: 0.5 * h.detach() + 0.5 * h), "fc2.bias", "gradient"),
    "detached": (sgd, after(1, lambda h: h.detach()), "fc2.bias", "gradient"),
    "rounding that backward does not see": (
        adamw,
        after(1, lambda h: h + (torch.round(4 * h) / 4 - h).detach()),
        "fc2.bias",
        "gradient",
    ),
    "hook on a gradient": (sgd, hook("fc2.weight", lambda g: 1.5 * g), "fc2.weight", "gradient"),
    "one unit with a wrong scale": (adamw, hook("fc3.weight", doubled_row), "fc3.weight", "gradient"),
    "stale momentum": (sgd, buffer("fc2.weight", "momentum_buffer", torch.zero_), "fc2.weight", "momentum"),
    "foreign momentum": (sgd, buffer("fc3.weight", "momentum_buffer", torch.neg_), "fc3.weight", "momentum"),
    "stale first moment": (adamw, buffer("fc2.weight", "exp_avg", torch.zero_), "fc2.weight", "momentum"),
    "gradient turned around later": (sgd, grad("fc3.weight", torch.neg_), "fc3.weight", "edited"),
    "gradient enlarged later": (adamw, grad("fc3.weight", lambda g: g.mul_(2)), "fc3.weight", "edited"),
    "decay applied twice, outside": (sgd, {"outside": shrink}, "fc2.weight", "decay"),
    "decay applied twice, in the step": (patched, {}, "fc2.weight", "optimizer"),
    "decay and a penalty": (
        sgd,
        {"penalty": lambda m: 0.01 * sum(p.square().sum() for p in m.parameters())},
        "fc2.weight",
        "decay",
    ),
    "penalty on one layer": (sgd, {"penalty": lambda m: 0.01 * m.fc2.weight.square().sum()}, "fc2.weight", "gradient"),
    "parameter missing": (without("fc2.weight"), {}, "fc2.weight", "missing"),
    "parameter missing, AdamW": (without("fc3.bias", optim.AdamW), {}, "fc3.bias", "missing"),
    "not a number": (adamw, grad("fc3.weight", lambda g: g[0].fill_(float("nan"))), "fc3.weight", "not finite"),
    "gradient lost": (sgd, {"between": lambda m, o, i: setattr(m.fc2.weight, "grad", None)}, "fc2.weight", "gradient"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen_and_named(name: str) -> None:
    optimizer, options, parameter, kind = FAULTS[name]
    ledger = train(optimizer, **options)
    assert ledger.verdict == "unexplained"
    finding = next(f for f in ledger.findings() if f.fault)
    assert finding.kind == kind and parameter in finding.parameters, ledger.health()
    if kind in ("gradient", "momentum", "optimizer", "missing", "edited"):
        assert len(finding.parameters) <= 2, "the fault is found, but not where it is"


def test_clipping_of_scaled_gradients() -> None:
    """Clipping before unscaling: no law sees it, since it is the same factor everywhere, but the norms do."""

    def scaled(m):
        for p in m.parameters():
            p.register_hook(lambda g: 65536 * g)  # what backward of a scaled loss gives

    def clip(m, o, i):
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        unscale(m, o, i)

    def unscale(m, o, i):
        for p in m.parameters():
            p.grad.div_(65536.0)

    found = train(sgd, plant=scaled, between=clip).findings()
    assert [f.kind for f in found] == ["clipping"] and "unscale_" in found[0].text
    assert not train(sgd, plant=scaled, between=unscale).findings()


CORRECT = {
    "float32": (sgd, {"dtype": torch.float32, "steps": 200}),
    "float32, AdamW": (adamw, {"dtype": torch.float32}),
    "bfloat16": (sgd, {"dtype": torch.bfloat16}),
    "clipping by norm": (adamw, {"between": lambda m, o, i: nn.utils.clip_grad_norm_(m.parameters(), 0.1)}),
    "layers learn at rates of their own": (
        lambda m: optim.SGD([{"params": q.parameters(), "lr": 0.1 / (i + 1)} for i, q in enumerate(m.children())], 0.1),
        {},
    ),
    "dropout": (sgd, after(1, lambda h: nn.functional.dropout(h, 0.3))),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_run_is_left_in_peace(name: str) -> None:
    optimizer, options = CORRECT[name]
    ledger = train(optimizer, **options)
    assert ledger.verdict in ("ok", "rounding") and not [f for f in ledger.findings() if f.fault], ledger.health()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_three_times_the_bound_is_not_rounding(dtype: torch.dtype) -> None:
    ledger = train(sgd, dtype=dtype)
    account = ledger.accounts["balance of fc2"]
    assert ledger.verdict == "rounding"
    assert bool((account.remainder.abs() <= account.bound).all())
    account.remainder = 3 * account.bound
    assert ledger.verdict == "unexplained"


def test_a_layer_that_has_stopped_learning() -> None:
    ledger = train(sgd, plant=lambda m: m.fc1.weight.data.sub_(100), steps=25)
    silent = [f for f in ledger.findings() if f.kind == "silent"]
    assert silent and "fc1.weight" in silent[0].parameters and not silent[0].fault


@pytest.mark.parametrize("backward", [None, lambda y: (0 * y).sum().backward()], ids=["none", "zero"])
def test_steps_without_a_gradient_test_nothing(backward: Callable[[torch.Tensor], None] | None) -> None:
    model = MLP()
    optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9)
    with lw.Ledger(model, optimizer, LAWS) as ledger:
        for _ in range(3):
            optimizer.zero_grad()
            y = model(torch.randn(5, 4, dtype=torch.float64))
            if backward is not None:
                backward(y)
            optimizer.step()
    (found,) = (f for f in ledger.findings() if f.kind == "idle")
    assert ledger.verdict == "not watched" and not found.fault and "fc1.weight" in found.parameters
    assert "nothing is left over" not in ledger.health() and "is backward() there" in ledger.health()


def test_what_it_says_about_a_fault() -> None:
    ledger = train(*FAULTS["hook on a gradient"][:1], **FAULTS["hook on a gradient"][1])
    said = ledger.explain("balance of fc1")
    assert "unexplained" in said and "fc2.weight" in said and "gradient" in said
    assert isinstance(ledger.model, MLP)
