"""Squared lengths and inner products of an encoder with itself, wider than what it reads: the span is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lawful as lw

Squares = Callable[[Tensor, Tensor], Tensor]

THIN: dict[str, Squares] = {
    "length": lambda u, v: u.square().sum(-1),
    "mean": lambda u, v: (2 * u).pow(2).mean(-1),
    "itself": lambda u, v: (u * u).sum(-1),
    "product": lambda u, v: (u * v).sum(-1),
    "distance": lambda u, v: (u - v).square().sum(-1),
    "curved": lambda u, v: (u * v).sum(-1).sigmoid(),
    "einsum": lambda u, v: torch.einsum("bi,bi->b", u, v),
    "expanded": lambda u, v: u.square().sum(-1) + v.square().sum(-1) - 2 * (u * v).sum(-1),
}


class Encoder(nn.Module):
    def __init__(self, width: int, squares: Squares, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.squares = nn.Linear(2, width, bias=bias), squares

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.squares(self.encode(x), self.encode(y))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).square().sum(-1) + self.b(x).square().sum(-1)


class SharedScores(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(2, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.a(x), self.a(x), x)


def _pair() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 2), torch.randn(5, 2)


@pytest.mark.parametrize("name", THIN)
def test_the_space_of_a_thin_wire_is_named(name: str) -> None:
    report = lw.check(Encoder(3, THIN[name]), args=_pair())
    assert report.difference == 2 and report.findings, str(report)
    assert report.verdict is lw.Verdict.UNDECIDED


def test_a_bias_is_one_more_vector() -> None:
    report = lw.check(Encoder(4, THIN["product"], bias=True), args=_pair())
    assert report.difference == 3 and report.findings, str(report)


def test_nothing_is_named_where_the_vectors_span_the_wire() -> None:
    for name in ("length", "product"):
        report = lw.check(Encoder(2, THIN[name]), args=_pair())
        assert report.lawful and not report.laws.notes, str(report)


def test_sums_of_squares_are_one_square_of_a_wider_wire() -> None:
    report = lw.check(Two(), args=(torch.randn(5, 2),))
    assert report.difference == 4 and report.findings, str(report)


def test_scores_of_one_map_with_itself() -> None:
    thin = lw.check(SharedScores(3), args=(torch.randn(5, 4, 2),))
    assert thin.difference == 2 and thin.findings, str(thin)
    assert lw.check(SharedScores(2), args=(torch.randn(5, 4, 2),)).lawful
