"""What models of other packages compute in ways that no list of ours had, with the number of laws that hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lawful as lw


class Crossed(nn.Module):
    """Two layers of a cross network of low rank, with their parameters in stacks of two."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.randn(2, 5, 2)), nn.Parameter(torch.randn(2, 2, 5))
        self.b, self.o = nn.Parameter(torch.randn(2, 5)), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x
        for i in range(2):
            x = first * (x @ self.u[i] @ self.v[i] + self.b[i]) + x
        return self.o(x)


CASES = [(Crossed, ((4, 5),), 11)]


@pytest.mark.parametrize(("maker", "shapes", "count"), CASES, ids=[c[0].__name__ for c in CASES])
def test_all_laws_are_found(maker: type[nn.Module], shapes: tuple[tuple[int, ...], ...], count: int) -> None:
    torch.manual_seed(0)
    module, args = maker(), tuple(torch.randn(*s) for s in shapes)
    laws = lw.derive(module, args=args)
    assert laws.independent == count, [str(n) for n in laws.notes]
    assert not any("bug" in n or "fault" in n for n in laws.notes), laws.notes
    assert lw.verify(module, laws, args=args).verdict.name == "HOLDS"
