"""Gradients that are little more than rounding accuse nobody: norms of two numbers make much of the last bits."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_lawful
from lawful.testing.examine import examine
from lawful.testing.lawcheck import Taken, check_law
from lawful.theory.verdict import Verdict


class Steep(nn.Module):
    """BatchNorms of two examples, one behind the other: each leaves a sign, and hardly any gradient."""

    def __init__(self, depth: int = 4, wrong: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh()) for _ in range(depth))
        self.last, self.wrong = nn.Linear(8, 3), wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        for layer in self.layers:
            h = layer(h)
        if self.wrong and h.requires_grad:
            h = h * 1.0
            h.register_hook(lambda g: g * (1 + self.wrong * torch.arange(8, dtype=g.dtype)))
        return self.last(h)


def test_a_deep_chain_of_norms_of_two_examples_is_not_accused() -> None:
    torch.manual_seed(0)
    assert examine(Steep().train(), (torch.randn(2, 6),)).verdict is not Verdict.VIOLATED


def test_noise_widens_a_bound_and_hides_no_fault() -> None:
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)).double()
    law = next(iter(lw.derive(net, args=torch.randn(5, 3))))
    x = torch.randn(5, 3, dtype=torch.float64)
    net(x).square().sum().backward()
    values = {n: p.detach() for n, p in net.named_parameters()}
    own = {n: p.grad for n, p in net.named_parameters()}
    off = {n: g * (1 + (1e-7 if n == "0.weight" else 0.0)) for n, g in own.items()}
    noise = {n: 1e-7 * g.abs() for n, g in own.items()}
    assert check_law(law, [Taken(values, own, None, torch.float64)]).verdict is Verdict.HOLDS
    assert check_law(law, [Taken(values, off, None, torch.float64)]).verdict is Verdict.VIOLATED
    assert check_law(law, [Taken(values, off, None, torch.float64, noise)]).verdict is Verdict.UNDECIDED
    worse = {n: g * (1 + (1e-2 if n == "0.weight" else 0.0)) for n, g in own.items()}
    assert check_law(law, [Taken(values, worse, None, torch.float64, noise)]).verdict is Verdict.VIOLATED


def test_a_fault_behind_such_norms_is_still_found() -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        assert_lawful(Steep(1, wrong=0.5).train(), (torch.randn(2, 6),))


def test_noise_of_the_derivative_accuses_no_approximate_law() -> None:
    """What an epsilon explains is read off the derivative, whose noise was not heard where the own change was small."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    law = next(w for w in lw.derive(net, args=x) if not w.exact)
    net(x).square().sum().backward()
    values = {n: p.detach() for n, p in net.named_parameters()}
    own = {n: p.grad for n, p in net.named_parameters()}
    loud = {n: g * (1 + 1e-7 * torch.randn_like(g)) for n, g in own.items()}
    noise = {n: 1e-7 * g.abs() for n, g in own.items()}
    assert check_law(law, [Taken(values, own, loud, torch.float64)]).verdict is Verdict.VIOLATED
    assert check_law(law, [Taken(values, own, loud, torch.float64, noise)]).verdict is Verdict.UNDECIDED


def test_noise_is_drawn_again_before_a_law_is_called_broken() -> None:
    """A gate that reads rounding alone opens at some draws: noise that was drawn once had not met it."""
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)).double()
    law = next(iter(lw.derive(net, args=torch.randn(5, 3))))
    net(torch.randn(5, 3, dtype=torch.float64)).square().sum().backward()
    values = {n: p.detach() for n, p in net.named_parameters()}
    off = {n: p.grad * (1 + (1e-7 if n == "0.weight" else 0.0)) for n, p in net.named_parameters()}
    noise, left = {}, [1e-30, 1e-7]

    def shake() -> bool:
        noise.update({n: left[0] * g.abs() for n, g in off.items()} if left else {})
        return bool(left and left.pop(0))

    assert check_law(law, [Taken(values, off, None, torch.float64, noise, shake)]).verdict is Verdict.UNDECIDED
    assert not left
