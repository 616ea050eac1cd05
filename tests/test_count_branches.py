"""A count of a module that may take another branch at another call is of one run only, and says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import lawful as lw


class Branching(nn.Module):
    """Another function where its condition is false."""

    def __init__(self, condition: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.u, self.w = nn.Parameter(torch.randn(2, 2)), nn.Parameter(torch.randn(2, 2))
        self.b, self.condition = nn.Parameter(torch.randn(2)), condition

    def forward(self, x: Tensor) -> Tensor:
        taken = {"data": x.sum(), "parameter": self.u.sum() ** 2, "mode": 1.0 if self.training else -1.0}
        if taken[self.condition] > 0:
            return (x @ self.u).relu() @ self.w
        return x @ self.u @ self.w + self.b


X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).abs()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("condition", ["data", "parameter"])
def test_a_branch_leaves_a_count_undecided(condition: str, exact: bool) -> None:
    found = lw.count(Branching(condition), args=(X,), exact=exact)
    assert found.verdict is lw.Verdict.UNDECIDED
    assert "the run on the example" in found.doubt


@pytest.mark.parametrize("exact", [False, True])
def test_a_mode_is_no_branch(exact: bool) -> None:
    found = lw.count(Branching("mode"), args=(X,), exact=exact)
    assert (found.verdict, found.laws) == (lw.Verdict.HOLDS, 4)


def test_the_traced_run_itself_is_counted() -> None:
    arch = lw.trace(Branching("data"), (X,))
    assert lw.count(arch).verdict is lw.Verdict.HOLDS
