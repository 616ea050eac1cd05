"""What models of other people do that no graph shows for every input: derived, with notes, and never falsely."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lawful as lw

X = torch.randn(5, 3)
TOKENS = torch.randn(4, 6, 3)


class Units(nn.Module):
    """Two maps with four units of ReLU between them, used in a way of its own.

    Args:
        body: the forward.
        **parts: what it needs beside the two maps.
    """

    def __init__(self, body: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        for name, part in parts.items():
            setattr(self, name, part)
        self.body = body

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


def branch(m: Units, x: torch.Tensor) -> torch.Tensor:
    h = m.a(x).relu()
    return m.b(h * 2 if h.mean() > 1e9 else h)


def loop(m: Units, x: torch.Tensor) -> torch.Tensor:
    h = m.a(x).relu()
    for _ in range(3):
        if h.norm() < 1:
            break
        h = h * 0.5
    return m.b(h)


def length(m: Units, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return m.b(m.a(x).relu()[:, : int(lengths.max())].mean(1))


def read_out(m: Units, x: torch.Tensor) -> torch.Tensor:
    h = m.a(x)
    return m.b((h / (h.abs().max().item() + 1)).relu())


def checked(m: Units, x: torch.Tensor) -> torch.Tensor:
    assert not torch.isnan(x).any()
    return m.b(m.a(x).relu())


def by_numpy(m: Units, x: torch.Tensor) -> torch.Tensor:
    return m.b(m.a(x).relu() * float(abs(x.detach().numpy()).max() + 1))


def edges(m: Units, x: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """A graph convolution whose edges from a node to itself are taken out and put in."""
    n = x.shape[0]
    pairs = torch.cat([pairs[:, pairs[0] != pairs[1]], torch.arange(n).repeat(2, 1)], 1)
    degree = torch.zeros(n).scatter_add_(0, pairs[1], torch.ones(pairs.shape[1])).pow(-0.5)
    weight = (degree[pairs[0]] * degree[pairs[1]])[:, None]
    h = m.a(x)
    h = torch.zeros_like(h).index_add_(0, pairs[1], h[pairs[0]] * weight).relu()
    return m.b(torch.zeros_like(h).index_add_(0, pairs[1], h[pairs[0]] * weight))


PAIRS = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 0]])
RECORDED = [
    (branch, (X,)),
    (loop, (X,)),
    (length, (TOKENS, torch.tensor([3, 4, 2, 4]))),
    (read_out, (X,)),
    (checked, (X,)),
    (by_numpy, (X,)),
    (edges, (X, PAIRS)),
]


@pytest.mark.parametrize(("body", "args"), RECORDED, ids=lambda b: getattr(b, "__name__", ""))
def test_a_run_that_no_graph_shows_is_recorded(body: Callable[..., Any], args: tuple[torch.Tensor, ...]) -> None:
    module = Units(body)
    laws = lw.derive(module, args=args)
    assert laws.count == 4 and any("laws are those of the run on the example" in note for note in laws.notes)
    assert lw.verify(module, laws, args=args).verdict is lw.Verdict.HOLDS


class Heaviside(torch.autograd.Function):
    """A spike, whose gradient is that of something smooth."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient / (1 + x * x)


