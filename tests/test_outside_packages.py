"""What models of other packages compute in ways that no list of ours had, with the number of laws that hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lawful as lw


class Crossed(nn.Module):
    """Two layers of a cross network of low rank, with their parameters in stacks of two."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.randn(2, 5, 2)), nn.Parameter(torch.randn(2, 2, 5))
        self.b, self.o = nn.Parameter(torch.randn(2, 5)), nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x
        for i in range(2):
            x = first * (x @ self.u[i] @ self.v[i] + self.b[i]) + x
        return self.o(x)


class Hidden(nn.Module):
    """Tokens that a mask of the inputs takes out, and others that it takes from another map."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = (nn.Linear(n, m, bias=False) for n, m in ((3, 4), (2, 4), (4, 2)))

    def forward(self, x: torch.Tensor, y: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        h = torch.where(m[:, None] > 0, self.a(x), self.b(y))
        return self.o(h.masked_fill((m > 1)[:, None], 0.0)) * (m > -1).unsqueeze(-1).type_as(h)


class Gated(nn.Module):
    """Messages of a graph that a recurrent cell takes in, node by node."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.c, self.o = nn.Linear(3, 3, bias=False), nn.GRUCell(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = self.c(torch.zeros_like(x).index_add(0, edges[1], self.w(x)[edges[0]]), x)
        return self.o(x)


class Members(nn.Module):
    """An ensemble whose members have matrices of their own in one tensor, as they are trained in model-based RL."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(3, 2, 4)), nn.Parameter(torch.randn(3, 1, 4))
        self.v, self.c = nn.Parameter(torch.randn(3, 4, 1)), nn.Parameter(torch.randn(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(torch.baddbmm(self.b, x.unsqueeze(0).expand(3, -1, -1), self.w))
        return torch.baddbmm(self.c, h, self.v).squeeze(-1).t()


class Columns(nn.Module):
    """Every column of a table by sines and a matrix of its own, before a network reads them all."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.w = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 4, 2))
        self.b, self.o = nn.Parameter(torch.randn(3, 2)), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = self.f * x[..., None]
        h = (torch.cat([v.cos(), v.sin()], -1)[..., None, :] @ self.w).squeeze(-2) + self.b
        return self.o(nn.functional.leaky_relu(h).flatten(1))


class Remembering(nn.Module):
    """Attention with learned keys and values beside those of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(4, 12, bias=False), nn.Linear(4, 4, bias=False)
        self.m = nn.Parameter(torch.randn(2, 2, 3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        k, v = (torch.cat([m.expand(len(x), -1, -1, -1), t], -2) for m, t in zip(self.m, (k, v), strict=True))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).flatten(2))


EDGES = torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 2, 4]])
CASES = [(Crossed, ((4, 5),), 11), (Hidden, ((9, 3), (9, 2), (9,)), 10), (Gated, ((5, 3), EDGES), 12)]
CASES += [(Members, ((9, 2),), 12), (Columns, ((9, 3),), 6), (Remembering, ((4, 3, 4),), 12)]


@pytest.mark.parametrize(("maker", "given", "count"), CASES, ids=[c[0].__name__ for c in CASES])
def test_all_laws_are_found(
    maker: type[nn.Module], given: tuple[tuple[int, ...] | torch.Tensor, ...], count: int
) -> None:
    torch.manual_seed(0)
    module, args = maker(), tuple(g if isinstance(g, torch.Tensor) else torch.randn(*g) for g in given)
    laws = lw.derive(module, args=args)
    assert laws.independent == count, [str(n) for n in laws.notes]
    assert not any("bug" in n or "fault" in n or "opaque" in n or "degrees" in n for n in laws.notes), laws.notes
    assert lw.verify(module, laws, args=args).verdict.name == "HOLDS"


def test_cells_of_single_tokens_say_what_never_moves() -> None:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.LSTMCell(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(x.reshape(-1, 3))[0].view(len(x), -1, 2)

    laws = lw.derive(Cells(), args=(torch.randn(2, 5, 3),))
    assert any("one step from zeros" in n for n in laws.notes)
