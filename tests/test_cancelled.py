"""What a fourth adversary found: gradients that cancel, bounds of weights, running sums, parts in files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import nn

import lawful as lw

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class Plain(nn.Module):
    def __init__(self, forward: Forward, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self._forward = forward
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(*shape, dtype=torch.float64)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def data(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def squares(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    h = x * m.w
    return (h.sin() ** 2 + h.cos() ** 2)[:, :2] * m.v


def of_two(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    h = x @ m.w
    h = h - h.mean(-1, keepdim=True)
    return h / h.abs().amax(-1, keepdim=True) @ m.v


CANCEL: dict[str, tuple[Forward, dict[str, tuple[int, ...]], tuple[int, ...]]] = {
    "squares of sines and cosines": (squares, {"w": (3,), "v": (2,)}, (4, 3)),
    "two features, centred, by their largest": (of_two, {"w": (3, 2), "v": (2, 2)}, (4, 3)),
    "the sum of a softmax": (
        lambda m, x: torch.softmax(x @ m.w, -1).sum(-1, keepdim=True) * m.v,
        {"w": (3, 3), "v": (2,)},
        (4, 3),
    ),
}


@pytest.mark.parametrize("name", CANCEL)
def test_a_gradient_that_cancels_is_named(name: str) -> None:
    forward, shapes, size = CANCEL[name]
    module, x = Plain(forward, **shapes), data(*size)
    assert any("w never moves, as it seems" in gap for gap in lw.derive(module, args=x).gaps)
    found = lw.check(module, args=x)
    assert found.verdict is lw.Verdict.UNDECIDED and "not all that is listed holds" not in found.summary


def test_adapters_that_start_at_zero_are_not_said_to_rest() -> None:
    module = Plain(lambda m, x: x @ m.w + x @ m.a @ m.v, w=(3, 2), a=(3, 2), v=(2, 2))
    module.v.data.zero_()
    assert not any("never move" in note for note in lw.derive(module, args=data(5, 3)).notes)


def test_bounds_that_weights_alone_meet_leave_a_count_undecided() -> None:
    module = Plain(lambda m, x: torch.relu(x @ m.w.clamp(-1, 1)) @ m.v, w=(3, 3), v=(3, 2))
    assert lw.count(module, args=data(4, 3)).verdict is lw.Verdict.UNDECIDED


SUMS: dict[str, tuple[Forward, int]] = {
    "of the first map": (lambda m, x: torch.relu(x @ m.w.cumsum(0)) @ m.v, 3),
    "along its second axis": (lambda m, x: torch.relu(x @ m.w.cumsum(1)) @ m.v, 1),
    "of the second map": (lambda m, x: torch.relu(x @ m.w) @ m.v.cumsum(0), 1),
    "of its transpose": (lambda m, x: torch.relu(x @ m.w) @ m.v.t().cumsum(0).t(), 3),
    "of examples": (lambda m, x: (x @ m.w).cumsum(0) @ m.v, 6),
}


@pytest.mark.parametrize("name", at_night(SUMS, "of the second map", "along its second axis", "of its transpose"))
def test_running_sums_along_any_axis_are_counted_exactly(name: str) -> None:
    forward, laws = SUMS[name]
    module, x = Plain(forward, w=(3, 3), v=(3, 2)), data(4, 3)
    assert lw.count(module, args=x, exact=True).laws == lw.count(module, args=x).laws == laws


def test_a_part_that_is_a_row_here_and_a_vector_there_goes_through_a_file() -> None:
    module = Plain(lambda m, x: torch.relu(torch.relu(x @ m.w) @ m.u * m.u[0]) @ m.v, w=(3, 2), u=(2, 2), v=(2, 2))
    made = lw.certificate(module, args=data(4, 3))
    assert made.check().at_least == made.at_least == 4


def test_a_weight_that_is_divided_by_its_length_has_no_degree_of_its_own() -> None:
    """`w / ||w||` in a call that no rule covers: sizes of `w` do not pass (a fifth adversary, on the meta device)."""

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.w = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2, 4))
            self.register_buffer("mixing", torch.randn(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.mixing @ (x @ self.a.T)
            return torch.einsum("...i,oi->...o", h, self.w / self.w.norm(dim=1, keepdim=True))

    with torch.device("meta"):
        laws = lw.derive(Normalised(), args=torch.randn(3, 3, 3))
    assert not any({"a", "w"} <= set(law.parameters) for law in laws)
    found = lw.derive(Normalised(), args=torch.randn(3, 3, 3))
    assert not any("bug of lawful" in note for note in found.notes)
