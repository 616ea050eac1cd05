"""Numbers that a module keeps outside of its tensors, rounded once: a difference of their size is no fault."""

import functools

import torch
from torch import nn

import lawful as lw


def made(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32) / 3


kept = functools.lru_cache(made)


def places(n: int) -> torch.Tensor:
    """From the cache, which a compiler does not see."""
    return made(n) if torch.compiler.is_compiling() else kept(n)


class Cached(nn.Module):
    """Positions that are computed at the first call, in float32, and are the same for ever (DINOv3)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.beside = nn.Linear(3, 4), nn.Linear(4, 2, False), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = self.b(self.a(x).relu() * (5 * places(x.shape[1])).cos()[:, None])
        return 1e4 * self.beside(x) + small  # so that the outputs agree and the gradients of the small part do not


def test_positions_of_a_cache_are_no_fault() -> None:
    net, x = Cached(), torch.randn(2, 5, 3)
    net(x)
    arch = lw.trace(net, x)
    assert not arch.trace.opaque
    laws = lw.derive(net, args=(x,))
    assert laws.exact_independent == 4
    assert laws.verify(net, args=(x,)).verdict is lw.Verdict.HOLDS
