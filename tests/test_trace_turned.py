"""Maps over positions, as people write them: laws of a transposed stream, with counts that the oracle found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw

X = torch.randn(2, 3, 4)  # 3 positions with 4 features


def linear(n: int, m: int, bias: bool = False) -> nn.Linear:
    return nn.Linear(n, m, bias)


class Forward(nn.Module):
    """A forward over some submodules; tensors are parameters."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, torch.Tensor) else part)
        self.run = forward

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.run(self, *inputs)


def tokens(activation: Callable[..., Any], bias: bool = False) -> nn.Module:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.c(m.v(activation(m.u(m.a(x).transpose(1, 2)))).transpose(1, 2))

    return Forward(run, a=linear(4, 3), u=linear(3, 2, bias), v=linear(2, 3, bias), c=linear(3, 2))


def by_matrices() -> nn.Module:
    return Forward(
        lambda m, x: m.c(m.v @ torch.relu(m.u @ m.a(x))),
        a=linear(4, 3),
        u=torch.randn(2, 3),
        v=torch.randn(3, 2),
        c=linear(3, 2),
    )


def by_einsum() -> nn.Module:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(torch.einsum("ut,btd->bud", m.u, m.a(x)))
        return m.c(torch.einsum("tu,bud->btd", m.v, hidden))

    return Forward(run, a=linear(4, 3), u=torch.randn(2, 3), v=torch.randn(3, 2), c=linear(3, 2))


def spatial_gate() -> nn.Module:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        u, v = F.gelu(m.a(x)).chunk(2, -1)
        return m.o(u * m.p(m.n(v).transpose(1, 2)).transpose(1, 2))

    return Forward(run, a=linear(4, 6, True), n=nn.LayerNorm(3), p=linear(3, 3, True), o=linear(3, 2, True))


def linformer() -> nn.Module:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        k, v = torch.einsum("bnd,nk->bkd", m.k(x), m.e), torch.einsum("bnd,nk->bkd", m.v(x), m.f)
        return m.o((m.q(x) @ k.transpose(1, 2) / 1.7).softmax(-1) @ v)

    maps = {n: linear(4, 3) for n in "qkv"}
    return Forward(run, **maps, o=linear(3, 2), e=torch.randn(3, 2), f=torch.randn(3, 2))


def channels() -> nn.Module:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        weights = (m.q(x).transpose(1, 2) @ m.k(x)).softmax(-1)
        return m.o((weights @ m.v(x).transpose(1, 2)).transpose(1, 2))

    return Forward(run, **{n: linear(4, 3) for n in "qkv"}, o=linear(3, 2, True))


# The numbers are counts of the oracle.
CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "token MLP, ReLU": (lambda: tokens(torch.relu), 6),
    "token MLP, ReLU, biases": (lambda: tokens(torch.relu, True), 4),
    "token MLP, GELU": (lambda: tokens(F.gelu), 2),
    "token MLP, GELU, biases": (lambda: tokens(F.gelu, True), 2),
    "W @ x": (by_matrices, 6),
    "einsum": (by_einsum, 6),
    "one map": (
        lambda: Forward(
            lambda m, x: m.c(m.u(m.a(x).transpose(1, 2)).transpose(1, 2)),
            a=linear(4, 3),
            u=linear(3, 2),
            c=linear(3, 2),
        ),
        7,
    ),
    "tokens as channels": (
        lambda: Forward(
            lambda m, x: m.c(m.p(m.a(x))), a=linear(4, 3), p=nn.Conv1d(3, 2, 1, bias=False), c=linear(3, 2)
        ),
        7,
    ),
    "gMLP": (spatial_gate, 2),
    "linformer": (linformer, 17),
    "attention between channels": (channels, 6),
}


@pytest.mark.parametrize("name", CASES)
def test_maps_over_positions_have_all_their_laws(name: str) -> None:
    torch.manual_seed(0)
    make, count = CASES[name]
    module = make()
    laws = lw.derive(module, args=(X,))
    assert (laws.exact_independent, laws.notes) == (count, ())
    assert lw.verify(module, laws, args=(X,)).verdict is lw.Verdict.HOLDS


