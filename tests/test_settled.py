"""Notes that a small network refutes itself: what goes, and what stays."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture.outputs import losses_of
from lawful.graph.questions.derive import by_rules
from lawful.graph.questions.fields import architecture_fields
from lawful.graph.questions.settled import settled
from lawful.theory.oracle.filling import UNDECIDED, filling


class Made(nn.Module):
    """A map whose weights a function makes of parameters."""

    def __init__(self, weights, frozen=()):
        super().__init__()
        self.w, self.u = (nn.Parameter(torch.randn(3, 4, dtype=torch.float64)) for _ in range(2))
        self.f = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))
        self.v = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))
        self.weights = weights
        for name in frozen:
            getattr(self, name).requires_grad_(False)

    def forward(self, x):
        return F.linear(torch.tanh(F.linear(F.linear(x, self.weights(self)), self.f)), self.v)


X = torch.randn(4, 4, dtype=torch.float64)
SAID = "no law of this network is missing"


def test_a_note_behind_which_nothing_is_missing_goes():
    module = Made(lambda m: m.w.softmax(-1), frozen=("u",))
    laws = lw.derive(module, args=X)
    assert laws.exact_independent == lw.count(module, args=X).laws
    assert not laws.gaps and any(f.startswith(SAID) for f in laws.facts), laws.notes


def test_a_note_behind_which_laws_are_missing_stays():
    class Singular(Made):
        def forward(self, x):
            return F.linear(torch.tanh(F.linear(F.linear(x, self.w), self.f)), self.v)

    module = Singular(None, frozen=("u", "f"))
    with torch.no_grad():
        module.f.copy_(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]], dtype=torch.float64))
    laws = lw.derive(module, args=X)
    assert lw.count(module, args=X).laws > laws.exact_independent  # what the frozen matrix of rank 2 kills
    assert laws.gaps and not any(f.startswith(SAID) for f in laws.facts), laws.notes
    with torch.no_grad():
        module.f.copy_(torch.randn(3, 3))
    known = lw.derive(module, args=X)
    assert lw.count(module, args=X).laws == known.exact_independent and not known.gaps, known.notes


def test_frozen_numbers_of_an_architecture_are_any():
    arch = lw.Architecture(b.Linear(3, 3) >> b.Linear(3, 3, frozen=("weight", "bias")) >> b.ReLU() >> b.Linear(3, 2))
    assert lw.derive(arch).gaps == by_rules(arch, "mse").gaps


def test_what_was_not_compared_stays():
    with torch.device("meta"):
        module = Made(lambda m: m.w.softmax(-1))
    assert lw.derive(module, args=torch.randn(4, 4, dtype=torch.float64, device="meta")).gaps


def test_a_large_network_keeps_its_notes():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(20, 16)), nn.Parameter(torch.randn(3, 20))

        def forward(self, x):
            return F.linear(torch.relu(F.linear(x, self.w.softmax(-1))), self.v)

    assert lw.derive(Wide(), args=torch.randn(4, 16)).gaps


def test_the_copy_of_a_large_network_is_asked_by_the_same_rules():
    """A small copy must not lose the notes by which it is compared with the network."""
    wide = lw.Architecture(b.Linear(40, 30) >> b.Linear(30, 30, frozen=("weight",)) >> b.ReLU() >> b.Linear(30, 20))
    found = lw.check(wide)
    assert "other limits" not in found.summary, found.summary


@pytest.mark.parametrize("missing", [-1, 0])
@pytest.mark.parametrize("chain", [b.Linear(3, 4) >> b.Linear(4, 2), b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)])
def test_only_the_right_number_is_filled(chain, missing):
    arch = lw.Architecture(chain)
    laws = lw.derive(arch)
    fields = architecture_fields(arch, "mse", torch.Generator().manual_seed(0))
    assert filling(*fields, laws.independent + missing) == (-missing, True)


def test_what_is_zero_fills_nothing():
    def potential(theta, data):
        terms = (theta * data).sum() * torch.tensor([1.0, 1.0 + 2.0**-30, -2.0 - 2.0**-30], dtype=theta.dtype)
        return terms.sum()

    theta = torch.randn(3, dtype=torch.float64)
    assert filling(potential, theta, lambda n: torch.randn(n, 3, dtype=torch.float64), 0) == UNDECIDED


def test_a_fused_norm_with_a_computed_gain_takes_any_batch():
    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(2, 3))
            self.a, self.g = nn.Parameter(torch.randn(1)), nn.Parameter(torch.randn(2))

        def forward(self, x):
            gain = torch.cat([self.a, self.g])
            return F.linear(F.layer_norm(F.linear(x, self.w), (3,), gain, self.a.expand(3)), self.v)

    laws = lw.derive(Gained(), args=torch.randn(4, 4))
    assert not any("does not run" in n for n in laws.notes), laws.notes


@pytest.mark.parametrize("pool", [lambda h: h.amax(1), lambda h: F.max_pool1d(h.mT, 2).mT])
def test_a_pool_of_copies_is_copies_of_a_pool(pool):
    class Copies(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(2, 6))

        def forward(self, x):
            return F.linear(pool(torch.relu(F.linear(x, self.w)).repeat_interleave(2, -1)), self.v)

    module, x = Copies(), torch.randn(4, 4, 4)
    laws = by_rules(lw.trace(module, x), "mse")
    assert laws.independent == lw.count(module, args=x).laws and not laws.gaps, laws.notes


def test_a_small_network_says_how_many_laws_no_rule_names():
    """Found by drawn modules: six of 368 had laws that nothing named."""
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    arch, losses = lw.trace(module, X.float()), losses_of(lw.trace(module, X.float()), "cross_entropy")
    laws = by_rules(arch, losses)
    assert not settled(laws, arch, module, losses, laws.gaps).notes
    lost = laws.without([next(w for w in laws if w.kind == "shift")], [])
    (note,) = settled(lost, arch, module, losses, ()).gaps
    left = laws.independent - lost.independent
    assert note.startswith(f"{laws.independent} laws are counted, and {lost.independent} of them are listed"), note
    assert note.endswith(f"where the other {left} may be")
    assert settled(lost, arch, arch, losses, ()) is lost  # of an architecture the count says it


def test_activations_that_never_come_together_fill_nothing():
    """Found by a second adversary: patterns of all points move it in 3 directions, those of any one point in 2."""

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(3, 1))

        def forward(self, x):
            return F.leaky_relu(x @ self.w.T, 0.1) @ self.w

    x = torch.randn(5, 1)
    laws = lw.derive(Line(), args=x)
    assert not laws.independent and laws.gaps and not any(f.startswith(SAID) for f in laws.facts), laws.notes


@pytest.mark.parametrize("curve", [nn.CELU, nn.ELU, nn.Hardtanh])
def test_words_have_one_pattern_each_at_a_point(curve):
    """Found by the night's search: with patterns that no word has, no law was missing, and 7 were counted of 4."""
    words = torch.arange(15).reshape(5, 3) % 4
    module = nn.Sequential(nn.Embedding(4, 3), curve(), nn.Linear(3, 3))
    laws = lw.derive(module, "cross_entropy", args=words)
    assert any("laws of single entries" in g for g in laws.gaps), laws.notes
    assert not any(f.startswith(SAID) for f in laws.facts), laws.notes
    assert "complete: no law is missing" not in lw.check(module, "cross_entropy", args=words).summary
