"""Activations behind words, and behind numbers that take few values: what one point has is a matter of parameters."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lawful as lw

WORDS = torch.tensor([[0, 1, 4], [2, 3, 0]])


class Of(nn.Module):
    """A table, a function of what it holds, a linear map."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int, read: int) -> None:
        super().__init__()
        self.e, self.o, self.function = nn.Embedding(5, width), nn.Linear(read, 2), function

    def forward(self, i: Tensor) -> Tensor:
        return self.o(self.function(self.e(i)))


class Signs(nn.Module):
    """A perceptron that sees signs of its input only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(torch.sign(x))))


class OneHot(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 3, bias=False), nn.Linear(3, 2)

    def forward(self, i: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(nn.functional.one_hot(i, 5).to(self.a.weight.dtype))))


class Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p, self.o = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(x + torch.relu(self.p))


class Largest(nn.Module):
    """The place of the largest number picks a row."""

    def __init__(self) -> None:
        super().__init__()
        self.t, self.o = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.t[x.argmax(-1)].abs())


def embedded(act: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4, bias=False), act, nn.Linear(4, 2, bias=False))


# what no point has: its count is larger at every point, as brackets of plain second derivatives show
OPEN = {
    "relu of a table": (lambda: nn.Sequential(nn.Embedding(5, 3), nn.ReLU(), nn.Linear(3, 2)), WORDS),
    "abs of a table": (lambda: Of(torch.abs, 3, 3), WORDS),
    "max over pairs of a table": (lambda: Of(lambda z: z.unflatten(-1, (2, 2)).amax(-1), 4, 2), WORDS),
    "one-hot": (OneHot, WORDS),
    "relu of a large table": (lambda: nn.Sequential(nn.Embedding(40, 12), nn.ReLU(), nn.Linear(12, 2)), WORDS),
    "sign of one number": (lambda: Signs(1), torch.randn(5, 1)),
    "relu of positions": (Position, torch.randn(2, 3, 4)),
}
DECIDED = {
    "leaky relu of a table": (lambda: nn.Sequential(nn.Embedding(5, 3), nn.LeakyReLU(0.1), nn.Linear(3, 2)), WORDS),
    "relu behind a map of a table": (lambda: embedded(nn.ReLU()), WORDS),
    "wider relu behind a map of a table": (
        lambda: nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        torch.tensor([[0, 1, 5], [2, 3, 4]]),
    ),
    "gelu behind a map of a table": (lambda: embedded(nn.GELU()), WORDS),
    "perceptron": (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(4, 3)),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_no_point_has_is_not_complete(name: str) -> None:
    torch.manual_seed(0)
    make, x = OPEN[name]
    module = make()
    laws = lw.derive(module, args=x)
    assert not any("no law of this network is missing" in note for note in laws.notes)
    told = laws.parameters <= 300  # notes of larger networks count nothing
    assert any("is not decided" in note for note in laws.notes) or not told, laws.notes
    assert not lw.check(module, args=x).complete


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DECIDED)
def test_what_some_point_has_is_complete(name: str, seed: int) -> None:
    torch.manual_seed(0)
    make, x = DECIDED[name]
    report = lw.check(make(), args=x, seed=seed)
    assert report.complete and report.verdict == "holds", report.summary
    assert "not decided" not in report.summary


@pytest.mark.parametrize("seed", range(5))
def test_points_with_dead_units_do_not_agree_by_chance(seed: int) -> None:
    torch.manual_seed(0)
    found = lw.count(embedded(nn.ReLU()), args=WORDS, seed=seed)
    assert found.laws == 10 and found.verdict == "holds"
    found = lw.count(Signs(2), args=torch.randn(3, 2), seed=seed)  # 3 at one point of 200, more at the others
    assert found.laws == 3 or found.verdict == "undecided"


class Hashed(nn.Module):
    """More words than a table has rows."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.f, self.o = nn.Embedding(4, 3), nn.Embedding(3, 3), nn.Linear(3, 2)

    def forward(self, i: Tensor) -> Tensor:
        return self.o(self.e((i * 7 + 3) % 4) * self.f(i // 2))


def test_a_row_that_numbers_pick_is_a_word() -> None:
    torch.manual_seed(0)
    module, x = Largest(), torch.randn(6, 3)
    assert lw.count(module, args=x).laws == 10  # of |t| the full balance, at every point
    report = lw.check(module, args=x)
    assert not report.complete and report.count is not None
    assert report.count.laws == 10 or not report.count.verdict.passed


def test_words_are_drawn_as_far_as_the_example_names_them() -> None:
    torch.manual_seed(0)
    for seed in range(2):
        assert lw.count(Hashed(), args=WORDS, seed=seed).laws == 9
    assert any(note.startswith("9 laws are counted") for note in lw.derive(Hashed(), args=WORDS).notes)
