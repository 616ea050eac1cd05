"""Functions of weights alone: laws may differ from region to region, and a search through one of them sees these."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.oracle.exact.program import NotPolynomialError


class Made(nn.Module):
    """Two maps with a ReLU between, the first of them a function of its weights."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Parameter(torch.rand(2, 2) * 0.2 + 0.05), nn.Parameter(torch.randn(2, 2))
        self._function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self._function(self.a)) @ self.b.T


@pytest.mark.parametrize("function", [torch.relu, lambda a: a.clamp(-0.3, 0.3), nn.functional.hardtanh])
def test_laws_of_one_region_are_not_searched_for(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    module, x = Made(function), torch.randn(8, 2)
    with pytest.raises(NotPolynomialError, match="other laws hold where they decide otherwise"):
        lw.search_laws(module, args=x)


@pytest.mark.parametrize("function", [torch.relu, lambda a: a.clamp(-0.3, 0.3)])
def test_a_count_of_one_region_is_undecided(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    module, x = Made(function), torch.randn(8, 2)
    assert lw.count(module, args=x, exact=True).verdict is lw.Verdict.UNDECIDED
    assert lw.parameter_count(module, args=x).verdict is lw.Verdict.UNDECIDED


def test_laws_of_all_regions_are() -> None:
    module, x = Made(torch.abs), torch.randn(8, 2)
    assert len(lw.search_laws(module, args=x).laws) == 2 == lw.count(module, args=x, exact=True).laws
