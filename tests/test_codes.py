"""Codes and choices beside what is trained: no gradient reaches them, and a symmetry of the function keeps them too."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict


class Coded(nn.Module):
    """A hidden layer and, beside the output, whole numbers that are made of it."""

    def __init__(self, choice: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.out, self.choice = nn.Linear(3, 4), nn.Linear(4, 2), choice

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.a(x).relu()
        y = self.out(h)
        return y, h.argmax(-1) if self.choice else (y > 0)


@pytest.mark.parametrize("choice", [True, False])
def test_a_symmetry_keeps_codes_too(choice: bool) -> None:
    net, x = Coded(choice), torch.randn(6, 3)
    assert lw.derive(net, args=(x,)).exact_independent == 4
    found = lw.symmetries(net, args=(x,))
    if choice:  # which hidden unit is the largest changes with their sizes and their order
        assert not len(found) and all("is no symmetry of the function" in note for note in found.notes)
        assert len(found.notes) == 2
    else:
        assert len(found) == 2 and found.notes == ()
        assert {s.verify().verdict for s in found} == {Verdict.HOLDS}
