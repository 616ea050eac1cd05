"""Writing into a part of a tensor is no fault: correct modules that an adversary saw accused."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lawful.testing import assert_lawful

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
