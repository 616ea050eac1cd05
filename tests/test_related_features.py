"""Features that are copies, multiples or functions of others: norms of copies are derived, what is not is named.

The numbers are those of the referee (`lawful.testing.referee`).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.verdict import Verdict


class Related(nn.Module):
    """`function(x, first(x), second)`; all that it reads is an attribute."""

    def __init__(self, function: Callable[..., torch.Tensor], second: nn.Module, width: int = 3) -> None:
        super().__init__()
        self.first, self.other, self.second = nn.Linear(2, width), nn.Linear(2, 1), second
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.first(x), self)


def twice(h: torch.Tensor) -> torch.Tensor:
    return torch.cat([h, h], -1)


def normed(h: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(h, h.shape[-1:], eps=0.0)


def plain() -> nn.Module:
    return nn.Linear(6, 2, bias=False)


def unit(width: int) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(width, 2))


# what is done between two maps, the second map, laws beside those of the unused map (2 + 1 numbers that never move)
DERIVED = {
    "layer norm": (lambda x, h, m: m.second(normed(twice(h)).relu()), plain, 10),
    "layer norm with its epsilon": (lambda x, h, m: m.second(F.layer_norm(twice(h), (6,)).relu()), plain, 9),
    "unit vectors": (lambda x, h, m: m.second(F.normalize(twice(h), dim=-1)), plain, 7),
    "neighbours": (lambda x, h, m: m.second(F.layer_norm(h.repeat_interleave(2, -1), (6,))), plain, 11),
}
NAMED = {
    "a gain of copies": (lambda x, h, m: m.second(twice(h)), lambda: nn.Sequential(nn.LayerNorm(6), plain()), 12),
    "one more often": (
        lambda x, h, m: m.second(normed(torch.cat([h, m.other(x), h], -1))),
        lambda: nn.Linear(7, 2, bias=False),
        9,
    ),
    "a norm over the batch": (lambda x, h, m: m.second(F.batch_norm(twice(h), None, None, training=True)), plain, 9),
    "softmax of copies": (lambda x, h, m: m.second(twice(h).softmax(-1)), plain, 9),
    "opposite features": (lambda x, h, m: m.second(normed(torch.cat([h, -h], -1))), plain, 6),
    "weight norm of copies": (lambda x, h, m: m.second(twice(h)), lambda: unit(6), 9),
    "weight norm of a norm": (lambda x, h, m: m.second(normed(h)), lambda: unit(3), 7),
}
CLASSES = {
    "products": (lambda x, h, m: h * m.second(x), 2),
    "gated by one and more": (lambda x, h, m: h * (1 + m.second(x)), 2),
    "products with the input": (lambda x, h, m: h * x, 2),
    "squares": (lambda x, h, m: h.square(), 2),
    "the larger of two": (lambda x, h, m: torch.maximum(h, m.second(x)), 3),
}


def module(function: Callable[..., torch.Tensor], second: nn.Module, width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return Related(function, second, width)


@pytest.mark.parametrize("name", DERIVED)
def test_a_norm_of_copies_is_copies_of_a_norm(name: str) -> None:
    """An exact difference of the weights of copies was lost behind every norm, without a note."""
    function, second, laws = DERIVED[name]
    net, args = module(function, second()), (torch.randn(5, 2),)
    found = lw.derive(net, args=args)
    assert found.exact_independent == laws + 3 and not found.gaps
    assert found.verify(net, args=args).verdict in (Verdict.HOLDS, Verdict.APPROXIMATE)


def test_copies_of_two_features_behind_a_norm() -> None:
    net = module(lambda x, h, m: m.second(normed(torch.cat([h, m.other(x)] * 2, -1))), nn.Linear(8, 2, bias=False))
    args = (torch.randn(5, 2),)
    found = lw.derive(net, args=args)
    assert not found.gaps and found.verify(net, args=args).verdict in (Verdict.HOLDS, Verdict.APPROXIMATE)
    assert found.exact_independent == lw.count(net, args=args).laws


@pytest.mark.parametrize("name", NAMED)
def test_relations_that_no_rule_follows_are_named(name: str) -> None:
    function, second, laws = NAMED[name]
    found = lw.derive(lw.trace(module(function, second()), torch.randn(5, 2)))
    assert found.exact_independent < laws + 3 and found.gaps


@pytest.mark.parametrize("name", CLASSES)
def test_two_classes_are_one_sum(name: str) -> None:
    """`b_1 c_1 - b_2 c_2` is a bilinear form; no law of it was missed where no two maps are multiplied."""
    function, width = CLASSES[name]
    net = module(function, nn.Linear(2, width), width)
    assert lw.derive(lw.trace(net, torch.randn(5, 2)), "cross_entropy").gaps


@pytest.mark.parametrize(
    "function", [lambda x, h, m: h * m.second(x).sigmoid(), lambda x, h, m: h.relu() * m.second(x)]
)
def test_functions_of_single_features_need_no_note(function: Callable[..., torch.Tensor]) -> None:
    net = module(function, nn.Linear(2, 2), 2)
    assert not lw.derive(net, "cross_entropy", args=(torch.randn(5, 2),)).gaps


class Rows(nn.Module):
    """A table and places, whose first two only meet others in a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.gate, self.out = nn.Embedding(4, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.places = nn.Parameter(torch.randn(3, 2))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        h = self.table(words) + self.places
        return self.out((h * self.gate(h.mean(1)).sigmoid()[:, None])[:, -1])


WORDS = torch.arange(15).reshape(5, 3) % 4


def test_places_that_only_a_mean_reads_are_named() -> None:
    assert any("rows at positions" in note for note in lw.derive(Rows(), args=(WORDS,)).gaps)


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_the_epsilon_of_a_norm_of_single_rows_is_named(epsilon: float) -> None:
    """With it the sizes of rows are balanced by a function that is no polynomial; without it they never change."""
    norm = nn.LayerNorm(3, eps=epsilon, elementwise_affine=False)
    found = lw.derive(lw.trace(nn.Sequential(nn.Embedding(4, 3), norm, nn.Linear(3, 3, bias=False)), WORDS))
    assert found.exact_independent == (7 if epsilon else 11) and bool(found.gaps) == bool(epsilon)


def test_the_larger_of_a_number_and_itself_is_that_number() -> None:
    net = module(lambda x, h, m: m.second(torch.maximum(h, h)), nn.Linear(2, 3, bias=False), 2)
    found = lw.derive(net, args=(torch.randn(5, 2),))
    assert not found.gaps and found.exact_independent == 3 + 3
