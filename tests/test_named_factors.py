"""Laws that an adversary counted and no note named: one number that weighs many, a gain that is a matrix too, sums."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import nn
from torch.nn import functional as F

import lawful as lw

Shapes = dict[str, tuple[int, ...]]


class Plain(nn.Module):
    def __init__(self, forward: Callable, shapes: Shapes, fixed: tuple[str, ...] = ()) -> None:
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape), requires_grad=name not in fixed))
        self.own = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.own(self, x)
        return out


def several(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    h = F.linear(x, m.a)
    return F.linear(h[:, :2] * h[:, 1:], m.o)


def scaled(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    h = F.linear(x, m.a).relu()
    return F.linear(h / h.sum(-1, keepdim=True).clamp(min=1e-9), m.o)


# name: (forward, shapes, what is fixed, words of the note)
NAMED: dict[str, tuple[Callable, Shapes, tuple[str, ...], str]] = {
    "a wire times one number": (
        lambda m, x: F.linear(x, m.a) * F.linear(x, m.b),
        {"a": (2, 3), "b": (1, 3)},
        (),
        "takes a weighted sum",
    ),
    "one over a sum": (scaled, {"a": (4, 3), "o": (2, 4)}, (), "reads bounded numbers"),
    "one factor in several products": (several, {"a": (3, 3), "o": (2, 2)}, (), "several features by one number"),
    "copies of one number added": (
        lambda m, x: F.linear(x, m.a) + F.linear(x, m.b) @ torch.ones(1, 2),
        {"a": (2, 3), "b": (1, 3)},
        (),
        "copies of one number",
    ),
    "a fixed map added": (
        lambda m, x: F.linear(x, m.a) + F.linear(F.linear(x, m.b), m.f),
        {"a": (2, 3), "b": (2, 3), "f": (2, 2)},
        ("f",),
        "f is frozen, and",
    ),
}
PLAIN: dict[str, tuple[Callable, Shapes]] = {
    "a gate": (lambda m, x: F.linear(x, m.a) * F.linear(x, m.b).sigmoid(), {"a": (2, 3), "b": (1, 3)}),
    "products of own features": (
        lambda m, x: F.linear(F.linear(x, m.a) * F.linear(x, m.b), m.o),
        {"a": (2, 3), "b": (2, 3), "o": (2, 2)},
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_laws_on_two_sides_of_a_factor_are_named(name: str) -> None:
    torch.manual_seed(0)
    forward, shapes, fixed, words = NAMED[name]
    module, args = Plain(forward, shapes, fixed), (torch.randn(6, 3),)
    laws = lw.derive(module, args=args)
    assert lw.count(module, args=args).laws > laws.exact_independent
    assert any(words in note for note in laws.gaps)


@pytest.mark.parametrize("name", PLAIN)
def test_other_factors_need_no_word(name: str) -> None:
    torch.manual_seed(0)
    module, args = Plain(*PLAIN[name]), (torch.randn(6, 3),)
    laws = lw.derive(module, args=args)
    assert not laws.gaps and laws.exact_independent == lw.count(module, args=args).laws


def products(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (F.linear(x, m.a) * F.linear(x, m.b)).sum(-1)


# What a second adversary counted and no note named: (forward, shapes, words of the note).
FOUND: dict[str, tuple[Callable, Shapes, str]] = {
    "sums of products": (products, {"a": (3, 3), "b": (3, 3)}, "inner product of two layers"),
    "a head by hand": (lambda m, x: (F.linear(x, m.a) * m.v).sum(-1), {"a": (4, 3), "v": (4,)}, "adds up products"),
    "a clamped weight": (
        lambda m, x: F.linear(F.linear(x, m.a.clamp(min=0)).relu(), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "a function of a",
    ),
    "copies behind a pool": (
        lambda m, x: F.linear(torch.cat([F.conv1d(x[:, None], m.a)] * 2, 1).amax(-1), m.o),
        {"a": (2, 1, 2), "o": (2, 4)},
        "reads several copies",
    ),
    "a weight less its transpose": (lambda m, x: F.linear(x, m.a - m.a.t()), {"a": (3, 3)}, "join its rows with its"),
    "bounds far out": (
        lambda m, x: F.linear(F.linear(x, m.a).clamp(-100, 100), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "large numbers only",
    ),
    "a threshold far out": (
        lambda m, x: F.linear(F.threshold(F.linear(x, m.a), -30.0, -30.0), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "large numbers only",
    ),
    "a choice far out": (
        lambda m, x: F.linear((h := F.linear(x, m.a)).where(h > -30, -30.0), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "large numbers only",
    ),
    "the smaller of it and large numbers": (
        lambda m, x: F.linear(torch.minimum(F.linear(x, m.a), torch.full((3,), 40.0)), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "large numbers only",
    ),
    "the smaller of it and a large number": (
        lambda m, x: F.linear(torch.minimum(F.linear(x, m.a).relu(), torch.tensor(40.0)), m.o),
        {"a": (3, 3), "o": (2, 3)},
        "large numbers only",
    ),
}


@pytest.mark.parametrize(
    "name", at_night(FOUND, "a choice far out", "the smaller of it and large numbers", "bounds far out")
)
def test_what_a_second_adversary_counted_is_named(name: str) -> None:
    torch.manual_seed(0)
    forward, shapes, words = FOUND[name]
    module, args = Plain(forward, shapes), (torch.randn(6, 3),)
    laws = lw.derive(module, args=args)
    assert not any("a bug of lawful" in note for note in laws.notes)
    assert not len(laws) or laws.verify(module, args=args).verdict is not lw.Verdict.VIOLATED
    assert lw.count(module, args=args).laws > laws.exact_independent
    assert any(words in note for note in laws.gaps)


def test_bounds_that_are_tensors_are_larger_and_smaller_of_two() -> None:
    torch.manual_seed(0)
    module = Plain(
        lambda m, x: F.linear(torch.clamp(F.linear(x, m.a), max=F.linear(x, m.b)), m.o),
        {"a": (3, 3), "b": (3, 3), "o": (2, 3)},
    )
    laws = lw.derive(module, args=(torch.randn(6, 3),))
    assert not laws.gaps and laws.exact_independent == 3


def test_no_transform_of_torch_stays_open() -> None:
    module = Plain(lambda m, x: (F.linear(x, m.a) @ F.linear(x, m.a).t()).fill_diagonal_(0), {"a": (2, 3)})
    lw.derive(module, args=(torch.randn(4, 3),))
    torch.randn(2)  # raised while a level of vmap was open
