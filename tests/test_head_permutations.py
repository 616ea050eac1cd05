"""Heads of attention written by hand change places with all that is theirs; where they do not, a note says why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Cosine(nn.Module):
    """Cosine attention with what repositories put beside it, one number for each head."""

    def __init__(self, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.what, self.qkv, self.out = what, nn.Linear(8, 24), nn.Linear(8, 8)
        if what in ("temperature", "clamped"):
            self.scale = nn.Parameter(torch.tensor([[[1.5]], [[2.0]]]))
        if what == "bias":
            self.bias = nn.Parameter(torch.randn(2, 5, 5))
        if what == "gate":
            self.gate = nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(len(x), 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2)
        if self.what == "temperature":
            scores = scores * self.scale
        if self.what == "clamped":
            scores = scores * self.scale.clamp(max=4.6).exp()
        if self.what == "bias":
            scores = scores + self.bias
        if self.what == "order":
            scores = scores + torch.tensor([[[0.0]], [[1.0]]]) * torch.arange(5.0)
        y = scores.softmax(-1) @ v
        y = y * self.gate if self.what == "gate" else y
        return self.out(y.transpose(1, 2).flatten(2))


X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("what", ["nothing", "temperature", "clamped", "bias"])
def test_heads_change_places_with_what_is_theirs(what: str) -> None:
    module = Cosine(what)
    found = [s for s in lw.symmetries(module, args=X) if s.group == "permutation" and "qkv.weight" in s.parameters]
    assert len(found) == 1 and found[0].shape == (2,) and found[0].proof.holds
    assert str(found[0].verify(module).verdict) == "holds"
    own = {"temperature": "scale", "clamped": "scale", "bias": "bias"}.get(what)
    assert own is None or own in found[0].parameters


@pytest.mark.parametrize(
    ("module", "inputs"), [(Cosine("gate"), X), (Cosine("order"), X), (nn.MultiheadAttention(8, 2), (X, X, X))]
)
def test_heads_that_are_not_known_to_change_places_are_noted(module: nn.Module, inputs: object) -> None:
    found = lw.symmetries(module, args=inputs)  # type: ignore[arg-type]
    assert "permutation" not in {s.group for s in found}
    assert any("no permutation of the heads of" in n and "it is not known to pass" in n for n in found.notes)
