"""Hidden units and heads that a network treats as positions: splines of KANs, linear attention, graph attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.verdict import Verdict


class Splines(nn.Module):
    """A layer of a KAN: a curve of its own on every edge, on a grid that all inputs share or that differs."""

    def __init__(self, width: int, out: int, shared: bool = True) -> None:
        super().__init__()
        self.coef, self.base = nn.Parameter(torch.randn(out, width, 3)), nn.Parameter(torch.randn(out, width))
        grid = torch.linspace(-2, 2, 3).expand(width, 3)
        self.register_buffer("grid", grid if shared else grid + torch.arange(width)[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bases = torch.exp(-((x.unsqueeze(-1) - self.grid) ** 2))
        return torch.einsum("big,oig->bo", bases, self.coef) + F.linear(F.silu(x), self.base)


class Linear(nn.Module):
    """Linear attention, whose denominator may be there."""

    def __init__(self, divides: bool) -> None:
        super().__init__()
        self.divides = divides
        self.q, self.k, self.v, self.o = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (f(x).unflatten(-1, (2, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        y = q @ (k.transpose(-1, -2) @ v)
        if self.divides:
            y = y / (q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True)
        out: torch.Tensor = self.o(y.transpose(1, 2).flatten(2))
        return out


class GraphAttention(nn.Module):
    """Several heads of a layer of GAT by hand, as PyG writes their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.out = nn.Linear(4, 6, bias=False), nn.Linear(6, 2)
        self.source, self.target = nn.Parameter(torch.randn(1, 2, 3)), nn.Parameter(torch.randn(1, 2, 3))
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        h = self.w(x).view(len(x), 2, 3)
        e = F.leaky_relu((h * self.source).sum(-1).unsqueeze(1) + (h * self.target).sum(-1).unsqueeze(0), 0.2)
        p = e.masked_fill(edges.unsqueeze(-1) == 0, -1e9).softmax(1)
        y: torch.Tensor = self.out(F.elu(torch.einsum("ijh,jho->iho", p, h).flatten(1) + self.bias))
        return y


def orders(found: Symmetries) -> dict[frozenset[str], list[int]]:
    """Sizes of the permutations, by what they move; all of them exact."""
    out: dict[frozenset[str], list[int]] = {}
    for s in found.where(group="permutation"):
        done = s.verify()
        assert done.verdict is Verdict.HOLDS and done.error < 1e-9 and s.proof.holds, (s.name, str(done))
        out.setdefault(frozenset(s.parameters), []).append(s.shape[0])
    return {names: sorted(sizes) for names, sizes in out.items()}


def test_hidden_units_between_splines_have_any_order() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(nn.Sequential(Splines(3, 4), Splines(4, 2)), args=(torch.randn(5, 3),))
    assert orders(found) == {frozenset({"0.coef", "0.base", "1.coef", "1.base"}): [4]}


def test_units_with_grids_of_their_own_have_none() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(nn.Sequential(Splines(3, 4), Splines(4, 2, shared=False)), args=(torch.randn(5, 3),))
    assert not orders(found)


@pytest.mark.parametrize("divides", [False, True])
def test_features_and_heads_of_linear_attention_have_any_order(divides: bool) -> None:
    torch.manual_seed(0)
    found = orders(lw.symmetries(Linear(divides), args=(torch.randn(2, 5, 4),)))
    inside = frozenset(f"{n}.{what}" for n in "qk" for what in ("weight", "bias"))
    values = frozenset({"v.weight", "v.bias", "o.weight"})
    assert found[inside] == [3, 3]  # of every head
    assert found[inside | values] == [2]  # the heads
    assert found.get(values, [4, 4] if not divides else []) == [4, 4]  # without a denominator any matrix passes


def test_heads_of_graph_attention_and_features_of_every_head_have_any_order() -> None:
    torch.manual_seed(0)
    edges = (torch.rand(5, 5) > 0.5).float() + torch.eye(5)
    found = orders(lw.symmetries(GraphAttention(), args=(torch.randn(5, 4), edges)))
    assert found == {frozenset({"w.weight", "source", "target", "bias", "out.weight"}): [2, 3, 3]}
