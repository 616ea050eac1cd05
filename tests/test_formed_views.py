"""Weights that are stacked, viewed, repeated or broadcast before they are used: laws as the referee counts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.verdict import Verdict


class Formed(nn.Module):
    """`second(relu(function(x, a, b)))`."""

    def __init__(self, function: Callable[..., torch.Tensor], *shapes: tuple[int, ...], width: int = 4) -> None:
        super().__init__()
        self.parts = nn.ParameterList(torch.randn(s) for s in shapes)
        self.second = nn.Linear(width, 2, bias=False)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.function(x, *self.parts).relu())


CASES = {
    "a bias stacked with itself": (
        lambda: Formed(lambda x, w, q: F.linear(x, w, torch.stack([q, q], -1).flatten()), (4, 2), (2,)),
        2,
    ),
    "two biases in turns": (
        lambda: Formed(lambda x, w, q, p: F.linear(x, w, torch.stack([q, p], -1).flatten()), (4, 2), (2,), (2,)),
        4,
    ),
    "a gain stacked with itself": (
        lambda: Formed(lambda x, w, q: F.linear(x, w) * torch.stack([q, q], -1).flatten(), (4, 2), (2,)),
        6,
    ),
    "stacked matrices": (
        lambda: Formed(lambda x, p, q: F.linear(x, torch.stack([p, q]).flatten(0, 1)), (2, 2), (2, 2)),
        4,
    ),
    "rows in turns": (
        lambda: Formed(lambda x, p, q: F.linear(x, torch.stack([p, q], 1).flatten(0, 1)), (2, 2), (2, 2)),
        4,
    ),
    "a matrix without a row": (lambda: Formed(lambda x, w, q: F.linear(x, w - q), (3, 2), (2,), width=3), 3),
    "a slice without a row": (
        lambda: Formed(lambda x, w, q: F.linear(x, w[..., 1:3] - q), (3, 4), (2,), width=3),
        9,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_views_of_weights_that_are_made(name: str) -> None:
    """They were "rebuilt wrongly", or an error of Python stood in the note."""
    make, laws = CASES[name]
    torch.manual_seed(0)
    net, args = make(), (torch.randn(5, 2),)
    found = lw.derive(net, args=args)
    assert found.exact_independent == laws
    assert not any("wrongly" in note or "Error" in note or "degrees" in note for note in found.notes)
    assert found.verify(net, args=args).verdict is Verdict.HOLDS


def test_a_table_without_a_row() -> None:
    torch.manual_seed(0)
    net = Formed(lambda x, w, v, q: F.linear(x, w) + (v[..., 1:3] - q), (2, 2), (3, 4), (2,), width=2)
    found = lw.derive(net, args=(torch.randn(5, 3, 2),))
    assert found.exact_independent == 10 and not found.gaps


def test_what_no_handler_foresees_is_a_sentence() -> None:
    net = Formed(lambda x, a, b: F.linear(x, torch.diag(torch.cat([a, b]).expand(4, 4))[:, None]), (2,), (2,))
    net.second = nn.Linear(4, 2, bias=False)
    notes = lw.derive(net, args=(torch.randn(5, 1),)).notes
    assert not any("Error" in note for note in notes)
