"""Several combinations of the same maps have laws that no map has alone: they are named."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful.graph.questions.derive import by_rules

CASES = {
    "ReLU of a butterfly": lambda a, b: F.relu(torch.cat([a + b, a - b], -1)),
    "butterfly": lambda a, b: torch.cat([a + b, a - b], -1),
    "sums that are weighed": lambda a, b: F.relu(torch.cat([a + b, 2 * a + 0.5 * b], -1)),
    "larger and smaller": lambda a, b: torch.cat([torch.maximum(a, b), torch.minimum(a, b)], -1),
}
WHOLE = {
    "one larger": lambda a, b: torch.cat([torch.maximum(a, b), a + b], -1),
    "one sum twice": lambda a, b: F.relu(torch.cat([a + b, 2 * a + 2 * b], -1)),
    "a stream": lambda a, b: torch.cat([F.relu(a), F.relu(a + F.relu(b))], -1),
}


class Two(nn.Module):
    def __init__(self, combine, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.u, self.v = (nn.Linear(2, width, bias=False) for _ in range(2))
        self.w, self.combine = nn.Linear(2 * width, 2, bias=False), combine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w(self.combine(self.u(x), self.v(x)))


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_laws_of_combinations_are_named(name: str, width: int) -> None:
    module, x = Two(CASES[name], width), torch.randn(6, 2)
    laws = by_rules(lw.trace(module, x), "mse")
    assert laws.independent <= lw.count(module, args=x).laws
    assert any(
        "with the same weights" in n or "with different factors" in n or "choose between" in n for n in laws.gaps
    )


@pytest.mark.parametrize("name", WHOLE)
def test_one_combination_is_not(name: str) -> None:
    laws = lw.derive(Two(WHOLE[name], 2), args=torch.randn(6, 2))
    assert not any("with different factors" in note or "choose between" in note for note in laws.notes)
