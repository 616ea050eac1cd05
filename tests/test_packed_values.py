"""Values that are packed between queries and keys still turn with the output, and say which rows they are."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict

HEADS, GROUPS, WIDTH, D = 4, 2, 4, 6


def angles(t):
    a = torch.arange(t)[:, None] * 0.5 ** torch.arange(WIDTH // 2)
    return torch.cat([a, a], -1)


def turned(x, a):
    x1, x2 = x.chunk(2, -1)
    return x * a.cos() + torch.cat([-x2, x1], -1) * a.sin()


class Interleaved(nn.Module):
    """Falcon's: queries, a key and a value for each group, copies of these for its queries, rotary position."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(D, (HEADS + 2 * GROUPS) * WIDTH, bias=False)
        self.dense = nn.Linear(HEADS * WIDTH, D)

    def forward(self, x):
        b, t, _ = x.shape
        h = self.qkv(x).view(b, t, GROUPS, HEADS // GROUPS + 2, WIDTH)
        q, k, v = h[:, :, :, :-2], h[:, :, :, [-2]], h[:, :, :, [-1]]
        k, v = torch.broadcast_to(k, q.shape), torch.broadcast_to(v, q.shape)
        q, k, v = (y.flatten(2, 3).transpose(1, 2) for y in (q, k, v))
        q, k = turned(q, angles(t)), turned(k, angles(t))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.dense(y.transpose(1, 2).reshape(b, t, -1))


class Fused(nn.Module):
    """Bloom's: examples and heads are one axis, a bias for every head is added in the same call as the product."""

    def __init__(self):
        super().__init__()
        self.qkv, self.dense = nn.Linear(D, 3 * HEADS * WIDTH), nn.Linear(HEADS * WIDTH, D)

    def forward(self, x):
        b, t, _ = x.shape
        h = self.qkv(x).view(b, t, HEADS, 3, WIDTH)
        q, k, v = (h[..., i, :].transpose(1, 2).reshape(b * HEADS, t, WIDTH) for i in range(3))
        slopes = 2.0 ** -torch.arange(1, HEADS + 1)
        alibi = (slopes[None, :, None, None] * torch.arange(t)).expand(b, -1, -1, -1).reshape(b * HEADS, 1, t)
        scores = alibi.baddbmm(q, k.transpose(1, 2), beta=1.0, alpha=1 / math.sqrt(WIDTH)).view(b, HEADS, t, t)
        p = F.softmax(scores + torch.full((t, t), -1e9).triu(1), -1)
        y = torch.bmm(p.view(b * HEADS, t, t), v).view(b, HEADS, t, WIDTH)
        return self.dense(y.permute(0, 2, 1, 3).reshape(b, t, -1))


@pytest.mark.parametrize(("kind", "groups"), [(Interleaved, GROUPS), (Fused, HEADS)])
def test_values_turn_with_the_output(kind, groups):
    torch.manual_seed(0)
    found = lw.symmetries(kind(), args=(torch.randn(2, 3, D),))
    (turn,) = [s for s in found.where(group="general linear") if "dense.weight" in s.parameters]
    assert turn.shape == (groups, WIDTH, WIDTH) and turn.verify().verdict is Verdict.HOLDS
    (entry,) = [r for r in lw.export.rotation_maps(found)["R2"] if r["output"] == ["dense"]]
    assert entry["value"] == "qkv" and all("view" in part for part in entry["parts"]["output"])
    assert {"smooth_layer": "qkv", "balance_layers": ["dense"]} not in lw.export.awq(found)  # not its last rows
    assert not found.arch.trace.opaque and not found.arch.trace.narrow


class Turned(nn.Module):
    """Queries, keys and values of every head side by side, written by a matrix that stands the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Parameter(torch.randn(4, 12)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = ((x @ self.qkv).unflatten(-1, (2, 3, 2))[:, :, :, i].transpose(1, 2) for i in range(3))
        y: torch.Tensor = self.out(((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).flatten(2))
        return y


def test_packed_heads_of_a_transposed_matrix_are_read() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Turned(), args=(torch.randn(2, 3, 4),))
    assert sorted(s.group for s in found) == ["general linear", "general linear", "permutation"]
    assert all(s.verify().error < 1e-9 for s in found) and not [n for n in found.notes if "rebuilt" in n]
