"""Activations that follow one another, and those of features that never change their sign."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.derive import by_rules


@pytest.mark.parametrize("first", [b.ELU(), b.ELU(2.0), b.CELU(0.5)])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_relu_of_what_keeps_positive_numbers_is_relu(first, loss):
    """Found by random networks in the nightly run: 3 laws, 6 counted, no note."""
    arch = lw.Architecture(b.Linear(2, 3, False) >> first >> b.ReLU() >> b.Linear(3, 3, False))
    laws = by_rules(arch, loss)
    assert laws.independent == lw.count(arch, loss).laws == (6 if loss == "cross_entropy" else 3)
    assert not laws.gaps


@pytest.mark.parametrize(
    "first", [b.SELU(), b.HardSwish(), b.ReLU6(), b.HardTanh(), b.GELU(), b.ELU() >> b.Linear(3, 3)]
)
def test_relu_of_anything_else_is_not(first):
    arch = lw.Architecture(b.Linear(2, 3, False) >> first >> b.ReLU() >> b.Linear(3, 2, False))
    laws = by_rules(arch, "mse")
    assert laws.independent <= lw.count(arch).laws and (laws.gaps or laws.independent == lw.count(arch).laws)
    assert lw.verify(arch, laws).verdict.passed or not laws


@pytest.mark.parametrize(
    "between",
    [
        nn.ELU(),
        *(pytest.param(f, marks=pytest.mark.nightly) for f in (nn.SELU(), nn.CELU(2.0))),
        nn.Hardswish(),
        nn.Identity(),
    ],
)
def test_of_modules(between):
    net = nn.Sequential(nn.Linear(2, 3, bias=False), between, nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    x = torch.randn(5, 2, dtype=torch.float64)
    laws = lw.derive(net, args=x)
    counted = lw.count(net, args=x).laws
    assert laws.independent == counted or (laws.gaps and laws.independent < counted)


@pytest.mark.parametrize(
    "turn",
    [b.Affine(3, shift=False), b.ScalarGain(), b.Affine(3, shift=False) >> b.ReLU()],
    ids=["gain", "one", "twice"],
)
@pytest.mark.parametrize("activation", [b.ReLU(), b.LeakyReLU(0.1), b.Abs()], ids=["relu", "leaky", "abs"])
def test_gates_of_what_keeps_one_sign_are_named(turn, activation):
    """Found likewise: 24 laws, 33 counted: gains of squares have one sign, and so their gates never change."""
    arch = lw.Architecture(
        b.Linear(2, 3, False)
        >> b.Power()
        >> turn
        >> b.parallel(activation >> b.Linear(3, 3), b.Linear(3, 3))
        >> b.Linear(3, 2, False)
    )
    laws = lw.derive(arch)
    counted = lw.count(arch).laws
    assert laws.independent == counted or (laws.gaps and laws.independent < counted), (laws.notes, counted)
