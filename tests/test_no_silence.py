"""What holds for the numbers at hand only, and what no finite element keeps: named, or no symmetry."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_lawful

ROWS = torch.randn(6, 3)


class Between(nn.Module):
    """Two maps with something between."""

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.run = nn.Linear(3, 4), nn.Linear(4, 2), run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.run(self.a(x)))


def test_zeros_among_frozen_numbers_are_named() -> None:
    """Found by an adversary: 4 laws with a frozen bias of zeros, and `complete` with 0."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].bias.requires_grad_(False)
    assert not lw.derive(model, args=ROWS).gaps
    model[0].bias.data.zero_()
    assert any("0.bias" in gap and "frozen" in gap for gap in lw.derive(model, args=ROWS).gaps)


def test_running_means_of_zeros_are_named() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    assert any("2.running_mean" in gap for gap in lw.derive(model, args=ROWS).gaps)
    model[2].running_mean.normal_()
    assert not lw.derive(model, args=ROWS).gaps


@pytest.mark.parametrize(
    "cell", [nn.GRUCell(3, 4), nn.LSTMCell(3, 4), nn.RNNCell(3, 4)], ids=lambda c: type(c).__name__
)
def test_one_step_from_zeros_is_named(cell: nn.Module) -> None:
    assert any("one step from zeros" in gap for gap in lw.derive(cell, args=ROWS).gaps)


class Stepped(nn.Module):
    """A cell in a loop, whose first step alone is one from zeros."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for _ in range(2):
            state = self.cell(x, state)
        out: torch.Tensor = state[0] if isinstance(state, tuple) else state
        return out


@pytest.mark.parametrize(
    "cell", [nn.GRUCell(3, 4), nn.LSTMCell(3, 4), nn.RNNCell(3, 4)], ids=lambda c: type(c).__name__
)
def test_a_cell_in_a_loop_is_no_step_from_zeros(cell: nn.Module) -> None:
    assert not any("one step" in gap for gap in lw.derive(Stepped(cell), args=ROWS).gaps)


def scattered(h: torch.Tensor) -> torch.Tensor:
    """The largest two, in their places."""
    values, index = torch.topk(h, 2, -1)
    return torch.zeros_like(h).scatter(-1, index, values)


def test_the_largest_in_their_places_are_named() -> None:
    model = Between(scattered)
    laws = lw.derive(lw.trace(model, ROWS))
    assert laws.gaps and laws.exact_independent <= lw.count(model, args=ROWS).laws


GATES = {
    "a threshold": lambda h: h * (h > 0.1),
    "winners": lambda h: h * (h >= torch.topk(h, 2)[0][..., -1:]),
    "a gate of the norm": lambda h: torch.relu(h) * (h.norm(dim=-1, keepdim=True) > 1),
    "one of the largest": lambda h: h * nn.functional.one_hot(h.abs().argmax(-1), 4),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("seed", range(3))
def test_gates_that_compare_are_not_moved(gate: str, seed: int) -> None:
    """Found by an adversary: `balance` changed the outputs of k-winners by 30 % in 2 of 6 seeds."""
    torch.manual_seed(seed)
    model = Between(GATES[gate]).double()
    x = torch.randn(64, 3, dtype=torch.float64)
    moved = lw.balance(model, args=x[:5])
    torch.testing.assert_close(moved(x), model(x), rtol=1e-9, atol=1e-9)


class Renormed(nn.Module):
    """A table that `max_norm` changes in the forward, with a gradient that may be `size` times the right one."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.last, self.size = nn.Embedding(5, 3, max_norm=0.3), nn.Linear(3, 2), size

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.table(ids)
        if self.size != 1:
            h.register_hook(lambda grad: self.size * grad)
        return self.last(h)


def test_an_embedding_that_renormalises_is_judged_at_the_numbers_it_makes() -> None:
    model, ids = Renormed(1), torch.tensor([0, 3, 3, 1])
    before = model.table.weight.detach().clone()
    found = assert_lawful(model, args=ids, loss="mse")
    assert found.verdict.passed and any("embedding_renorm_" in note for note in found.notes)
    torch.testing.assert_close(model.table.weight.detach(), before, rtol=0, atol=0)
    with pytest.raises(AssertionError, match=r"table\.weight"):
        assert_lawful(Renormed(1.5), args=ids, loss="mse")


class Looked(nn.Module):
    """Rows of a table through a softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(4, width), nn.Linear(width, 3, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.last(self.table(ids).softmax(-1)[:, 0])


@pytest.mark.parametrize("width", [2, 3])
def test_a_softmax_of_two_entries_of_a_table_is_a_sigmoid_of_one(width: int) -> None:
    """Found by drawn layers: 4 laws of 5, without a note."""
    args = (torch.tensor([[0, 1], [1, 0], [2, 3], [3, 2]]),)
    laws = lw.derive(lw.trace(Looked(width), *args))
    missing = lw.count(Looked(width), args=args).laws - laws.exact_independent
    assert (missing, bool(laws.gaps)) == ((1, True) if width == 2 else (0, False))
