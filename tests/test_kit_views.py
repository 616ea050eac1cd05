"""Correct modules that an adversary saw accused: parts of tensors written, float32 inside of float64."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_lawful, assert_same_step, assert_step_lawful, assert_symmetric

WRITES: dict[str, Callable[[torch.Tensor], object]] = {
    "zero_ of a column": lambda h: h[:, 1].zero_(),
    "zero_ of some columns": lambda h: h[:, 1:3].zero_(),
    "zero_ of a row": lambda h: h[0].zero_(),
    "zero_ behind a transpose": lambda h: h.t()[1].zero_(),
    "zero_ by narrow": lambda h: h.narrow(1, 0, 2).zero_(),
    "fill_": lambda h: h[:, 1].fill_(2.0),
    "random numbers": lambda h: h[:, 1].uniform_(),
}


class Written(nn.Module):
    def __init__(self, write: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.a, self.b, self.write = nn.Linear(3, 4), nn.Linear(4, 2), write

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        self.write(h)
        out: torch.Tensor = self.b(h)
        return out


@pytest.mark.parametrize("name", WRITES)
def test_a_part_that_is_written_accuses_nobody(name: str) -> None:
    torch.manual_seed(0)
    assert_lawful(Written(WRITES[name]), (torch.randn(6, 3),), "mse")


class Single(nn.Module):
    """A forward that casts to float32 inside."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.b((self.a(x).float() * 1.5).to(x.dtype).relu())
        return out


def test_float32_inside_of_float64_is_rounding_and_no_fault() -> None:
    torch.manual_seed(0)
    model = Single().double()
    x, y = torch.randn(16, 3, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    laws = lw.derive(model, args=(x,))

    def step(pieces: int) -> None:
        for one, target in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
            (model(one) - target).square().sum().backward()

    step(1)
    with pytest.raises(AssertionError, match="rounding in float32 inside"):
        assert_step_lawful(model, laws)  # nothing could be decided, and that is said
    assert_same_step(model, lambda: step(1), lambda: step(16))
    model.a.weight.grad *= 1 + 1e-5
    with pytest.raises(AssertionError, match="law broken: balance of a"):
        assert_step_lawful(model, laws)


class Tripled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.q = nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(x)
        return self.a(x) + torch.cat([q, q, q], -1)


def test_symmetries_that_are_derived_are_symmetries() -> None:
    """A shift of all parameters has nothing beside it that a wrong element could move."""
    torch.manual_seed(0)
    model, x = Tripled(), torch.randn(5, 3)
    for s in lw.symmetries(model, args=(x,)):
        assert_symmetric(model, s, (x,))
