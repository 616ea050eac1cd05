"""Features that a forward picks, once or several times: their writer follows one order, and not two."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw


class Picks(nn.Module):
    """Something between two maps."""

    def __init__(self, first: nn.Module, last: nn.Module, run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.run = first, last, run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.run(self.first(x))).flatten(1)


LINES, ROWS = torch.randn(4, 2, 3), torch.randn(4, 2)
CASES = {
    "channels, once": (lambda: Picks(nn.Conv1d(2, 4, 2), nn.Conv1d(2, 2, 1), lambda h: h[:, [0, 2]]), LINES, 13),
    "channels, twice": (
        lambda: Picks(nn.Conv1d(2, 4, 2), nn.Conv1d(2, 2, 1), lambda h: h[:, ::2] + h[:, 1::2].relu()),
        LINES,
        2,
    ),
    "features, once": (lambda: Picks(nn.Linear(2, 5), nn.Linear(3, 2), lambda h: h[:, [0, 2, 4]].relu()), ROWS, 9),
    "features, twice": (
        lambda: Picks(nn.Linear(2, 4), nn.Linear(2, 2), lambda h: h[:, ::2] * h[:, 1::2].sigmoid()),
        ROWS,
        2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_picked_features_keep_their_laws(name: str) -> None:
    """In an order for one of two readers the other lost its laws (0 of 2); cut apart a single one lost some."""
    make, x, wanted = CASES[name]
    model = make()
    laws = lw.derive(model, args=x)
    assert laws.exact_independent == lw.count(model, args=x).laws == wanted and not laws.gaps
    assert not laws.verify(model, args=x).violated
