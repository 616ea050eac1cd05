"""Counting modules as they train, at points that are generic: dead units, and weights reached around their places."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.blocks import ShapeError
from lawful.graph.questions.module_fields import HiddenError
from lawful.theory.oracle.signal import potential_moves, potential_steady
from lawful.theory.verdict import Verdict

X = torch.randn(4, 3)


class Clamped(nn.Module):
    """A unit that is dead for all data wherever its two weights are negative, since it reads a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(2, 3, 1))
        self.gain = nn.Parameter(torch.randn(2))
        self.left = nn.Parameter(torch.randn(3, 2, 1))
        self.right = nn.Parameter(torch.randn(3, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.sigmoid(F.conv1d(x, self.first) * self.gain[:, None])
        return torch.clamp(F.conv1d(hidden, self.left), min=0) * F.conv1d(hidden, self.right)


@pytest.mark.parametrize("seed", [0, 1])
def test_dead_units_are_no_laws(seed: int) -> None:
    torch.manual_seed(0)
    found = lw.count(Clamped(), args=(torch.randn(4, 3, 4),), seed=seed)
    assert (found.laws, found.verdict) == (5, Verdict.HOLDS)
    assert "of the traced network; as it runs fields span" in found.method


def test_points_that_are_not_generic_leave_a_count_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ShapeError("no trace")

    monkeypatch.setattr("lawful.graph.questions.count.architecture_of", refuse)
    torch.manual_seed(0)
    found = lw.count(Clamped(), args=(torch.randn(4, 3, 4),))
    assert found.verdict is Verdict.UNDECIDED
    assert "units may be dead or linear" in found.method


def mlp() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def patched() -> nn.Module:
    net = mlp()
    weight, forward = net[0].weight, net[2].forward
    net[2].forward = lambda h: forward(h) * weight.sum()  # type: ignore[method-assign]
    return net


def hooked() -> nn.Module:
    net = mlp()
    weight = net[0].weight
    net[2].register_forward_hook(lambda module, args, out: out * weight.sum())
    return net


class Listed(nn.Module):
    """Reads its weight from a list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.kept = [self.a.weight]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(x @ self.kept[0].T + self.a.bias))


@pytest.mark.parametrize(("make", "laws"), [(patched, 1), (hooked, 1), (Listed, 4)])
def test_weights_that_are_reached_around_their_places_count(make: object, laws: int) -> None:
    found = lw.count(make(), args=(X,))  # type: ignore[operator]
    assert (found.laws, found.parameters, found.verdict) == (laws, 26, Verdict.HOLDS)
    assert "of the traced network (as it runs: HiddenError)" in found.method


def test_a_hook_on_a_gradient_is_refused() -> None:
    net = mlp()
    net[0].weight.register_hook(lambda g: 2 * g)
    with pytest.raises(HiddenError, match="the gradient of Sequential is another one than that of its parameters"):
        lw.count(net, args=(X,))


def test_one_memory_is_one_parameter() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight.data = net[0].weight.data
    assert lw.count(net, args=(X,)).parameters == 15


def test_a_module_is_given_back() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = {n: t.clone() for n, t in net.state_dict().items()}
    state = torch.random.get_rng_state()
    lw.count(net, args=(X,))
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None for p in net.parameters())


def test_a_gap_that_is_not_wide_needs_another_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 120 digits are too many (a mamba of 565 parameters): another point has as many laws, however narrow."""
    found = {
        "narrow": lw.Count(2, 900, (7, 7), 4e7, Verdict.UNDECIDED, "test"),
        "fair": lw.Count(2, 900, (7, 7), 4e8, Verdict.HOLDS, "test"),
        "other": lw.Count(3, 900, (6, 6), 4e8, Verdict.HOLDS, "test"),
        "wide": lw.Count(3, 900, (6, 6), 1e12, Verdict.HOLDS, "test"),
    }
    arch = lw.trace(nn.Linear(3, 2), X)
    for names, verdict in {
        ("narrow", "narrow", "narrow"): Verdict.UNDECIDED,
        ("fair", "other", "narrow"): Verdict.HOLDS,
        ("narrow", "other", "narrow"): Verdict.UNDECIDED,
        ("narrow", "narrow", "fair"): Verdict.HOLDS,
        ("fair", "wide"): Verdict.HOLDS,
    }.items():
        points = iter([found[n] for n in names])
        monkeypatch.setattr("lawful.graph.questions.count.count_fields", lambda *_, p=points, **__: next(p))
        count = lw.count(arch)
        assert (names, count.verdict) == (names, verdict)
        assert verdict is Verdict.UNDECIDED or count.laws == (3 if "wide" in names else 2)


@pytest.mark.parametrize("scale", [1.0, 1e60])
def test_fields_that_are_too_large_for_float32_move(scale: float) -> None:
    """What float32 shows of rounding is nothing about fields that it cannot hold."""
    theta = scale * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def potential(t: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        return (data * t).sum()

    def sample(n: int) -> torch.Tensor:
        return scale * torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))

    assert potential_moves(potential, theta, sample) and potential_steady(potential, theta, sample)


def test_fields_that_are_rounding_do_not_move() -> None:
    """Equal outputs times weights that add up to zero: a gradient of the size of the weights' rounding."""
    theta = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def potential(t: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        weights = data - data.mean()
        return (weights * t.sum().expand(3)).sum()

    def sample(n: int) -> torch.Tensor:
        return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))

    assert not potential_moves(potential, theta, sample)


def test_fields_behind_zero_over_zero_are_not_steady() -> None:
    """A norm divides what is zero but for rounding by its own size."""
    theta = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def potential(t: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        h = (t.sum() * data.sum()).expand(3) + t * 0.1 - t * 0.1
        h = h - h.mean() + (t / 3 * 3 - t)
        return (data * h / h.norm()).sum()

    def sample(n: int) -> torch.Tensor:
        return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n))

    assert not potential_steady(potential, theta, sample)


class OwnNorm(nn.Module):
    """A p-norm as one writes it."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power, self.up, self.down = power, nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.up(x)
        return self.down(h / h.abs().pow(self.power).sum(-1, keepdim=True).pow(1 / self.power))


@pytest.mark.parametrize("power", [pytest.param(3, marks=pytest.mark.nightly), 1.5])
def test_a_root_of_what_is_never_negative_is_counted(power: float) -> None:
    """With the signs of other inputs `|h|` is negative, and the root of its power no number."""
    module, x = OwnNorm(power), torch.randn(5, 3)
    found, even = (lw.count(lw.trace(m, x)) for m in (module, OwnNorm(4)))
    assert found.verdict is even.verdict is Verdict.HOLDS and found.laws == even.laws
    assert found.method.endswith("with the activation patterns of each input itself")
    assert "for a reason named below" in lw.check(module, args=x).summary


@pytest.mark.nightly
def test_fields_beside_such_that_are_no_numbers_do_not_drown():
    """Found by a third adversary: one sample overflowed, and 15 laws were counted of a network that has none."""
    chain = b.Linear(3, 3, False) >> b.ELU() >> b.ELU() >> b.Linear(3, 3)
    arch = lw.Architecture(chain, input=b.Signal(3, (2,)))
    assert {lw.count(arch, seed=s).laws for s in range(3)} == {0}
