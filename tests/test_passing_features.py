"""Hidden units that blocks pass on one by one: modulated, mixed by a graph's attention, behind normalised filters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.verdict import Verdict


class Modulated(nn.Module):
    """FiLM: a gain `1 + g` and a shift that another network writes side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
        self.make = nn.Linear(5, 8)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        g, b = self.make(c).chunk(2, 1)
        y: torch.Tensor = self.out(F.relu(self.conv(x) * (1 + g[..., None, None]) + b[..., None, None]))
        return y


class GraphAttention(nn.Module):
    """A layer of GAT by hand, whose mask is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.a, self.b = nn.Linear(4, 6, bias=False), nn.Linear(6, 1, bias=False), nn.Linear(6, 1, bias=False)
        self.out = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        h = self.w(x)
        e = F.leaky_relu(self.a(h) + self.b(h).T, 0.2).masked_fill(edges == 0, -1e9)
        y: torch.Tensor = self.out(F.elu(e.softmax(1) @ h))
        return y


class Directed(nn.Module):
    """Causal convolutions with weight normalisation."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first, self.second = norm(nn.Conv1d(3, 6, 3, padding=2)), norm(nn.Conv1d(6, 5, 3, padding=2))
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.second(F.relu(self.first(x)[:, :, :-2]))[:, :, :-2])
        y: torch.Tensor = self.head(h[:, :, -1])
        return y


def permuted(found: Symmetries) -> set[tuple[str, int]]:
    return {(m.parameter, s.shape[0]) for s in found.where(group="permutation") for m in s.moves}


def holds(found: Symmetries) -> bool:
    return all(s.verify().verdict is Verdict.HOLDS and s.proof.holds for s in found)


def test_a_gain_that_another_network_writes_is_permuted_in_both_of_its_parts() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Modulated(), args=(torch.randn(2, 3, 5, 5), torch.randn(2, 5)))
    (order,) = found.where(group="permutation")
    assert holds(found) and order.shape == (4,)
    assert [m.part.slices for m in order.moves if m.parameter == "make.weight"] == [((0, 4),), ((4, 8),)]


def test_hidden_features_of_graph_attention_have_any_order() -> None:
    torch.manual_seed(0)
    edges = (torch.rand(5, 5) > 0.5).float() + torch.eye(5)
    found = lw.symmetries(GraphAttention(), args=(torch.randn(5, 4), edges))
    assert holds(found)
    assert permuted(found) == {(f"{n}.weight", 6) for n in ("w", "a", "b", "out")}


@pytest.mark.parametrize("seed", [0, 1])
def test_filters_of_a_given_length_move_with_their_channels(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = Directed(), torch.randn(2, 3, 8)
    found = lw.symmetries(model, args=(x,))
    lengths = {f"{n}.parametrizations.weight.original1" for n in ("first", "second")}
    assert holds(found) and not [n for n in found.notes if "degrees" in n]
    assert {(n, size) for n in lengths for size in ((6, 5) if n.startswith("s") else (6,))} <= permuted(found)
    assert lengths <= {p for s in found.where(group="positive diagonal") for p in s.parameters}
    assert lw.check(model, args=(x,)).lawful


class Pieces(nn.Module):
    """Maxout units, then all of a map's features in one sum and one largest."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 12), nn.Linear(6, 4), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.b(self.a(x).view(-1, 6, 2).amax(-1)).sin()
        y: torch.Tensor = self.c(torch.stack([h.sum(-1), h.amax(-1)], -1))
        return y


def test_what_is_taken_as_the_largest_or_added_up_has_any_order() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Pieces(), args=(torch.randn(3, 5),))
    assert holds(found) and not [n for n in found.notes if "no symmetry" in n]
    assert {("a.weight", 6), ("a.weight", 2), ("b.weight", 6), ("b.weight", 4)} <= permuted(found)


class Products(nn.Module):
    """A product of two vectors for every feature."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pair, self.out = nn.Linear(5, 4), nn.Linear(5, 3), nn.Bilinear(4, 3, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.pair(self.a(x).sin(), self.b(x).sin()).sin())
        return y


def test_every_axis_of_a_bilinear_map_has_an_order() -> None:
    torch.manual_seed(0)
    found = lw.symmetries(Products(), args=(torch.randn(3, 5),))
    assert holds(found)
    assert {("pair.weight", n) for n in (4, 3, 6)} <= permuted(found)


def test_an_order_that_is_not_followed_is_named() -> None:
    found = lw.symmetries(lw.families.mamba(layers=1, width=4, vocabulary=5, context=6))
    assert [n for n in found.notes if "orders of features are not followed through" in n]
