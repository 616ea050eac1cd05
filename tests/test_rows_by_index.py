"""`table[i]` is a lookup, as `F.embedding(i, table)` is."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw

ONE, TWO = torch.arange(10) % 5, (torch.arange(12) % 5).reshape(4, 3)


class Indexed(nn.Module):
    """A table that is read by an index, and two maps behind it."""

    def __init__(self, rows: Callable[[nn.Module, torch.Tensor], torch.Tensor], shape: tuple[int, int]) -> None:
        super().__init__()
        self.t, self.rows = nn.Parameter(torch.randn(shape)), rows
        self.w, self.v = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2, 4))

    def forward(self, i: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.rows(self, i) @ self.w.T) @ self.v.T


ROWS = {
    "rows": (lambda m, i: m.t[i], (5, 3), 6),
    "rows of a part": (lambda m, i: m.t[1:][i], (6, 3), 9),
    "columns": (lambda m, i: m.t.T[i], (3, 5), 6),
    "index_select": (lambda m, i: m.t.index_select(0, i.reshape(-1)).reshape(*i.shape, 3), (5, 3), 6),
}


@pytest.mark.parametrize("places", [ONE, TWO], ids=["one each", "several"])
@pytest.mark.parametrize("name", ROWS)
def test_a_table_that_is_indexed_keeps_its_laws(name: str, places: torch.Tensor) -> None:
    rows, shape, number = ROWS[name]
    module = Indexed(rows, shape)
    laws = lw.derive(lw.trace(module, places))
    counted = lw.count(module, args=places).laws
    assert laws.independent <= counted == number and (laws.independent == number or laws.gaps)
    if name != "index_select":
        assert laws.independent == number and laws.verify(module, args=places).verdict.passed


@pytest.mark.parametrize("places", [-1 - ONE, ONE > 2], ids=["from the end", "mask"])
def test_other_indices_are_named(places: torch.Tensor) -> None:
    """Rows that are counted from the end raised an error of torch's random numbers."""
    picked = Indexed(lambda m, i: m.t[i] if i.dtype != torch.bool else m.t[:1] * i[:, None], (5, 3))
    laws = lw.derive(lw.trace(picked, places))
    assert laws.gaps or laws.independent == lw.count(picked, args=places).laws
