"""Sums of products of maps: laws that mix the maps of two terms are named where there are any, and only there.

`a^2 - b^2` and `a b + c d` had laws that no list held and no note named (found by a review with complex products).
"""

from collections.abc import Callable
from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Forms(nn.Module):
    """A function of maps of one wire, and a map of it."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.ModuleList(nn.Linear(3, 4) for _ in signature(function).parameters)
        self.out = nn.Linear(4, 2)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.function(*(m(x) for m in self.maps)))
        return y


def _mean(h: torch.Tensor) -> torch.Tensor:
    return h.sum(-1, keepdim=True)


MIXED = {
    "difference of squares": lambda a, b: a**2 - b**2,
    "two products": lambda a, b, c, d: a * b + c * d,
    "one factor of both": lambda a, b, c: a * b + c * a,
    "one gate of both": lambda a, b, c: F.silu(a) * b + F.silu(a) * c,
    "weighed by sums": lambda a, b: _mean(a) * a - _mean(b) * b,
    "real part": lambda a, b, c, d: (torch.complex(a, b) * torch.complex(c, d)).real,
}
PLAIN = {
    "sum of squares": lambda a, b: a**2 + b**2,
    "unequal squares": lambda a, b: a**2 - 2 * b**2,
    "fourth powers": lambda a, b: a**4 - b**4,
    "activations": lambda a, b: a.relu() ** 2 - b.relu() ** 2,
    "two gates": lambda a, b, c, d: F.silu(a) * b + F.silu(c) * d,
    "one product": lambda a, b, c: a * b + c.relu(),
}


@pytest.mark.parametrize("name", at_night(MIXED, "weighed by sums", "real part"))
def test_what_mixes_two_terms_is_named(name: str) -> None:
    net = Forms(MIXED[name])
    laws = lw.derive(net, args=(X,))
    counted = lw.count(net, args=(X,))
    assert counted.verdict is Verdict.HOLDS and counted.laws > laws.exact_independent
    assert any("adds up products of layers" in note for note in laws.notes)
    assert laws.verify(net, args=(X,)).verdict is Verdict.HOLDS


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_is_named_where_nothing_is_missing(name: str) -> None:
    net = Forms(PLAIN[name])
    laws = lw.derive(net, args=(X,))
    assert not any("products of layers" in note for note in laws.notes)
    assert lw.count(net, args=(X,)).laws == laws.exact_independent
