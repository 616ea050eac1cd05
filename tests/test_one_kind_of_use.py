"""Parameters that are matrices here and biases, sums or gains there: all uses are of one kind, and laws join them.

The numbers are those of the referee, which shares no code with the engine.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.testing.referee import Referee

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class Plain(nn.Module):
    """Parameters by their names and sizes, those in capitals at the end are frozen, and a forward."""

    def __init__(self, forward: Forward, sizes: str, frozen: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.compute = forward
        for name, shape in (part.split(":") for part in sizes.split()):
            numbers = torch.randn(*map(int, shape.split(",")), dtype=torch.float64)
            setattr(self, name, nn.Parameter(numbers, requires_grad=name != frozen))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.compute(self, x)


def layered(middle: Forward) -> Forward:
    """A linear map, something, and a map to the output."""
    return lambda m, x: F.linear(middle(m, F.linear(x, m.u)), m.v)


def branches(m: nn.Module, h: torch.Tensor) -> torch.Tensor:
    return F.conv1d(h, m.a) + 2 * F.conv1d(h, m.b, m.c.expand(4))


def other_gate(m: nn.Module, h: torch.Tensor) -> torch.Tensor:
    return F.linear(h.abs() * (h > 0), m.a) + F.linear(F.leaky_relu(h, 0.1) * (h > 0), m.b)


# name: (forward, parameters, the frozen one, shape of the input, loss, number of laws)
CASES: dict[str, tuple[Forward, str, str, tuple[int, ...], str, int]] = {
    "a bias that is a sum of columns": (
        lambda m, x: F.linear(F.linear(x, m.u, m.u.sum(1)), m.v, m.b),
        "u:2,4 v:3,2 b:3",
        "",
        (5, 4),
        "mse",
        3,
    ),
    "a bias that is a column": (
        layered(lambda m, h: F.relu(F.linear(h, m.w, m.w[:, 0]))),
        "u:4,3 w:3,4 v:2,3",
        "",
        (5, 3),
        "mse",
        9,
    ),
    "a column behind an activation": (
        layered(lambda m, h: F.linear(F.relu(h), m.w, m.w[:, 1])),
        "u:4,4 w:2,4 v:3,2",
        "",
        (5, 4),
        "mse",
        6,
    ),
    "a gain that is a sum": (
        lambda m, x: F.linear(F.relu(F.linear(x, m.u) * m.u.sum(1)), m.v, m.b),
        "u:3,4 v:3,3 b:3",
        "",
        (5, 4),
        "mse",
        3,
    ),
    "a gain that is a matrix": (
        lambda m, x: F.relu(F.linear(x, m.a) * m.v) @ m.v.view(-1, 1),
        "a:4,3 v:4",
        "",
        (6, 3),
        "mse",
        4,
    ),
    "a mean beside a linear map": (
        lambda m, x: F.linear(F.linear(F.linear(x, m.u), m.w), m.v, m.u.mean(0)),
        "u:2,4 w:2,2 v:4,2",
        "",
        (5, 4),
        "cross_entropy",
        6,
    ),
    "sums of copies": (
        lambda m, x: F.linear(F.gelu(F.linear(x, m.u.expand(2, 3)) + m.b.expand(2)), m.v),
        "u:1,3 b:1 v:4,2",
        "",
        (5, 3),
        "mse",
        4,
    ),
    "two skips around one map": (
        layered(lambda m, h: h - F.linear(h, m.w, m.b) + h),
        "u:3,3 w:3,3 b:3 v:2,3",
        "",
        (5, 3),
        "mse",
        12,
    ),
    "a frozen depthwise map": (
        lambda m, x: F.linear(F.conv1d(F.relu(F.conv1d(x, m.u, m.b)), m.d, groups=3).mean(-1), m.v),
        "u:3,3,1 d:3,1,1 b:3 v:2,3",
        "d",
        (4, 3, 5),
        "mse",
        3,
    ),
    "branches and a bias at every position": (
        lambda m, x: F.linear(branches(m, F.relu(F.conv1d(x, m.u))).mean(-1), m.v),
        "u:3,2,1 a:4,3,1 b:4,3,1 c:1 v:2,4",
        "",
        (4, 2, 3),
        "mse",
        22,
    ),
    "classes that come on two ways": (
        lambda m, x: (lambda h: h * torch.tensor([2.0, 0.0, 2.0], dtype=torch.float64) + h)(F.linear(x, m.u, m.b)),
        "u:3,2 b:3",
        "",
        (5, 2),
        "cross_entropy",
        3,
    ),
    "gates of other functions": (layered(other_gate), "u:2,3 a:2,2 b:2,2 v:2,2", "", (5, 3), "mse", 9),
}


@pytest.mark.parametrize("name", CASES)
def test_all_laws_are_listed_without_a_note(name: str) -> None:
    forward, sizes, frozen, shape, loss, number = CASES[name]
    module, x = Plain(forward, sizes, frozen), torch.randn(shape, dtype=torch.float64)
    laws = lw.derive(module, loss, args=(x,))
    found = Referee(module, (x,), (loss,), (-1,)).count(0)
    assert found.decided and found.laws == number
    assert laws.exact_independent == number and not laws.gaps
    assert laws.verify(module, args=(x,)).verdict is lw.Verdict.HOLDS
    assert all(law.proof.holds for law in laws)


def test_sums_that_are_never_there_before_a_shared_weight_are_named() -> None:
    """The input never has x_0 - x_2, so that a matrix may turn these columns, which the transposed use answers."""

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.linear(F.relu(F.linear(x + x.flip(-1), m.u)), m.u.t()), m.v)

    module, x = Plain(forward, "u:2,3 v:2,3", ""), torch.randn(5, 3, dtype=torch.float64)
    laws = lw.derive(module, args=(x,))
    assert Referee(module, (x,), ("mse",), (-1,)).count(0).laws > laws.exact_independent
    assert any("features of which some sum is always zero" in note for note in laws.gaps)


def test_what_a_frozen_map_never_writes_of_a_centred_input_is_named() -> None:
    """The input is a multiple of (1, -1), so that one direction of what the frozen map writes is read and no other."""

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        h = F.linear(x - x.mean(-1, keepdim=True), m.w)
        return F.linear(h, m.a[:, None] * m.b)

    module, x = Plain(forward, "w:2,2 a:3 b:2", "w"), torch.randn(5, 2, dtype=torch.float64)
    laws = lw.derive(module, "cross_entropy", args=(x,))
    assert laws.exact_independent == 2 and any("w is frozen" in note for note in laws.gaps)
