"""Moves of features between joins, cuts and groups: single features pass, and what may be missing is said."""

from __future__ import annotations

import pytest
import torch
from nights import at_night
from torch import nn

import lawful as lw


def shuffle(h: torch.Tensor, groups: int) -> torch.Tensor:
    """The features of every group spread over all others, as ShuffleNet does."""
    return h.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class Halves(nn.Module):
    """Two maps side by side, shuffled, read by two others; `passed` units, of which a half is passed on."""

    def __init__(self, passed: int = 0) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)
        self.units = nn.ModuleList(nn.Linear(4, 4) for _ in range(passed))
        self.c, self.d = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, v = shuffle(torch.cat([self.a(x), self.b(x)], 1).sigmoid() * 2, 2).chunk(2, 1)
        for unit in self.units:
            u, v = shuffle(torch.cat([u, unit(v).relu()], 1), 2).chunk(2, 1)
        return self.c(u.abs()) + self.d(v.relu()).tanh()


class Mixed(nn.Module):
    """Features plus the same ones moved."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = list(order)
        self.a, self.b = nn.Linear(3, len(order)), nn.Linear(len(order), 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x).relu()
        return self.b(h + h[:, self.order])


class Groups(nn.Module):
    """Two grouped convolutions with a shuffle between."""

    def __init__(self, active: bool) -> None:
        super().__init__()
        self.active = active
        self.a, self.b, self.c = nn.Conv1d(2, 6, 1, groups=2), nn.Conv1d(6, 4, 1, groups=2), nn.Conv1d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        return self.c(self.b(shuffle(h.relu() if self.active else h, 2)))


CASES = {
    "halves": (lambda: Halves(), (5, 3)),
    "passed on": (lambda: Halves(2), (5, 3)),
    "flip": (lambda: Mixed((3, 2, 1, 0)), (5, 3)),
    "roll": (lambda: Mixed((1, 2, 3, 0)), (5, 3)),
    "groups": (lambda: Groups(True), (5, 2, 3)),
    "linear groups": (lambda: Groups(False), (5, 2, 3)),
}


@pytest.mark.parametrize("case", at_night(CASES, "passed on", "linear groups"))
def test_moves_that_others_keep_let_single_features_through(case: str) -> None:
    torch.manual_seed(0)
    make, shape = CASES[case]
    net, x = make(), torch.randn(shape)
    laws = lw.derive(lw.trace(net, x))
    count = lw.count(net, args=x).laws
    assert laws.independent == count or (laws.independent < count and laws.gaps)
    assert laws.verify(net, args=x).verdict in (lw.Verdict.HOLDS, lw.Verdict.VACUOUS)
    if case in ("flip", "groups"):
        assert laws.independent == count


def test_many_moves_of_wide_features_stay_few_laws() -> None:
    wide = tuple(range(200))[::-1]
    laws = lw.derive(Mixed(wide), args=torch.randn(2, 3))
    assert len(laws) < 20
    assert any("another order" in note for note in laws.gaps)
