"""What loops do between backward and the step, and to parts of a network: told apart from faults."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loops import MLP
from test_ledger_planted import Attention, Run, adamw, between, plain, sgd
from torch import nn, optim

Loop = Callable[[Run, int], Any]


def edited(edit: Callable[[nn.Parameter], Any]) -> Loop:
    """A loop that does something to every gradient."""

    def one(run: Run, i: int) -> None:
        run.zero()
        run.loss().backward()
        for p in run.model.parameters():
            edit(p)
        run.step()

    return one


def centred(p: nn.Parameter) -> None:
    assert p.grad is not None
    if p.ndim > 1:
        p.grad.sub_(p.grad.mean(1, keepdim=True))


def replaced(p: nn.Parameter) -> None:
    assert p.grad is not None
    p.grad = 0.5 * p.grad


def capped(p: nn.Parameter) -> None:
    assert p.grad is not None
    top = float(p.grad.abs().flatten().quantile(0.9))
    p.grad = p.grad.clamp(-top, top)


def scaled(run: Run, i: int) -> None:
    """A scaler that unscales in its own step, and skips one: no version of a gradient counts that."""
    if i == 0:
        run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    run.zero()
    run.scaler.scale(run.loss()).backward()
    if i == 2:
        next(run.model.parameters()).grad.fill_(float("inf"))
    run.scaler.step(run.optimizers[0])
    run.scaler.update()


def part(run: Run) -> nn.Module:
    return run.model.q if isinstance(run.model, Attention) else run.model.fc1


def frozen_for_a_while(run: Run, i: int) -> None:
    if i in (3, 6):
        part(run).requires_grad_(i == 6)
    plain(run, i)


def alternating(run: Run, i: int) -> None:
    run.zero()
    run.loss().backward()
    if i % 2:
        for p in part(run).parameters():
            p.grad = None
    run.step()


def a_late_group(m: nn.Module) -> optim.Optimizer:
    m.requires_grad_(False)
    few = [p.requires_grad_() for n, p in m.named_parameters() if not n.startswith(("q", "fc1"))]
    return optim.SGD(few, 0.02, momentum=0.9)


def joined(run: Run, i: int) -> None:
    if i == 4:
        run.optimizers[0].add_param_group({"params": list(part(run).requires_grad_().parameters()), "lr": 0.01})
    plain(run, i)


def lookahead(run: Run, i: int) -> None:
    if i == 0:
        run.slow = [p.detach().clone() for p in run.model.parameters()]
    plain(run, i)
    if i % 4 == 3:
        with torch.no_grad():
            for s, p in zip(run.slow, run.model.parameters(), strict=True):
                p.copy_(s.lerp_(p, 0.5))


def gone_back(run: Run, i: int) -> None:
    """A checkpoint loaded in mid-run."""
    if i == 3:
        run.kept = {n: x.clone() for n, x in run.model.state_dict().items()}
    if i == 7:
        run.model.load_state_dict(run.kept)
    plain(run, i)


def tensor_rate(m: nn.Module) -> optim.Optimizer:
    return optim.AdamW(m.parameters(), torch.tensor(1e-3), foreach=False)


def fused(m: nn.Module) -> optim.Optimizer:
    return optim.AdamW(m.parameters(), 1e-3, fused=True)


IDIOMS: dict[str, tuple[Any, Loop]] = {
    "gradient centralisation": (sgd, edited(centred)),
    "gradients replaced": (adamw, edited(replaced)),
    "gradients capped in new tensors": (sgd, edited(capped)),
    "a scaler that unscales": (sgd, scaled),
    "a scaler and a fused step": (fused, scaled),
    "frozen for a while": (sgd, frozen_for_a_while),
    "frozen for a while, AdamW": (adamw, frozen_for_a_while),
    "alternating": (adamw, alternating),
    "a group that is added": (a_late_group, joined),
    "lookahead": (adamw, lookahead),
    "a checkpoint loaded": (adamw, gone_back),
    "a learning rate that is a tensor": (tensor_rate, plain),
}


@pytest.mark.parametrize("network", [MLP, Attention])
@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_is_no_fault(name: str, network: Callable[[], nn.Module]) -> None:
    make, loop = IDIOMS[name]
    run = Run(network(), make)
    for i in range(10):
        loop(run, i)
    assert not [f for f in run.ledger.findings() if f.fault], run.ledger.health()
    assert run.ledger.verdict.removesuffix(" in part") in ("ok", "rounding", "epsilon"), run.ledger.health()
    assert max(row.relative for row in run.ledger.rows()) < (1e-6 if "tensor" in name else 1e-12)


def test_a_part_that_is_frozen_for_a_while_has_its_own_cause() -> None:
    run = Run(MLP(), sgd)
    for i in range(10):
        frozen_for_a_while(run, i)
    causes = run.ledger.account("balance of fc1")
    assert float(causes["frozen part"].abs().max()) > 1e-6 and float(causes["remainder"].abs().max()) < 1e-13


def test_steps_within_backward_are_said_not_to_be_watched() -> None:
    run = Run(MLP(), lambda m: [optim.SGD([p], 0.01) for p in m.parameters()])
    for p, one in zip(run.model.parameters(), run.optimizers, strict=True):

        def at_once(p: nn.Parameter, one: optim.Optimizer = one) -> None:
            one.step()
            one.zero_grad()

        p.register_post_accumulate_grad_hook(at_once)
    for _ in range(4):
        run.loss().backward()
    assert run.ledger.verdict == "not watched"
    assert [f.kind for f in run.ledger.findings()] == ["within backward"], run.ledger.health()


def enlarged(run: Run, i: int) -> None:
    """Scaled, and unscaled for all but one layer."""
    for n, p in run.model.named_parameters():
        assert p.grad is not None
        p.grad.mul_(1024.0)
        if not n.startswith("fc3"):
            p.grad.div_(1024.0)


def lost(run: Run, i: int) -> None:
    run["fc2.weight"].grad = None


@pytest.mark.parametrize(("edit", "named"), [(enlarged, {"fc3.weight", "fc3.bias"}), (lost, {"fc2.weight"})])
def test_what_only_looks_like_an_idiom_is_a_fault(edit: Loop, named: set[str]) -> None:
    run = Run(MLP(), sgd)
    for i in range(9):
        between(edit)(run, i)
    assert run.ledger.verdict == "unexplained"
    assert {n for f in run.ledger.findings() if f.fault for n in f.parameters} == named, run.ledger.health()
