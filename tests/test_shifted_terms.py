"""Sums that softmax cross-entropy reads: it does not see a common shift, so each term moves by itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful import blocks as b


def branch(*rest):
    return b.Series.of(b.Linear(3, 3, False), *rest)


NETS = {
    "behind a ReLU": lambda: b.residual(branch(b.ReLU())),  # found by the engine property: 4 laws, 3 derived
    "behind a ReLU and before a bias": lambda: b.residual(branch(b.ReLU())) >> b.Affine(3, False),
    "a bias in the branch": lambda: b.residual(branch(b.ReLU(), b.Affine(3, False))),
    "a gain": lambda: b.residual(branch(b.ReLU(), b.Affine(3))),
    "twice": lambda: b.residual(branch(b.ReLU())) >> b.residual(branch(b.Pointwise("gelu"), b.Linear(3, 3, False))),
    "centred": lambda: b.residual(b.Series.of(b.LayerNorm(3), branch(b.ReLU()))),
}


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("name", NETS)
def test_every_law_of_a_sum_is_derived(name, loss):
    arch = lw.Architecture(b.Linear(3, 2, False) >> b.Linear(2, 3, False) >> NETS[name]())
    laws = lw.derive(arch, loss)
    assert laws.independent == lw.count(arch.with_epsilon(0.0), loss).laws, str(laws)
    assert laws.verify(arch).verdict.passed and not laws.gaps


def test_the_terms_are_shifted_apart():
    arch = lw.Architecture(b.Linear(3, 3, False) >> b.residual(branch(b.ReLU())))
    (law,) = lw.derive(arch, "cross_entropy")
    assert "11^T" in law.algebra or "1ᵀ" in law.text, law


def test_terms_are_cut_where_their_sum_is():
    """Found by a drawn module: a diagonal that is a bias cuts the sum into single features."""

    class Diagonal(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return F.linear(F.linear(x, self.a), self.b.t(), torch.diag(self.b.t()))

    module, x = Diagonal(), torch.randn(4, 3)
    laws = lw.derive(module, "cross_entropy", args=x)
    assert laws.verify(module, args=x).verdict.passed
    assert laws.gaps or laws.independent == lw.count(module, "cross_entropy", args=x).laws
