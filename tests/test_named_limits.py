"""Laws that no rule sees are named: modules of which an adversary counted more laws than were listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.derive import by_rules


class Complex(nn.Module):
    """A complex linear layer, written with real and imaginary parts."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = (nn.Parameter(torch.randn(2, 2)) for _ in range(2))
        self.out = nn.Parameter(torch.randn(2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        r, i = x[:, :2], x[:, 2:]
        real = r @ self.real.t() - i @ self.imaginary.t()
        return torch.cat([real, r @ self.imaginary.t() + i @ self.real.t()], -1) @ self.out.t()


class JoinedPositions(nn.Module):
    """The mean over the positions that two maps of one input write side by side: their difference never moves."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.randn(3, 3)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x @ self.a.t(), x @ self.b.t()], 1).mean(1)


class Row(nn.Module):
    """A function of two maps of one input, or of one map after another."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 3))
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x @ self.w.t(), self.v)


def centred_skip() -> nn.Module:
    return Row(lambda h, v: h + (h - h.mean(1, keepdim=True)) @ v.t())


def cancelled() -> nn.Module:
    return Row(lambda h, v: (lambda g: 2 * g - g - g)(h @ v.t()))


@pytest.mark.parametrize(
    ("module", "shape", "listed", "counted", "named"),
    [
        pytest.param(Complex, (4, 4), 3, 4, "joins sums that are computed with the same weights", id="complex"),
        pytest.param(
            JoinedPositions,
            (6, 4, 3),
            0,
            9,
            "same features, which cat joins",
            id="joined positions",
        ),
        pytest.param(centred_skip, (4, 2), 3, 6, "a layer behind a centring", id="a skip beside a centring"),
        pytest.param(cancelled, (4, 2), 14, 15, "adds terms that cancel", id="an output that is zero"),
    ],
)
def test_named(module: Callable[[], nn.Module], shape: tuple[int, ...], listed: int, counted: int, named: str) -> None:
    model, args = module(), (torch.randn(shape),)
    laws = lw.derive(model, args=args)
    assert laws.independent == listed and any(named in note for note in laws.gaps)
    assert lw.count(model, args=args).laws == counted


def test_heads_mixed_feature_by_feature_are_named() -> None:
    """Found by CI's random networks: one law was listed twice in the place of another."""
    net = b.Linear(3, 6, bias=False) >> b.HeadAffine(2, 3, True) >> b.Linear(6, 3, bias=False)
    arch = lw.Architecture(net, b.Signal(3))
    laws = lw.derive(arch)
    assert gradient_rank(arch, laws) == laws.independent < lw.count(arch).laws
    assert any("heads mixed, in each feature" in note for note in laws.gaps)


def test_two_ways_through_a_shared_map_are_named() -> None:
    """`S diag(a) x + L S x` conserves `tr L - sum a`: found by CI's random networks."""
    shared = b.Linear(3, 3, bias=False)
    ways = b.parallel(b.Affine(3, shift=False) >> shared, shared >> b.Linear(3, 3, bias=False), b.Identity())
    arch = lw.Architecture(ways >> b.Pointwise("tanh") >> b.Linear(3, 2), b.Signal(3))
    laws = lw.derive(arch)
    assert lw.count(arch).laws == laws.independent + 1
    assert any("two paths through" in note for note in laws.gaps)


@pytest.mark.parametrize("unit", [b.Identity(), b.Pointwise("tanh")])
def test_two_ways_through_a_shared_gain_are_named_where_laws_are_missing(unit: b.Block) -> None:
    """`q D f + k D h` is the same for `f + c h` and `k - c q`, channel by channel, unless a function stands between."""
    shared = b.Affine(3, shift=False)
    ways = [b.Linear(3, 3, bias=False) >> unit >> shared >> b.Linear(3, 2, bias=False) for _ in range(2)]
    arch = lw.Architecture(b.parallel(*ways), b.Signal(3))
    laws = lw.derive(arch)
    missing = lw.count(arch).laws - laws.independent
    assert missing == (0 if isinstance(unit, b.Pointwise) else 3)
    assert bool(missing) == any("two paths through" in note for note in laws.gaps)


class Rows(nn.Module):
    """Attention whose query is made of parts of parameters that lie apart."""

    def __init__(self, parts: Callable[[nn.Module], list[torch.Tensor]]) -> None:
        super().__init__()
        self.w, self.o = nn.Parameter(torch.randn(9, 3)), nn.Parameter(torch.randn(2, 3))
        self.parts = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(*(x @ p.t() for p in self.parts(self))) @ self.o.t()


@pytest.mark.parametrize(
    ("parts", "listed", "noted"),
    [
        pytest.param(lambda m: [m.w[i::3] for i in range(3)], 6, True, id="every third row"),
        pytest.param(lambda m: [torch.cat([m.w[:1], m.w[3:5]]), m.w[5:8], m.w[:3]], 0, True, id="rows joined"),
        pytest.param(lambda m: m.w.chunk(3), 12, False, id="in a row"),
    ],
)
def test_attention_of_interleaved_rows(parts: Callable, listed: int, noted: bool) -> None:
    torch.manual_seed(0)
    module, args = Rows(parts), (torch.randn(5, 4, 3),)
    laws = by_rules(lw.trace(module, args), "mse")
    assert bool(laws.gaps) == noted and laws.independent >= listed
    assert lw.count(module, args=args).laws >= laws.independent
