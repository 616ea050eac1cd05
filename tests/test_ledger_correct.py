"""Correct runs in the idioms of other people's loops: none is accused."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loops import MLP
from test_ledger_planted import Attention, Run, adamw, plain, sgd
from torch import nn, optim
from torch.nn import functional as F

import lawful as lw

Loop = Callable[[Run, int], Any]


def made(key: str, make: Callable[[Run], Any], run: Run) -> Any:
    """Something that a loop makes once: a schedule, a scaler, an average."""
    return run.__dict__.setdefault(key, None) or run.__dict__.__setitem__(key, make(run)) or run.__dict__[key]


def schedule(run: Run, i: int) -> None:
    made("s", lambda r: optim.lr_scheduler.OneCycleLR(r.optimizers[0], 1e-2, total_steps=40), run)
    plain(run, i)
    run.s.step()


def accumulate(run: Run, i: int) -> None:
    for _ in range(3):
        (run.loss() / 3).backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 0.1)
    run.step()
    run.zero()


def clip_value(run: Run, i: int) -> None:
    run.zero()
    run.loss().backward()
    nn.utils.clip_grad_value_(run.model.parameters(), 1e-2)
    run.step()


def clip_a_part(run: Run, i: int) -> None:
    run.zero()
    run.loss().backward()
    nn.utils.clip_grad_norm_([p for n, p in run.model.named_parameters() if n.startswith(("up", "fc2"))], 1e-2)
    run.step()


def zeros(run: Run, i: int) -> None:
    loss = run.loss()
    for one in run.optimizers:
        one.zero_grad(set_to_none=False)
    loss.backward()
    run.step()


def thrown_away(run: Run, i: int) -> None:
    """A backward whose gradients nobody uses, as in a GAN."""
    run.loss().backward()
    plain(run, i)


def autocast(run: Run, i: int) -> None:
    run.zero()
    with torch.autocast("cpu", torch.bfloat16):
        loss = run.loss()
    loss.backward()
    run.step()


def scaler(run: Run, i: int) -> None:
    scale = made("scale", lambda r: torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4), run)
    run.zero()
    scale.scale(run.loss()).backward()
    scale.unscale_(run.optimizers[0])
    nn.utils.clip_grad_norm_(run.model.parameters(), 0.5)
    scale.step(run.optimizers[0])
    scale.update()


def average(run: Run, i: int) -> None:
    """EMA as a copy of the whole model, made while the ledger is attached, and run in evaluation and in training."""
    ema = made("ema", lambda r: optim.swa_utils.AveragedModel(r.model), run)
    plain(run, i)
    ema.update_parameters(run.model)
    with torch.no_grad():
        ema(torch.randn(4, *((5, 6) if isinstance(run.model, Attention) else (4,)), dtype=torch.float64))


def sharp(run: Run, i: int) -> None:
    """SAM by hand."""
    run.zero()
    state = run.generator.get_state()
    run.loss().backward()
    grads = [p.grad.clone() for p in run.model.parameters()]
    norm = torch.stack([g.norm() for g in grads]).norm()
    with torch.no_grad():
        for p, g in zip(run.model.parameters(), grads, strict=True):
            p.add_(0.05 * g / norm)
    run.zero()
    run.generator.set_state(state)
    run.loss().backward()
    with torch.no_grad():
        for p, g in zip(run.model.parameters(), grads, strict=True):
            p.sub_(0.05 * g / norm)
    run.step()


def evaluation(run: Run, i: int) -> None:
    plain(run, i)
    run.model.eval()
    with torch.no_grad():
        run.loss()
    run.model.train()


def closure(run: Run, i: int) -> None:
    def again() -> torch.Tensor:
        run.zero()
        loss = run.loss()
        loss.backward()
        return loss

    run.optimizers[0].step(again)


def saved(run: Run, i: int) -> None:
    plain(run, i)
    torch.save(run.model, io.BytesIO())
    copy.deepcopy(run.model)(
        torch.randn(2, *((5, 6) if isinstance(run.model, Attention) else (4,))).double()
    ).sum().backward()


def skipped(run: Run, i: int) -> None:
    run.zero()
    loss = run.loss() * (float("nan") if i == 4 else 1.0)
    if not loss.isfinite():
        return
    loss.backward()
    run.step()


def no_decay(m: nn.Module) -> optim.Optimizer:
    few = [p for p in m.parameters() if p.ndim < 2]
    return optim.AdamW(
        [{"params": [p for p in m.parameters() if p.ndim > 1]}, {"params": few, "weight_decay": 0}], 1e-3
    )


def muon(m: nn.Module) -> list[optim.Optimizer]:
    return [
        optim.Muon([p for p in m.parameters() if p.ndim == 2], 1e-3),
        optim.AdamW([p for p in m.parameters() if p.ndim < 2]),
    ]


CORRECT: dict[str, tuple[Callable[[], nn.Module], Any, Loop, dict[str, Any]]] = {
    "one cycle": (Attention, adamw, schedule, {}),
    "accumulation and clipping by norm": (Attention, adamw, accumulate, {}),
    "clipping by value": (Attention, sgd, clip_value, {}),
    "clipping a part": (Attention, adamw, clip_a_part, {}),
    "gradients set to zero, late": (Attention, sgd, zeros, {}),
    "a backward thrown away": (Attention, adamw, thrown_away, {}),
    "autocast": (Attention, adamw, autocast, {"dtype": torch.float32}),
    "scaler": (Attention, sgd, scaler, {}),
    "EMA": (Attention, adamw, average, {}),
    "SAM": (Attention, sgd, sharp, {}),
    "evaluation in between": (Attention, adamw, evaluation, {}),
    "closure": (MLP, adamw, closure, {}),
    "saved and copied whole": (Attention, adamw, saved, {}),
    "a step without a number skipped": (MLP, sgd, skipped, {}),
    "groups without decay": (Attention, no_decay, plain, {}),
    "Muon beside AdamW": (MLP, muon, plain, {}),
    "every third step": (Attention, sgd, plain, {"every": 3}),
    "a sample of the laws": (Attention, adamw, accumulate, {"sample": 3}),
    "RMSprop": (Attention, lambda m: optim.RMSprop(m.parameters(), 1e-4, momentum=0.9), plain, {}),
    "Adagrad": (Attention, lambda m: optim.Adagrad(m.parameters(), 1e-2), clip_value, {}),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_run_is_left_in_peace(name: str) -> None:
    network, make, loop, options = CORRECT[name]
    run = Run(network(), make, **options)
    for i in range(9):
        loop(run, i)
    assert run.ledger.verdict.removesuffix(" in part") in ("ok", "rounding", "epsilon"), run.ledger.health()
    assert not [f for f in run.ledger.findings() if f.fault], run.ledger.health()
    assert max(row.relative for row in run.ledger.rows()) < (1e-3 if name == "autocast" else 1e-12)


class Stream(nn.Module):
    """A stream between norms that are given no epsilon: torch takes that of the type that they read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.up, self.down = nn.Linear(5, 4), nn.RMSNorm(4), nn.Linear(4, 7), nn.Linear(7, 4)
        self.last, self.head = nn.RMSNorm(4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        out: torch.Tensor = self.head(self.last(x + self.down(self.up(self.inner(x)).relu())))
        return out


def singles() -> nn.Module:
    """Norms of one number each hand on the rounding of what they read, three hundred times larger."""
    return nn.Sequential(nn.Linear(5, 8), nn.SiLU(), nn.GroupNorm(8, 8), nn.Linear(8, 3))


@pytest.mark.parametrize("make", [Stream, singles])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_without_a_given_epsilon_and_of_one_number_accuse_nobody(
    make: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = make().to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ledger = lw.Ledger(model, optimizer, loss="cross_entropy")

    def train() -> None:
        for _ in range(3):
            optimizer.zero_grad()
            x = torch.randn(3, 5).to(dtype) + 5
            F.cross_entropy(model(x), torch.randint(3, (3,))).backward()
            optimizer.step()

    train()
    assert not [f for f in ledger.findings() if f.fault]
    if isinstance(model, Stream):
        model.head.weight.register_hook(lambda g: 1.1 * g)
        train()
        assert [f.kind for f in ledger.findings() if f.fault] == ["gradient"]
    ledger.close()
