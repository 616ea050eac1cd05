"""Inner products of two branches: any matrix passes with its inverse; what is missing in forms of one wire is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

import lawful as lw

WORDS = torch.arange(40)
POINTS = torch.linspace(-2, 2, 15).reshape(5, 3).sin()


class Towers(nn.Module):
    """Two maps whose features are multiplied and added up, as `join` says."""

    def __init__(self, left: nn.Module, right: nn.Module, join: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.left, self.right, self.join = left, right, join

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.join(self.left(a), self.right(b))


class Form(nn.Module):
    """`x^T A^T B x`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a(x) * self.b(x)).sum(-1)


class Pooled(nn.Module):
    """Scores of tokens by one query of each example."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(2, 3, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return (self.q(x)[:, None] * self.k(tokens)).sum(-1).tanh()


def summed(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (u * v).sum(-1)


def linear(n: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(n, 4, bias)


CASES: dict[str, tuple[Callable[[], nn.Module], Sequence[torch.Tensor]]] = {
    "towers": (lambda: Towers(linear(3), linear(2), summed), (POINTS, POINTS[:, :2].cos())),
    "einsum": (
        lambda: Towers(linear(3), linear(2), lambda u, v: torch.einsum("bd,bd->b", u, v).sigmoid()),
        (POINTS, POINTS[:, :2].cos()),
    ),
    "factorisation": (lambda: Towers(nn.Embedding(5, 3), nn.Embedding(6, 3), summed), (WORDS % 5, WORDS % 6)),
    "one side curved": (
        lambda: Towers(linear(3), nn.Sequential(linear(2), nn.Tanh()), summed),
        (POINTS, POINTS[:, :2].cos()),
    ),
    "behind a gate": (
        lambda: Towers(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), linear(2), summed),
        (POINTS, POINTS[:, :2].cos()),
    ),
    "over tokens": (Pooled, (POINTS[:, :2], torch.linspace(-1, 3, 60).cos().reshape(5, 3, 4))),
}


@pytest.mark.parametrize("case", CASES)
def test_inner_products_let_every_matrix_through(case: str) -> None:
    torch.manual_seed(0)
    make, inputs = CASES[case]
    net = make()
    laws = lw.derive(net, args=tuple(inputs))
    assert laws.independent == lw.count(net, args=tuple(inputs)).laws
    assert not laws.gaps
    assert laws.verify(net, args=tuple(inputs)).verdict == lw.Verdict.HOLDS or not laws.independent


@pytest.mark.parametrize("shared", ["wire", "rows"])
def test_a_form_of_one_wire_says_that_more_may_be_kept(shared: str) -> None:
    torch.manual_seed(0)
    if shared == "wire":
        laws = lw.derive(Form(), args=POINTS)
        assert laws.independent == 10 < lw.count(Form(), args=POINTS).laws
    else:
        table = Towers(nn.Embedding(4, 3), nn.Embedding(4, 3), summed)

        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.towers = table

            def forward(self, a: torch.Tensor) -> torch.Tensor:
                return self.towers(a, a)

        laws = lw.derive(lw.trace(Twice(), WORDS % 4))
    assert laws.gaps
