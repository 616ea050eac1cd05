"""Counts whose patterns no point has, patterns that parameters alone decide, and batches that are built in."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.reach import reach_of, tied
from lawful.testing.referee import Referee
from lawful.theory.verdict import Verdict


class Plain(nn.Module):
    """A forward written by hand, with its parameters."""

    def __init__(self, forward, **shapes) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.call = forward
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, *x):
        return self.call(self, *x)


X = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))


def counts(module: nn.Module, *args: torch.Tensor) -> dict[str, lw.Count]:
    """The count of the module as it runs, of its trace, and exactly."""
    traced = lw.trace(module, *args)
    return {
        "runs": lw.count(module, args=args),
        "traced": lw.count(traced),
        "exact": lw.count(module, args=args, exact=True),
    }


def test_signs_of_a_table_are_one_pattern() -> None:
    """Free signs gave 3 laws instead of 6: at one point the sign of a weight is the same for all data."""
    found = counts(Plain(lambda s, x: F.linear(F.linear(x, s.e.abs()), s.v), e=(3, 2), v=(2, 3)), X)
    assert {k: c.laws for k, c in found.items()} == {"runs": 6, "traced": 6, "exact": 6}
    assert {c.verdict for c in found.values()} == {Verdict.HOLDS}


def test_units_of_rank_one_switch_together() -> None:
    """At every point two of three units are on together: 5 laws there, 4 on all pieces; neither is said to hold."""
    net = Plain(lambda s, x: torch.relu(x @ (s.u @ s.v).t()) @ s.b.t(), u=(3, 1), v=(1, 2), b=(2, 3))
    found = counts(net, X)
    assert found["runs"].laws >= 5
    for kind in ("traced", "exact"):
        assert found[kind].verdict is Verdict.UNDECIDED
        assert "never come together" in found[kind].method


def test_a_mask_with_zero_leaves_a_gate_to_the_parameters() -> None:
    """`relu(x * c + h)` with an entry of `c` that is 0 (survey 9001-7): exact 1, truth 5."""

    def forward(s, x):
        h = x * torch.tensor([0.0, 1.0])[:, None] + s.h
        return F.conv1d(torch.relu(h), s.a) + F.conv1d(h, s.c)

    found = counts(Plain(forward, a=(4, 2, 1), c=(4, 2, 1), h=(2, 1)), torch.randn(4, 2, 4))
    assert {k: (c.laws, str(c.verdict)) for k, c in found.items()} == dict.fromkeys(found, (5, "holds"))


def test_entries_that_are_cut_at_some_points_leave_it_undecided() -> None:
    """`relu(W)` moves as many entries of `W` as are positive: other points have other laws."""
    for count in counts(Plain(lambda s, x: x @ s.u.relu().t() @ s.b.t(), u=(3, 2), b=(2, 3)), X).values():
        assert count.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("seed", range(3))
def test_dead_points_of_sums_and_mixers(seed: int) -> None:
    """All points near those of these seeds had dead units: 7 laws of a deep set and 6 of a mixer, both with HOLDS."""

    def deep(s, x):
        return torch.relu(torch.relu(x @ s.a.t()).sum(1) @ s.c.t()) @ s.b.t()

    def mixer(s, x):
        h = torch.einsum("btc,ts->bsc", x, s.c).relu()
        return torch.einsum("bsc,uc->bsu", h, s.a).relu() @ s.b.t()

    for forward, x, laws in ((deep, torch.randn(3, 3, 2), 4), (mixer, torch.randn(3, 2, 2), 3)):
        net = Plain(forward)
        torch.manual_seed(seed)
        for name in ("a", "c", "b") if forward is deep else ("c", "a", "b"):
            net.register_parameter(name, nn.Parameter(torch.randn(2, 2) * 0.6))
        found = lw.count(net, args=(x,))
        assert (found.laws, found.verdict) == (laws, Verdict.HOLDS)


def test_ordinary_networks_have_their_patterns_at_one_point() -> None:
    net = lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 3) >> b.ReLU() >> b.Linear(3, 2))
    for exact in (False, True):
        found = lw.count(net, exact=exact)
        assert (found.laws, found.verdict) == (6, Verdict.HOLDS)


def standardised(s, x):
    h = F.linear(x, s.a, s.b)
    return torch.relu((h - h.mean(0)) / h.std(0)) @ s.c.t()


def recurrent(s, x):
    h = s.h.expand(x.shape[0], -1)
    for t in range(3):
        h = torch.relu(x[:, t] @ s.w.t() + h @ s.u.t())
    return h @ s.v.t()


def sample_by_sample(s, x):
    return torch.stack([torch.relu(r @ s.a.t()) @ s.c.t() for r in x])


BATCHES = {
    "a batch norm by hand": (Plain(standardised, a=(2, 2), b=(2,), c=(2, 2)), X, 4),
    "a learned state": (Plain(recurrent, w=(2, 2), u=(2, 2), v=(2, 2), h=(2,)), torch.randn(3, 3, 2), 2),
    "a loop over samples": (Plain(sample_by_sample, a=(3, 2), c=(2, 3)), X, 3),
    "all pairs": (Plain(lambda s, x: torch.relu(x @ s.a.t()) @ (x @ s.c.t()).t(), a=(3, 2), c=(3, 2)), X, 3),
}


@pytest.mark.parametrize("name", BATCHES)
def test_networks_with_a_batch_built_in_are_checked_with_it(name: str) -> None:
    """Batches of one made a hand-written norm no number, and a correct module violated."""
    net, x, laws = BATCHES[name]
    found = lw.check(net, args=(x,))
    assert found.verdict is not Verdict.VIOLATED
    assert found.count is not None
    assert found.count.laws == laws == lw.count(net, args=(x,)).laws


def test_one_loss_is_for_all_outputs() -> None:
    net = Plain(lambda s, x: (F.linear(x, s.a), F.linear(x, s.b)), a=(3, 2), b=(3, 2))
    laws = lw.derive(net, "cross_entropy", args=(X,))
    assert lw.count(net, "cross_entropy", args=(X,)).laws == laws.independent == 4
    assert lw.verify(net, tuple(laws), "cross_entropy", args=(X,)).verdict is Verdict.HOLDS


def test_inputs_in_lists_are_drawn() -> None:
    """What was not drawn was one and the same for all data: 3 laws instead of none, with HOLDS."""
    net = Plain(lambda s, xs: F.linear(xs[0], s.a) + F.linear(xs[1], s.b), a=(3, 2), b=(3, 3))
    assert lw.count(net, args=([X, torch.randn(4, 3)],)).laws == 0


def test_logits_that_are_equal_are_no_field() -> None:
    """Weights that add up to zero but for rounding made a steady field of 1e-16: a wrong count with HOLDS."""
    net = Plain(lambda s, x: F.linear(F.leaky_relu(F.linear(x, s.w), 0.1), s.v.expand((3, 4))), w=(4, 2), v=(4,))
    found = lw.count(net, "cross_entropy", args=(X,))
    assert (found.laws, found.verdict) == (12, Verdict.VACUOUS)


def test_outputs_that_are_zero_and_move_are_counted() -> None:
    """A surrogate: its value is 0 everywhere, its gradient is that of the layer."""
    net = Plain(lambda s, x: (lambda y: y - y.detach())(F.linear(x, s.w).tanh()), w=(3, 2))
    assert lw.count(net, args=(X,)).verdict is not Verdict.VACUOUS


def test_overlapping_parts_are_not_counted_as_several_parameters() -> None:
    net = Plain(lambda s, x: F.linear(x, torch.matrix_exp(s.a - s.a.t())), a=(2, 2))
    assert lw.count(lw.trace(net, X)).verdict is Verdict.UNDECIDED
    assert lw.count(net, args=(X,)).laws == 3


def test_the_judge_knows_the_rounding_of_a_gradient() -> None:
    """A saturated cross-entropy sends 1e-11 with an error of 1e-17: a law that is true was called false (9001-5)."""
    net = Plain(lambda s, x: 60 * x[:, :1] ** 2 * torch.tensor([[1.0, 0.0, -1.0]]) + s.b, b=(3,))
    referee = Referee(net, [X[:1]], ["cross_entropy"], [-1])
    errors = {}
    for seed in range(40):
        _, gradient, rounding = referee.gradient(seed)
        errors[float(gradient["b"].norm())] = float(rounding["b"].norm() / gradient["b"].norm().clamp_min(1e-300))
    assert min(errors.values()) < 1e-14
    assert errors[min(errors)] > 1e-6


def test_gates_of_many_states_are_held_against_each_other() -> None:
    """A maximum over a map has as many states as the map has places: pairs of all of them filled 32 GB."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.AdaptiveMaxPool2d(3), nn.Conv2d(6, 6, 1), nn.MaxPool2d(3), nn.Flatten())
    arch = lw.trace(net, torch.randn(3, 1, 48, 48))
    patterns = reach_of(arch, "mse", torch.Generator().manual_seed(0)).patterns
    assert not tied(patterns, patterns.ordinary())


