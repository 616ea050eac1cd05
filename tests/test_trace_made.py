"""Fixed numbers that a forward makes itself, in the idioms of repositories: they are no parameters and no example's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lawful as lw

LIST = [0.5, 0.7, 0.9, 1.1]
W = nn.Parameter(torch.full((1,), 0.7))
MADE: dict[str, Callable[[Tensor], Tensor]] = {
    "tensor": lambda h: torch.tensor([0.7], dtype=h.dtype),
    "device": lambda h: torch.tensor(LIST, dtype=h.dtype, device=h.device),
    "number": lambda h: torch.tensor(0.7, dtype=h.dtype),
    "default": lambda h: torch.tensor([0.7], dtype=torch.get_default_dtype()),
    "untyped": lambda h: torch.tensor([0.7]),
    "to": lambda h: torch.tensor(LIST).to(h),
    "as_tensor": lambda h: torch.as_tensor(LIST, dtype=h.dtype),
    "asarray": lambda h: torch.asarray(LIST),
    "numpy": lambda h: torch.from_numpy(np.array(LIST)).to(h.dtype),
    "new_tensor": lambda h: h.new_tensor(LIST),
    "new_full": lambda h: h.new_full((4,), 0.3),
    "full_like": lambda h: torch.full_like(h, 0.3),
    "ones_like": lambda h: torch.ones_like(h) * 0.3,
    "full": lambda h: torch.full((1,), 0.3, dtype=h.dtype),
    "arange": lambda h: torch.arange(1, h.shape[-1] + 1, dtype=h.dtype, device=h.device),
    "of every example": lambda h: torch.arange(1, h.shape[-1] + 1, dtype=h.dtype).expand(len(h), -1),
    "linspace": lambda h: torch.linspace(0.1, 1, h.shape[-1], dtype=h.dtype),
    "root": lambda h: torch.sqrt(torch.tensor(h.shape[-1], dtype=h.dtype)),
}


class Net(nn.Module):
    """A hidden layer of four units that is multiplied by what is made."""

    def __init__(self, made: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.made = nn.Linear(3, 4), nn.Linear(4, 2), made

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.relu(h * self.made(h)))


@pytest.mark.parametrize("made", list(MADE))
def test_numbers_that_a_forward_makes_are_fixed_and_exact(made: str) -> None:
    torch.manual_seed(0)
    laws = lw.derive(Net(MADE[made]), args=torch.randn(5, 3))
    assert laws.count == 4 and not laws.notes


def test_in_narrow_types_they_are_rounded_as_the_module_rounds_them() -> None:
    laws = lw.derive(Net(MADE["device"]).bfloat16(), args=torch.randn(5, 3).bfloat16())
    assert laws.count == 4 and not laws.notes


class Held(nn.Module):
    """A parameter of nobody that holds what the forward makes as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.w = nn.Linear(3, 4), nn.Linear(4, 2), W

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.relu(h * torch.tensor([0.7], dtype=h.dtype) * W))


def test_a_parameter_of_the_same_numbers_stays_one() -> None:
    laws = lw.derive(Held(), args=torch.randn(5, 3))
    assert laws.count == 5 and "w" in laws.text


def test_numbers_that_are_rounded_on_their_way_say_so() -> None:
    laws = lw.derive(Net(lambda h: torch.Tensor([0.7])), args=torch.randn(5, 3))
    assert laws.count == 4
    assert "the rebuilt network agrees with the module to 2e-08 only: a number" in str(laws.notes)
