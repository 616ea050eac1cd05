"""Entries that are written at fixed numbers, picked, and broadcast, as models of other packages do it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from whole import laws_of_whole

import lawful as lw


class Coupled(nn.Module):
    """A coupling layer of a flow: every second feature is moved by what the others say."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(4, 4), nn.Linear(4, 2)
        self.net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 2))
        self.register_buffer("still", torch.tensor([0, 2]))
        self.register_buffer("moved", torch.tensor([1, 3]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x).tanh()
        u, v = x[:, self.still], x[:, self.moved]
        y = torch.empty_like(x)
        y[:, self.still] = u
        y[:, self.moved] = v + self.net(u)
        return self.o(y)


class Rows(Coupled):
    """Positions that are written, the others stay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x).relu()
        y = h.clone()
        y[:, self.moved] = h[:, self.moved] * 2
        return self.o(y)


class Guarded(Coupled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(torch.nan_to_num(self.a(x).relu()))


class Broadcast(Coupled):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = torch.broadcast_tensors(self.a(x)[:, :, None], self.a(x)[:, None])
        return self.o((a + b.relu()).tanh())


@pytest.mark.parametrize(
    ("module", "shape", "count"),
    [(Coupled(), (6, 4), 5), (Rows(), (5, 4, 4), 4), (Guarded(), (6, 4), 4), (Broadcast(), (5, 3, 4), 0)],
    ids=lambda v: type(v).__name__,
)
def test_entries_that_are_written_keep_the_laws_of_their_features(
    module: nn.Module, shape: tuple[int, ...], count: int
) -> None:
    x = torch.randn(shape)
    laws = laws_of_whole(module, x)
    assert sum(law.count for law in laws if law.kind != "frozen") == count
    assert str(lw.verify(module, laws, args=(x,)).verdict) in ("holds", "vacuous")


class Added(Coupled):
    """Entries that are added up are no choice of one of them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        return self.o(h.index_put((torch.arange(len(x))[:, None], self.moved), h[:, self.still], accumulate=True))


def test_entries_that_are_added_are_compared_with_the_module() -> None:
    x = torch.randn(6, 4)
    laws = lw.derive(module := Added(), args=(x,))
    assert str(lw.verify(module, laws, args=(x,)).verdict) != "violated"