@pytest.mark.parametrize("name", ["token MLP, ReLU", "attention between channels"])
def test_the_oracle_counts_as_many(name: str) -> None:
    torch.manual_seed(0)
    make, count = CASES[name]
    assert lw.count(make(), args=(X,)).laws == count


def test_a_biased_linear_chain_over_positions_keeps_matrices_that_keep_ones() -> None:
    chain = Forward(
        lambda m, x: m.c(m.u(m.a(x).transpose(1, 2)).transpose(1, 2)),
        a=linear(4, 3),
        u=linear(3, 2, True),
        c=linear(3, 2),
    )
    laws = lw.derive(chain, args=(X,))
    assert (laws.exact_independent, laws.notes) == (5, ())
    assert lw.count(chain, args=(X,)).laws == 5


A = torch.rand(3, 3)
EDGES = torch.tensor([[0, 1, 2, 0, 2], [1, 2, 0, 0, 1]])


@pytest.mark.parametrize("given", [False, True])
def test_a_product_with_an_adjacency_passes_every_channel(given: bool) -> None:
    torch.manual_seed(0)
    module = Forward(lambda m, x, a=A: m.c(a @ torch.relu(a @ m.a(x))), a=linear(4, 3, True), c=linear(3, 2))
    args = (X, torch.rand(2, 3, 3)) if given else (X,)
    laws = lw.derive(module, args=args)
    assert (laws.exact_independent, laws.notes) == (3, ())


def messages(how: str) -> nn.Module:
    def run(m: Any, x: torch.Tensor, edges: torch.Tensor = EDGES) -> torch.Tensor:
        h = m.a(x)
        sent = m.b(torch.relu(h[edges[0]]))
        if how == "index_add":
            got = torch.zeros_like(h).index_add(0, edges[1], sent)
        elif how == "scatter_add":
            got = torch.zeros_like(h).scatter_add(0, edges[1][:, None].expand(-1, 4), sent)
        else:
            place = edges[1][:, None].expand(-1, 4)
            got = torch.zeros_like(h).scatter_reduce(0, place, sent, "mean", include_self=False)
        return m.c(torch.relu(got + h))

    return Forward(run, a=linear(4, 4, True), b=linear(4, 4, True), c=linear(4, 2, True))


@pytest.mark.parametrize(
    ("how", "given"), [("index_add", False), ("scatter_add", False), ("mean", False), ("index_add", True)]
)
def test_messages_of_a_graph_without_a_batch(how: str, given: bool) -> None:
    torch.manual_seed(0)
    module, nodes = messages(how), torch.randn(3, 4)
    args = (nodes, EDGES) if given else (nodes,)
    laws = lw.derive(module, args=args)
    assert (laws.exact_independent, laws.notes) == (4, ())
    assert lw.verify(module, laws, args=args).verdict is lw.Verdict.HOLDS


class Padded(nn.Module):
    """Positions that are padded while they stand behind the features."""

    def __init__(self, grid: tuple[int, ...], around: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.grid, self.around = grid, around

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu().transpose(1, 2).unflatten(2, self.grid)
        y = nn.functional.pad(y, self.around).flatten(2)
        return self.last(y.transpose(1, 2).square())


@pytest.mark.parametrize(("grid", "around"), [((4,), (1, 0)), ((2, 2), (0, 1, 1, 0))])
def test_positions_behind_the_features_are_padded(grid: tuple[int, ...], around: tuple[int, ...]) -> None:
    module, x = Padded(grid, around), torch.randn(2, 4, 3)
    arch = lw.trace(module, x)
    laws = lw.derive(arch)
    assert not arch.trace.opaque and not arch.trace.narrow
    assert laws.independent == lw.count(module, args=(x,)).laws == 4
    assert laws.verify(module, args=(x,)).verdict is lw.Verdict.HOLDS
