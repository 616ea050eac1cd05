"""Attention written by hand with learned biases on its scores; the numbers are counts of the oracle."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lawful as lw

X = torch.randn(2, 3, 4)
DISTANCE = torch.arange(3)[:, None] - torch.arange(3) + 2


class Biased(nn.Module):
    """Attention over 3 positions whose scores have a learned bias, of pairs of positions or of their distance."""

    def __init__(self, heads: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.heads, wide = heads, 4 if heads > 1 else 3
        self.q, self.k, self.v = (nn.Linear(4, wide, bias=False) for _ in range(3))
        self.o, self.bias = nn.Linear(wide, 2, bias=False), nn.Parameter(torch.randn(shape))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.heads == 1 else x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.split(m(x)) for m in (self.q, self.k, self.v))
        bias = self.bias[DISTANCE] if self.bias.ndim == 1 else self.bias
        mixed = (q @ k.transpose(-1, -2) / 2 + bias).softmax(-1) @ v
        return self.o(mixed if self.heads == 1 else mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(
    ("heads", "shape", "count"),
    [(1, (3, 3), 15), (1, (5,), 13), (2, (3, 3), 15), (2, (2, 3, 3), 18), (2, (1, 2, 3, 3), 18), (2, (5,), 13)],
)
def test_biases_of_pairs_have_their_laws(heads: int, shape: tuple[int, ...], count: int) -> None:
    torch.manual_seed(0)
    module = Biased(heads, shape)
    laws = lw.derive(module, args=(X,))
    assert (laws.exact_independent, laws.notes) == (count, ())
    assert lw.verify(module, laws, args=(X,)).verdict is lw.Verdict.HOLDS


def test_the_oracle_counts_a_bias_that_heads_share() -> None:
    assert lw.count(Biased(2, (3, 3)), args=(X,)).laws == 15
