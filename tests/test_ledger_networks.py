"""The account of a BatchNorm ResNet and of a pre-norm Transformer, with and without the epsilon of norms."""

from typing import Any

import pytest
import torch
from torch import nn, optim

import lawful as lw
from lawful import blocks as b

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, 0.02, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: optim.SGD(p, 0.02, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, 1e-3, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, 1e-3, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, 1e-3),
    "nadam": lambda p: optim.NAdam(p, 1e-3),
    "radam": lambda p: optim.RAdam(p, 1e-3),
    "rmsprop": lambda p: optim.RMSprop(p, 1e-4),
    "adagrad": lambda p: optim.Adagrad(p, 1e-2),
    "adadelta": lambda p: optim.Adadelta(p, 0.1),
}


def resnet(epsilon: float) -> lw.Architecture:
    def conv(i: int, o: int) -> b.Net:
        return b.Conv2d(i, o, 3, padding=1, bias=False) >> b.BatchNorm(o, epsilon=epsilon)

    block = b.residual(conv(6, 6) >> b.ReLU() >> conv(6, 6)) >> b.ReLU()
    return lw.Architecture(conv(3, 6) >> b.ReLU() >> block >> b.GlobalAveragePool() >> b.Linear(6, 5), space=(6, 6))


def transformer(epsilon: float) -> lw.Architecture:
    attention = b.LayerNorm(8, epsilon=epsilon) >> b.SelfAttention(8, 2, bias=True, causal=True)
    mlp = b.LayerNorm(8, epsilon=epsilon) >> b.MLP(8, 12)
    layer = b.residual(attention) >> b.residual(mlp)
    net = b.Embedding(11, 8) >> b.LearnedPosition(5, 8) >> layer >> b.LayerNorm(8, epsilon=epsilon) >> b.Linear(8, 11)
    return lw.Architecture(net, space=(5,))


def run(arch: lw.Architecture, optimizer: str, steps: int, dtype: torch.dtype = torch.float64) -> lw.Ledger:
    model = arch.to_torch(dtype)
    made = OPTIMIZERS[optimizer](model.parameters())
    ledger = lw.Ledger(model, made, loss="cross_entropy")
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        if arch.inputs[0].tokens:
            run = torch.randint(0, 11, (4, 6), generator=generator)
            x, y = run[:, :-1], run[:, 1:]
        else:
            x = torch.randn(8, 3, 6, 6, generator=generator, dtype=torch.float64).to(dtype)
            y = torch.randint(0, 5, (8,), generator=generator)
        made.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        made.step()
    return ledger


NETWORKS = {
    "resnet, epsilon 0": (resnet, 0.0),
    "resnet": (resnet, 1e-5),
    "transformer, epsilon 0": (transformer, 0.0),
    "transformer": (transformer, 1e-5),
}


def judged(name: str, optimizer: str, steps: int) -> None:
    make, epsilon = NETWORKS[name]
    ledger = run(make(epsilon), optimizer, steps)
    assert max(row.relative for row in ledger.rows()) <= 1e-10, ledger.health()
    assert ledger.verdict == ("epsilon" if epsilon else "ok"), ledger.health()
    assert not [f for f in ledger.findings() if f.fault]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_account_closes(name: str, optimizer: str) -> None:
    judged(name, optimizer, 12)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_account_closes_over_a_thousand_steps(name: str, optimizer: str) -> None:
    judged(name, optimizer, 1000)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_in_float32_what_is_left_over_is_rounding(name: str) -> None:
    make, epsilon = NETWORKS[name]
    ledger = run(make(epsilon), "adamw", 12, torch.float32)
    assert ledger.verdict == "epsilon", ledger.health()
    assert {"rounding", "epsilon"} <= {row.verdict for row in ledger.rows()}
