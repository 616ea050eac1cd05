"""Parts of parameters that one run did not read, and another one may: experts that got no token."""

from __future__ import annotations

import torch
from torch import nn

import lawful as lw


class Experts(nn.Module):
    """Experts in one tensor, of which every example gets the one that its own numbers choose."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Parameter(torch.randn(3, 4, 2, dtype=torch.float64))
        self.down = nn.Parameter(torch.randn(3, 2, 4, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = int(x.mean() > 100)  # the second one is met by no input that is drawn; the third one by none at all
        return torch.relu(x @ self.up[chosen].T) @ self.down[chosen].T


def test_what_no_run_chose_is_not_said_to_rest() -> None:
    laws = lw.derive(Experts(), args=torch.randn(5, 2, dtype=torch.float64))
    assert not any(law.kind == "frozen" for law in laws)
    assert any("another branch may read what this run did not" in note and "up[1:3]" in note for note in laws.notes)


def test_a_slice_that_every_call_leaves_out_rests() -> None:
    class Sliced(Experts):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ self.up[0].T) @ self.down[0].T

    laws = lw.derive(Sliced(), args=torch.randn(5, 2, dtype=torch.float64))
    assert {law.text for law in laws if law.kind == "frozen"} == {"up[1:3]", "down[1:3]"}