class Membrane(nn.Module):
    """A neuron that keeps its potential for the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.potential: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.potential = x if self.potential is None else 0.9 * self.potential + x
        spike = Heaviside.apply(self.potential - 1)
        self.potential = self.potential - spike.detach()
        return spike


def test_a_backward_of_its_own_is_taken_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(3, 4), Spiking(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    laws = lw.derive(module, args=(X,))
    assert laws.count == 4 and any("backwards that are written by hand" in note for note in laws.notes)
    assert lw.verify(module, laws, args=(X,)).verdict in (lw.Verdict.HOLDS, lw.Verdict.VACUOUS)  # all may be silent


class Spiking(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Heaviside.apply(x)


def test_a_state_that_is_kept_is_said() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), Membrane(), nn.Linear(4, 2))
    laws = lw.derive(module, args=(X,))
    assert module[3].potential is None
    assert laws.count == 4 and any("from the state that was handed over" in note for note in laws.notes)
    assert lw.verify(module, laws, args=(X,)).verdict in (lw.Verdict.HOLDS, lw.Verdict.VACUOUS)


def shuffled(m: Units, x: torch.Tensor) -> torch.Tensor:
    return m.b(m.a(x).relu().view(-1, 2, 2).transpose(1, 2).flatten(1))


def so_far(m: Units, x: torch.Tensor) -> torch.Tensor:
    return m.b(m.a(x).relu().cumsum(1))


def masked_mean(m: Units, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    h = m.a(x).relu() * mask.unsqueeze(-1)
    return m.b(h.sum(1) / mask.sum(1, keepdim=True).clamp(min=1))


def policy(m: Units, x: torch.Tensor) -> torch.Tensor:
    spread = m.spread(x).exp()
    return m.b(m.a(x).relu()) + torch.distributions.Normal(torch.zeros_like(spread), spread).rsample()


MASK = torch.tensor([[1.0] * n + [0.0] * (6 - n) for n in (6, 3, 2, 5)])


@pytest.mark.parametrize(
    ("body", "args"),
    [(shuffled, (X,)), (so_far, (TOKENS,)), (masked_mean, (TOKENS, MASK)), (policy, (X,))],
    ids=lambda b: getattr(b, "__name__", ""),
)
def test_common_operations_let_every_unit_through(body: Callable[..., Any], args: tuple[torch.Tensor, ...]) -> None:
    module = Units(body, spread=nn.Linear(3, 2)) if body is policy else Units(body)
    laws = lw.derive(module, args=args)
    assert laws.count == 4
    assert lw.verify(module, laws, args=args).verdict is lw.Verdict.HOLDS


class Spectral(nn.Module):
    """A layer of a Fourier neural operator: complex weights for the lowest frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(1, 4), nn.Linear(4, 1)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, dtype=torch.cfloat) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.into(x).transpose(1, 2)
        spectrum = torch.fft.rfft(h)
        low = torch.zeros(h.shape[0], 4, spectrum.shape[-1], dtype=torch.cfloat)
        low[:, :, :3] = torch.einsum("bix,iox->box", spectrum[:, :, :3], self.weight)
        return self.out(torch.fft.irfft(low, n=h.shape[-1]).transpose(1, 2).tanh())


def test_complex_weights_are_pairs_of_real_ones() -> None:
    module, x = Spectral(), torch.randn(2, 8, 1)
    laws = lw.derive(module, args=(x,))
    assert module.weight.is_complex() and type(module) is Spectral
    assert not len(laws) or lw.verify(module, laws, args=(x,)).verdict is lw.Verdict.HOLDS


def physics(m: Units, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    u = m.b(m.a(x).tanh())
    return u, torch.autograd.grad(u.sum(), x, create_graph=True)[0]


def test_derivatives_in_the_forward_are_recorded() -> None:
    laws = lw.derive(Units(physics), args=(X,))
    assert any("laws are those of the run on the example" in note for note in laws.notes)


@dataclasses.dataclass
class Batch:
    """What a loader gives."""

    nodes: torch.Tensor
    scale: torch.Tensor
    steps: int = 2


def test_objects_that_hold_tensors_are_inputs() -> None:
    module = Units(lambda m, batch: m.b(m.a(batch.nodes).relu() * batch.scale[:, None]))
    batch = Batch(X, torch.ones(5))
    laws = lw.derive(module, args=(batch,))
    assert laws.count == 4 and lw.count(module, args=(batch,)).laws == 4
    assert lw.verify(module, laws, args=(batch,)).verdict is lw.Verdict.HOLDS and batch.nodes is X


class Fields(nn.Module):
    """Columns of categories, each with a table of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, 2) for n in (3, 7)])
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(torch.cat([t(x[:, i]) for i, t in enumerate(self.tables)], 1)).relu())


def test_columns_of_other_ranges_are_drawn_within_them() -> None:
    module, x = Fields(), torch.stack([torch.arange(6) % 3, torch.arange(6) % 7], 1)
    laws = lw.derive(module, args=(x,))
    assert not any("not compared" in note for note in laws.notes)
    assert lw.verify(module, laws, args=(x,)).verdict is lw.Verdict.HOLDS


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_recorded() -> None:
    module = torch.jit.trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), X)
    laws = lw.derive(module, args=(X,))
    assert laws.count == 4
