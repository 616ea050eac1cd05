"""A number of Python among the inputs is part of the network, and the laws say at which number they are those."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw


class Mix(nn.Module):
    """Two layers, and so much of a bypass as the caller says."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.past = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, a: Any = 0.0, options: Any = None) -> torch.Tensor:
        """The mix of two maps."""
        b = a if options is None else options["a"]
        h = self.up(x).relu()
        return self.down(h) + (0 if b is None else b) * self.past(h.tanh())


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def facts(*args: Any, **kwargs: Any) -> list[str]:
    torch.manual_seed(0)
    laws = lw.derive(Mix(), args=args, kwargs=kwargs)
    assert not [n for n in laws.notes if "laws are those" in n and n not in laws.facts]
    return [n for n in laws.facts if "laws are those" in n]


@pytest.mark.parametrize("a", [0.0, 1.0, 2])
def test_a_number_is_named(a: float) -> None:
    said = f"laws are those at a = {a!r}: a number among the inputs is part of the network"
    assert facts(X, a) == facts(X, a=a) == [said]


def test_numbers_in_containers_are_named() -> None:
    assert facts(X, options={"a": 0.5})[0].startswith("laws are those at options[a] = 0.5: a number")
    assert facts(X, 1.0, {"a": 2}) == [
        "laws are those at a = 1.0, options[a] = 2: numbers among the inputs are part of the network"
    ]


@pytest.mark.parametrize("a", [None, True, torch.tensor(1.0)], ids=["none", "flag", "tensor"])
def test_what_is_no_number_is_not(a: Any) -> None:
    if not isinstance(a, torch.Tensor):
        assert facts(X, a) == []
    assert facts(X) == []


class Bent(nn.Module):
    """Two layers with a rectifier, or with something else at any other number than 0."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, a: float) -> torch.Tensor:
        """The output."""
        h = self.up(x)
        return self.down(h.relu() + a * h.tanh())


def test_other_numbers_have_other_laws() -> None:
    torch.manual_seed(0)
    module = Bent()
    laws = lw.derive(lw.trace(module, X, 0.0))
    assert "laws are those at a = 0.0: a number among the inputs is part of the network" in laws.facts
    found = lw.derive(Bent(), args=(X, 1.0))
    assert "a = 1.0" in found.facts[0] and len(found) == 0
