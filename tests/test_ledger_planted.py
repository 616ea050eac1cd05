"""Further planted faults, of the kinds that training code has: each is seen, with the parameter that it sits in.

This file is long because each fault stands beside the loop that it is planted in.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loops import LAWS, MLP, Backward
from torch import nn, optim
from torch.nn import functional as F

import lawful as lw

FROM, STEPS = 5, 12
Step = Callable[["Run", int], Any]


class Attention(nn.Module):
    """Stem, norm, two heads, ReLU layer, all on a stream; faults are planted behind its parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        d = 12
        self.stem, self.norm, self.norm2 = nn.Linear(6, d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.up, self.down, self.final, self.head = nn.Linear(d, 10), nn.Linear(10, d), nn.LayerNorm(d), nn.Linear(d, 4)
        self.after: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}

    def at(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.after.get(name, lambda h: h)(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.at("stem", self.stem(x))
        z = self.at("norm", self.norm(x))
        q, k, v = (self.at(n, f(z)).unflatten(-1, (2, 6)).transpose(1, 2) for n, f in self.heads())
        a = torch.softmax(q @ k.mT / 6**0.5, -1) @ v
        x = x + self.o(a.transpose(1, 2).flatten(2))
        x = x + self.at("mlp", self.down(F.relu(self.at("up", self.up(self.norm2(x))))))
        return self.head(self.final(x).mean(1))

    def heads(self) -> list[tuple[str, nn.Module]]:
        return [("q", self.q), ("k", self.k), ("v", self.v)]


ATTENTION = lw.derive(Attention().double(), "cross_entropy", args=(torch.randn(3, 5, 6, dtype=torch.float64),))


class Run:
    """A model with its optimizer, a ledger, and batches."""

    def __init__(
        self, model: nn.Module, make: Callable[[nn.Module], Any], dtype: torch.dtype = torch.float64, **options: Any
    ) -> None:
        self.model, self.dtype = model.to(dtype), dtype
        made = make(self.model)
        self.optimizers = made if isinstance(made, list) else [made]
        laws = ATTENTION if isinstance(model, Attention) else LAWS
        self.ledger = lw.Ledger(model, made, laws, **options)
        self.generator = torch.Generator().manual_seed(1)

    def loss(self) -> torch.Tensor:
        g, tokens = self.generator, isinstance(self.model, Attention)
        x = torch.randn(16, *((5, 6) if tokens else (4,)), dtype=torch.float64, generator=g)
        return F.cross_entropy(self.model(x.to(self.dtype)), torch.randint(0, 4 if tokens else 3, (16,), generator=g))

    def zero(self) -> None:
        for one in self.optimizers:
            one.zero_grad()

    def step(self) -> None:
        for one in self.optimizers:
            one.step()

    def __getitem__(self, name: str) -> nn.Parameter:
        return self.model.get_parameter(name)


def plain(run: Run, i: int) -> None:
    run.zero()
    run.loss().backward()
    run.step()


def between(edit: Step) -> Step:
    """A loop with something between backward and the step, from a step on."""

    def one(run: Run, i: int) -> None:
        run.zero()
        run.loss().backward()
        if i >= FROM:
            edit(run, i)
        run.step()

    return one


def behind(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    """A loop whose model computes the same, with another backward, from a step on."""

    def one(run: Run, i: int) -> None:
        if i == FROM:
            run.model.after[part] = change
        plain(run, i)

    return one


def one_head(h: torch.Tensor) -> torch.Tensor:
    return torch.cat([h[..., :6], Backward.apply(h[..., 6:], 1.1)], -1)


class NoMean(torch.autograd.Function):
    """A LayerNorm whose backward forgets the projection along its output."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward((x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt())
        return F.layer_norm(x, x.shape[-1:])

    @staticmethod
    def backward(ctx: Any, *g: torch.Tensor) -> torch.Tensor:
        return (g[0] - g[0].mean(-1, keepdim=True)) * ctx.saved_tensors[0]


class OwnNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return NoMean.apply(x) * self.weight + self.bias


def own_norm(run: Run, i: int) -> None:
    if i == FROM:
        run.model.norm2.__class__ = OwnNorm
    plain(run, i)


class OwnAdam(optim.Optimizer):
    """Adam by hand, with the bias correction of the second moment left out."""

    def __init__(self, params: Any, right: bool) -> None:
        super().__init__(params, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8})
        self.right = right

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            s = self.state[p] = self.state.get(p) or {
                "step": 0,
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
            s["step"] += 1
            s["exp_avg"].mul_(0.9).add_(p.grad, alpha=0.1)
            s["exp_avg_sq"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            second = s["exp_avg_sq"] / (1 - 0.999 ** s["step"] if self.right else 1)
            p.sub_(1e-3 / (1 - 0.9 ** s["step"]) * s["exp_avg"] / (second.sqrt() + 1e-8))


def accumulated(run: Run, i: int) -> None:
    """Four batches are added up, and the sum divided, but that of one layer is forgotten."""
    run.zero()
    for _ in range(4):
        run.loss().backward()
    for n, p in run.model.named_parameters():
        if n != "fc2.weight":
            p.grad /= 4
    run.step()


def uncleared(run: Run, i: int) -> None:
    if i < FROM:
        run.zero()
    run.loss().backward()
    run.step()


def ema(run: Run, i: int) -> None:
    average = run.__dict__.setdefault("average", {n: p.detach().clone() for n, p in run.model.named_parameters()})
    plain(run, i)
    with torch.no_grad():
        for n, p in run.model.named_parameters():
            average[n].lerp_(p, 0.1)
            if i == FROM:
                p.copy_(average[n])


def freeze(run: Run, i: int) -> None:
    """A layer is frozen, but the optimizer has it and its gradient is still there, as zeros."""
    if i == FROM:
        run["fc2.weight"].requires_grad_(False)
    for one in run.optimizers:
        one.zero_grad(set_to_none=False)
    run.loss().backward()
    run.step()


def nan(run: Run, i: int) -> None:
    """One row of a gradient is not a number; somebody makes zeros of it."""
    run["fc3.weight"].grad.nan_to_num_(0.0)


def plant_nan(run: Run, i: int) -> None:
    if i == FROM:
        run["fc3.weight"].register_hook(lambda g: torch.where(torch.arange(len(g))[:, None] == 2, float("nan"), g))
    between(nan)(run, i)


def drop(name: str) -> Step:
    return between(lambda run, i: setattr(run[name], "grad", None))


def sgd(m: nn.Module) -> optim.Optimizer:
    return optim.SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)


def adamw(m: nn.Module) -> optim.Optimizer:
    return optim.AdamW(m.parameters(), 1e-3)


def twice(m: nn.Module) -> list[optim.Optimizer]:
    return [optim.SGD(m.parameters(), 0.05), optim.SGD([m.fc2.weight], 0.05)]


FAULTS: dict[str, tuple[Callable[[], nn.Module], Any, Step, dict[str, Any], str, str]] = {
    # network, optimizer, loop, options, the parameter that must be named, the kind of the finding
    "scale in one head": (Attention, adamw, behind("v", one_head), {}, "v.weight", "gradient"),
    "sign in one head": (
        Attention,
        sgd,
        behind("v", lambda h: torch.cat([h[..., :6], Backward.apply(h[..., 6:], -1.0)], -1)),
        {},
        "v.weight",
        "gradient",
    ),
    "keys detached": (Attention, adamw, behind("k", lambda h: h.detach()), {}, "k.weight", "gradient"),
    "a branch of the stream detached": (Attention, sgd, behind("up", lambda h: h.detach()), {}, "up.bias", "gradient"),
    "scale of a whole branch": (
        Attention,
        adamw,
        behind("mlp", lambda h: Backward.apply(h, 0.9)),
        {},
        "down.bias",
        "",
    ),
    "backward of a LayerNorm": (Attention, adamw, own_norm, {}, "stem.weight", "gradient"),
    "gradient of a norm's gain dropped": (Attention, adamw, drop("norm2.weight"), {}, "norm2.weight", "gradient"),
    "gradient of a norm's bias dropped": (Attention, sgd, drop("norm.bias"), {}, "norm.bias", "gradient"),
    "an average that leaves one out": (MLP, sgd, accumulated, {}, "fc2.weight", "edited"),
    "gradients not cleared": (MLP, adamw, uncleared, {}, "fc2.weight", "uncleared"),
    "stepped by two optimizers": (MLP, twice, plain, {}, "fc2.weight", "twice"),
    "bias correction": (
        MLP,
        lambda m: OwnAdam(m.parameters(), False),
        plain,
        {"like": optim.Adam},
        "fc2.weight",
        "optimizer",
    ),
    "frozen, but moved": (MLP, sgd, freeze, {}, "fc2.weight", "frozen"),
    "not a number, made zero": (MLP, adamw, plant_nan, {}, "fc3.weight", "not finite"),
    "EMA written back": (MLP, adamw, ema, {}, "fc2.weight", "outside"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen_and_named(name: str) -> None:
    network, make, loop, options, parameter, kind = FAULTS[name]
    run = Run(network(), make, **options)
    for i in range(STEPS):
        loop(run, i)
    found = run.ledger.findings()
    assert kind == "outside" or run.ledger.verdict == "unexplained", run.ledger.health()
    first = next(f for f in found if f.fault or f.kind == kind)
    assert parameter in first.parameters and kind in ("", first.kind), run.ledger.health()
    assert "like" not in options or "the step of OwnAdam is not the one that Adam (like=) makes" in first.text


def test_an_optimizer_of_ones_own_that_is_right() -> None:
    run = Run(MLP(), lambda m: OwnAdam(m.parameters(), True), like=optim.Adam)
    for i in range(STEPS):
        plain(run, i)
    assert run.ledger.verdict == "ok", run.ledger.health()


def test_before_a_fault_nothing_is_accused() -> None:
    for network, make, loop, options, *_ in (FAULTS[n] for n in ("scale in one head", "frozen, but moved")):
        run = Run(network(), make, **options)
        for i in range(FROM):
            loop(run, i)
        assert not run.ledger.findings(), run.ledger.health()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_three_times_the_bound_is_neither_epsilon_nor_rounding(dtype: torch.dtype) -> None:
    run = Run(Attention(), sgd, dtype=dtype)
    for i in range(3):
        plain(run, i)
    law = next(one.name for one in ATTENTION if not one.exact)
    account, verdicts = run.ledger.accounts[law], {row.law: row.verdict for row in run.ledger.rows()}
    assert verdicts[law] == "epsilon" and bool((account.remainder.abs() <= account.bound).all())
    account.remainder = 3 * account.bound
    assert {row.law: row.verdict for row in run.ledger.rows()}[law] == "unexplained"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_slope_of_three_times_what_rounding_may_be_is_not_epsilon(dtype: torch.dtype) -> None:
    """A gradient that holds a small multiple of the weights of the stream, beside what the epsilon of norms does."""
    run = Run(Attention(), lambda m: optim.SGD(m.parameters(), 0.05), dtype=dtype)
    law = next(one for one in ATTENTION if not one.exact)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    names = law.parameters
    weights = torch.cat([run[n].detach().reshape(-1) for n in names])

    def add(i: int) -> None:
        grads = torch.cat([run[n].grad.reshape(-1) for n in names])
        for n in names:
            run[n].grad = run[n].grad + 4 * tolerance * float(grads.norm() / weights.norm()) * run[n].detach()

    run.zero()
    run.loss().backward()
    add(0)
    run.step()
    assert {row.law: row.verdict for row in run.ledger.rows()}[law.name] == "unexplained", run.ledger.health()


class Signed(optim.Optimizer):
    """Descent of an own class, with the sign of every group in its hands."""

    def __init__(self, groups: Any) -> None:
        super().__init__(groups, {"lr": 0.01, "sign": -1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=group["sign"] * group["lr"])


def split(model: nn.Module, **more: Any) -> list[dict[str, Any]]:
    first, *rest = model.parameters()
    return [{"params": [first]}, {"params": rest, **more}]


@pytest.mark.parametrize(
    ("make", "climbs"),
    [
        (lambda m: Signed(split(m, sign=1.0)), True),
        (lambda m: Signed(split(m)), False),
        (lambda m: optim.SGD(split(m, maximize=True), lr=0.01), True),
        (lambda m: optim.Adam(split(m, maximize=True), lr=0.01), True),
        (lambda m: optim.SGD(m.parameters(), lr=0.01, maximize=True), False),
        (lambda m: optim.SGD(m.parameters(), lr=0.01, momentum=0.9), False),
    ],
)
def test_a_group_that_goes_up_is_named_and_is_no_fault(make: Callable[[nn.Module], Any], climbs: bool) -> None:
    model = MLP()
    optimizer, x = make(model), torch.randn(16, 4, dtype=torch.float64)
    ledger = lw.Ledger(model, optimizer, LAWS)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(16) % 3).backward()
        optimizer.step()
    found = [f for f in ledger.findings() if f.kind == "uphill"]
    ledger.close()
    assert ledger.verdict == "ok"
    names = tuple(n for n, _ in model.named_parameters())[1:]
    assert [(f.parameters, f.fault) for f in found] == [(names, False)] * climbs
