"""Keys and values that all heads of the queries share by broadcasting, and rows of tables that are never trained."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.verdict import Verdict


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k[:, None], v[:, None], is_causal=True)


def by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (q @ k[:, None].transpose(-1, -2) * 0.5).softmax(-1) @ v[:, None]


class SharedKeys(nn.Module):
    """Two heads of queries, one of keys and values; all of them rows of one matrix."""

    def __init__(self, attend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 16, bias=False), nn.Linear(8, 5)
        self.attend = attend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        heads = self.qkv(x).view(b, t, 4, 4)
        q, k, v = heads[:, :, :-2], heads[:, :, 2], heads[:, :, 3]
        y: torch.Tensor = self.out(self.attend(q.transpose(1, 2), k, v).transpose(1, 2).reshape(b, t, 8))
        return y


@pytest.mark.parametrize("attend", [fused, by_hand])
def test_keys_that_all_heads_share_by_broadcasting_are_read(attend: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    found = lw.symmetries(SharedKeys(attend), args=(torch.randn(2, 5, 8),))
    assert not found.notes
    assert sorted((s.group, s.shape) for s in found) == [
        ("general linear", (4, 4)),
        ("general linear", (4, 4)),
        ("permutation", (2,)),
    ]
    assert all(s.verify().verdict is Verdict.HOLDS and s.proof.holds for s in found)
    assert {"smooth_layer": "qkv", "balance_layers": ["out"]} in lw.export.awq(found)
    (r2,) = lw.export.rotation_maps(found)["R2"]
    assert (r2["value"], r2["output"], r2["size"]) == ("qkv", ["out"], 4)


class Padded(nn.Module):
    """A stream between norms without gains that begins with a table whose first row is never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 6, padding_idx=0)
        self.up, self.down, self.head = nn.Linear(6, 9), nn.Linear(9, 6), nn.Linear(6, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        x = x + self.down(torch.relu(self.up(F.rms_norm(x, (6,)))))
        y: torch.Tensor = self.head(F.rms_norm(x, (6,)))
        return y


def test_a_row_that_is_never_trained_turns_with_the_stream() -> None:
    torch.manual_seed(0)
    model = Padded()
    nn.init.normal_(model.table.weight)
    found = lw.symmetries(model, args=(torch.randint(7, (2, 5)),))
    (turn,) = found.where(group="orthogonal")
    assert turn.verify().verdict is Verdict.HOLDS and turn.proof.holds
    assert turn.law is None and "a row whose gradient is stopped" in str(turn)
    assert lw.export.rotation_maps(found)["R1"]["size"] == 6
