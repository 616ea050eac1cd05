"""Sums of parameters as weights, biases and gains, and gates that are written out: complete, and without a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Plain(nn.Module):
    """Raw parameters and a forward of one line."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], forward: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape)))
        self.call = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self, x)


def laws_of(module: nn.Module, x: torch.Tensor) -> int:
    """The number of laws, which the count and the module itself confirm."""
    laws = lw.derive(module, "mse", args=(x,))
    counted = lw.count(module, "mse", args=(x,))
    assert counted.verdict is lw.Verdict.HOLDS
    assert laws.verify(module, args=(x,)).verdict is lw.Verdict.HOLDS
    assert (laws.independent, laws.notes) == (counted.laws, ())
    return laws.independent


MAP, OUT = (3, 4), (2, 3)
SUMS: dict[str, tuple[dict[str, tuple[int, ...]], Callable[..., torch.Tensor], int]] = {
    "A + B": ({"a": MAP, "b": MAP, "c": OUT}, lambda s, x: F.linear(F.linear(x, s.a + s.b), s.c), 18),
    "A - 2 B": ({"a": MAP, "b": MAP, "c": OUT}, lambda s, x: F.linear(F.relu(F.linear(x, s.a - 2 * s.b)), s.c), 15),
    "A + A": ({"a": MAP, "c": OUT}, lambda s, x: F.linear(F.linear(x, s.a + s.a), s.c), 6),
    "-A": ({"a": MAP, "c": OUT}, lambda s, x: F.linear(F.relu(F.linear(x, -s.a)), s.c), 3),
    "(A - B) of columns": (
        {"a": (4, 3), "b": (4, 3), "c": OUT},
        lambda s, x: F.linear(F.relu(x @ (s.a - s.b)), s.c),
        15,
    ),
    "(A - B) transposed": (
        {"a": (4, 3), "b": (4, 3), "c": OUT},
        lambda s, x: F.linear(F.relu(F.linear(x, (s.a - s.b).t())), s.c),
        15,
    ),
    "A + B cut": (
        {"a": MAP, "b": (6, 4), "c": OUT},
        lambda s, x: F.linear(F.relu(F.linear(x, s.a + s.b[:3])), s.c),
        27,
    ),
    "b + c": ({"a": MAP, "b": (3,), "d": (3,)}, lambda s, x: F.relu(F.linear(x, s.a, s.b + s.d)), 3),
    "b - c / 2": (
        {"a": MAP, "b": (3,), "d": (3,), "c": OUT},
        lambda s, x: F.linear(F.relu(F.linear(x, s.a, s.b - 0.5 * s.d)), s.c),
        6,
    ),
}
GATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "h (h > 0)": lambda h: h * (h > 0),
    "(h > 0) h": lambda h: (h > 0) * h,
    "where": lambda h: torch.where(h > 0, h, -0.5 * h),
    "where, else 0": lambda h: torch.where(h > 0, h, 0.0),
    "maximum": lambda h: torch.maximum(h, 0.5 * h),
    "maximum of both signs": lambda h: torch.maximum(-h, h),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_parameters(name: str) -> None:
    shapes, forward, laws = SUMS[name]
    torch.manual_seed(0)
    assert laws_of(Plain(shapes, forward), torch.randn(5, 4)) == laws


def test_sums_of_kernels_and_of_their_biases() -> None:
    torch.manual_seed(0)
    shapes = {"a": (3, 2, 3), "b": (3, 2, 3), "d": (3,), "e": (3,), "c": (2, 3, 1)}
    kernels = Plain(shapes, lambda s, x: F.conv1d(F.relu(F.conv1d(x, s.a + 0.5 * s.b, s.d + s.e)), s.c))
    assert laws_of(kernels, torch.randn(5, 2, 5)) == 24


@pytest.mark.parametrize("name", GATES)
def test_gates_that_are_written_out(name: str) -> None:
    torch.manual_seed(0)
    gate = GATES[name]
    module = Plain({"a": MAP, "c": OUT}, lambda s, x: F.linear(gate(F.linear(x, s.a)), s.c))
    assert laws_of(module, torch.randn(5, 4)) == 3


def test_a_gate_of_something_else_is_no_relu() -> None:
    module = Plain({"a": MAP, "b": MAP}, lambda s, x: F.linear(x, s.b) * (F.linear(x, s.a) > 0))
    assert lw.derive(lw.trace(module, torch.randn(5, 4))).notes
