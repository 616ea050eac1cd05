"""One bias at several places of one wire: what holds the places together is no more than the numbers they add."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw

Forward = Callable[["Copies", torch.Tensor], torch.Tensor]


class Copies(nn.Module):
    """Parameters that a forward puts together."""

    def __init__(self, run: Forward) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2, 4))
        self.one, self.two = nn.Parameter(torch.randn(1)), nn.Parameter(torch.randn(2))
        self.square = nn.Parameter(torch.randn(2, 2))
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


BIASES: dict[str, Callable[[Copies], torch.Tensor]] = {
    "expanded": lambda m: m.one.expand(4),
    "repeated": lambda m: m.one.repeat(4),
    "four of one": lambda m: torch.cat([m.one, m.one, m.one, m.one]),
    "one and its repeats": lambda m: torch.cat([m.one, m.one.expand(3)]),
    "twice a pair": lambda m: torch.cat([m.two, m.two]),
    "a pair and copies": lambda m: torch.cat([m.two, m.one, m.one]),
    "picked": lambda m: m.two[[0, 1, 1, 0]],
    "a pair in turn": lambda m: m.two.repeat(2),
    "added twice": lambda m: torch.cat([m.two, m.two]) + m.one,
}


@pytest.mark.parametrize("name", at_night(BIASES, "one and its repeats", "picked", "added twice", "twice a pair"))
def test_laws_that_a_bias_of_copies_leaves_are_listed_or_named(name: str) -> None:
    """Found by drawn modules: `cat([b, b, b])` left 1 law of 4, without a note."""
    model = Copies(lambda m, x: F.linear(F.linear(x, m.first, BIASES[name](m)), m.last))
    args = (torch.randn(5, 3),)
    laws = lw.derive(lw.trace(model, *args))
    counted = lw.count(model, args=args).laws
    assert laws.exact_independent <= counted
    assert laws.gaps or laws.exact_independent == counted
    assert name not in ("expanded", "repeated") or laws.exact_independent == counted
    assert not laws.verify(model, args=args).violated


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_copies_of_one_number_beside_copies_of_two(loss: str) -> None:
    """Found by drawn modules: four copies that another block sees as two times two raised a bare KeyError."""
    model = Copies(
        lambda m, x: F.linear(F.linear(x[:, :2], m.square), m.square.repeat_interleave(2, 0), m.one.expand(4))
    )
    args = (torch.randn(5, 3),)
    laws = lw.derive(model, loss, args=args)
    assert laws.exact_independent == lw.count(model, loss, args=args).laws
    assert not laws.verify(model, args=args).violated
