"""Rows of tables by whole numbers that the forward makes of its inputs: a column, a sum, a largest place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lawful as lw

WORDS = torch.tensor([[0, 1], [2, 1], [3, 0], [1, 1]])
WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a column": lambda e, i: e[i[:, 0]],
    "a column, by embedding": lambda e, i: nn.functional.embedding(i[:, 0], e),
    "a column, selected": lambda e, i: e.index_select(0, i[:, 0]),
    "a sum": lambda e, i: e[(i[:, 0] + i[:, 1]) % 4],
    "all words": lambda e, i: e[i].sum(1),
    "a column and a row": lambda e, i: e[i[:, 0], i[:, 1]][:, None],
    "features": lambda e, i: e.t()[:, i[:, 0]].t(),
    "gathered": lambda e, i: e.gather(0, torch.cat([i, i[:, :1]], 1)),
}


class Rows(nn.Module):
    """A map behind rows of a table."""

    def __init__(self, way: Callable[[Tensor, Tensor], Tensor], behind: bool) -> None:
        super().__init__()
        self.table, self.way = nn.Parameter(torch.randn(4, 3)), way
        self.o = nn.Linear(3, 2, bias=False) if behind else nn.Identity()

    def forward(self, i: Tensor) -> Tensor:
        rows = self.way(self.table, i)
        return self.o(rows if rows.shape[-1] == 3 else rows.expand(-1, 3))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_the_rebuilt_network_gets_all_words_of_the_example(way: str, behind: bool) -> None:
    """Numbers that an operation reads, and that the forward makes itself, were drawn below 2: false counts."""
    torch.manual_seed(0)
    module = Rows(WAYS[way], behind)
    report = lw.check(module, args=WORDS)
    assert report.count is not None
    assert report.count.laws == lw.count(module, args=WORDS).laws, str(report)
    if way not in ("a column and a row", "features", "gathered"):
        assert report.complete and len(report.laws) == int(behind), str(report)