class Shrinking(nn.Module):
    """Two steps of a sparse code: what is small is cut off, by kinks that no gate stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.w, self.v = (nn.Parameter(torch.randn(2, 2)) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x @ self.u
        return F.softshrink(F.softshrink(h, 0.1) @ self.w + h, 0.1) @ self.v


def test_a_point_on_one_side_of_a_kink_is_not_all_points() -> None:
    torch.manual_seed(0)
    module, x = Shrinking(), torch.randn(4, 2)
    arch = lw.trace(module, x)
    assert [lw.count(arch, seed=s).laws for s in range(10)] == [0] * 10
    for seed in range(3):
        report = lw.check(module, args=x, seed=seed)
        assert report.complete and report.count is not None and report.count.laws == 0, str(report)


class Tropical(nn.Module):
    """Two layers of sums and maxima: which way the second one takes, parameters alone decide."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(2, 2)), nn.Parameter(torch.randn(2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x[:, :, None] + self.a).amax(1)[:, :, None] + self.b).amax(1)


def test_maxima_of_maxima_have_no_point_with_all_patterns() -> None:
    """Each pair of gates has three of its four states at some point; no point has all that three gates need."""
    torch.manual_seed(0)
    module, x = Tropical(), torch.randn(4, 2)
    for seed in range(3):
        report = lw.check(module, args=x, seed=seed)
        assert not report.complete and report.count is not None and not report.count.verdict.passed, str(report)
        assert lw.count(module, args=x, seed=seed).laws == 4
    exact = lw.count(module, args=x, exact=True)
    assert not exact.verdict.passed
    assert not [n for n in lw.derive(module, args=x).notes if n.startswith("no law of this network is missing")]
