"""Operations that no rule names: what whole tensors may be scaled by is measured, and single numbers are looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import Tensor, nn

import lawful as lw
from lawful.graph.questions.derive import by_rules
from lawful.graph.tracing.measured import measured

# what is made of four hidden units: the number of features, and the laws that are listed of the two maps around it
SIZES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "sort": (lambda h: h.sort(-1)[0], 4),
    "topk": (lambda h: h.topk(2, -1)[0], 2),
    "kthvalue": (lambda h: h.kthvalue(2, -1, keepdim=True)[0], 1),
    "median": (lambda h: h.median(-1, keepdim=True).values, 1),
    "cummax": (lambda h: h.cummax(-1)[0], 4),
    "inverse": (lambda h: torch.linalg.inv(h.view(-1, 2, 2)).flatten(1), 4),
    "lengths": (lambda h: torch.hypot(h[:, :2], h[:, 2:]), 2),
    "angles": (lambda h: torch.atan2(h[:, :2], h[:, 2:]), 2),
    "determinant": (lambda h: torch.linalg.det(h.view(-1, 2, 2))[:, None], 1),
    "cross": (lambda h: torch.linalg.cross(h[:, :3], h[:, 1:]), 3),
}
CHOICES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "relu": (lambda h: torch.where(h > 0, h, torch.zeros_like(h)), 4),
    "number": (lambda h: torch.where(h > 0, h, 0.0), 4),
    "other way": (lambda h: torch.where(h < 0, torch.tensor(0.0, dtype=h.dtype), h), 4),
    "scaled": (lambda h: torch.where(h >= 0, 2 * h, 0.5 * h), 4),
    "filled": (lambda h: h.masked_fill(h <= 0, 0.0), 4),
    "elu": (lambda h: torch.where(h > 0, h, h.exp() - 1), 0),
    "huber": (lambda h: torch.where(h.abs() < 1, h**2 / 2, h.abs() - 0.5), 0),
    "finite": (lambda h: torch.where(torch.isnan(h), torch.zeros_like(h), h), 10),
    "nan_to_num": (torch.nan_to_num, 10),
    "fixed": (lambda h: torch.where(torch.tensor([True, False, True, True]), h, 0.0), 12),
}
FEATURES: dict[str, tuple[Callable[[Tensor], Tensor], int, int]] = {
    "product": (lambda h: h.prod(-1, keepdim=True), 1, 4),
    "sum": (lambda h: h.nansum(-1, keepdim=True), 1, 13),
    "maxout": (lambda h: h.view(-1, 2, 2).amax(-1), 2, 2),
    "maxout of the outer axis": (lambda h: h.view(-1, 2, 2).max(1)[0], 2, 2),
}


class Net(nn.Module):
    """Two linear maps with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(3, 4), nn.Linear(width, 2), between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


def _net(between: Callable[[Tensor], Tensor], width: int) -> nn.Module:
    torch.manual_seed(0)
    return Net(between, width)


@pytest.mark.parametrize("name", at_night(SIZES, "cross", "angles", "kthvalue", "cummax"))
def test_the_size_of_what_an_operation_reads_is_measured(name: str) -> None:
    net, x = _net(*SIZES[name]), torch.randn(5, 3)
    laws = lw.derive(net, args=x)
    assert laws.count == 1
    assert "known by its degrees only" in str(by_rules(lw.trace(net, x), "mse").notes)
    assert all(r.verdict == "holds" for r in lw.verify(net, laws, args=x).laws)


@pytest.mark.parametrize("name", list(CHOICES))
def test_choices_between_maps_of_one_number_are_one_map(name: str) -> None:
    between, count = CHOICES[name]
    laws = lw.derive(_net(between, 4), args=torch.randn(5, 3))
    assert laws.count == count and not laws.notes


@pytest.mark.parametrize("name", list(FEATURES))
def test_products_and_maxima_of_features_have_their_scales(name: str) -> None:
    between, width, count = FEATURES[name]
    laws = lw.derive(_net(between, width), args=torch.randn(5, 3))
    assert laws.count == count and not laws.notes


@pytest.mark.parametrize(
    "between",
    [torch.cumprod, lambda h, d: nn.functional.hardshrink(h), lambda h, d: torch.renorm(h, 2, 0, 1.0)],
    ids=["cumprod", "hardshrink", "renorm"],
)
def test_what_is_homogeneous_in_places_only_is_not_taken_for_more(between: Callable[[Tensor, int], Tensor]) -> None:
    laws = lw.derive(_net(lambda h: between(h, -1), 4), args=torch.randn(5, 3))
    assert not laws.count and "no rule is known for it" in str(laws.notes)


def test_features_of_two_branches_by_a_fixed_mask_stand_side_by_side() -> None:
    mask = torch.tensor([True, False, True, True])
    laws = lw.derive(_net(lambda h: torch.where(mask, h, torch.relu(h)), 4), args=torch.randn(5, 3))
    assert laws.count == 5 and "laws that mix the parts are not listed" in str(laws.notes)  # 7 by count


def test_degrees_are_small_fractions_and_joint() -> None:
    found = measured(lambda x, p: x[0].abs().sqrt() * p["w"] ** 2, [(3, 4)], {"w": (4,)}, 1)
    assert found == (((("x0", 1), ("p0", 4), ("y0", -2)),), True)
    assert measured(lambda x, p: torch.hypot(x[0], x[1]), [(3, 4)] * 2, {}, 1) == (
        ((("x0", 1), ("y0", -1)), (("x1", 1), ("y0", -1))),
        True,
    )


@pytest.mark.parametrize("bound", [1e-4, 1.0, 1e4])
def test_bounds_of_any_size_are_seen(bound: float) -> None:
    assert measured(lambda x, p: x[0].clamp(-bound, bound), [(3, 4)], {}, 1) is None
    assert measured(lambda x, p: x[0] + bound, [(3, 4)], {}, 1) is None


def test_whoever_asks_for_other_numbers_is_not_measured() -> None:
    assert measured(lambda x, p: x[0][x[1].long()], [(3, 4), (3,)], {}, 1) is None
    assert measured(lambda x, p: torch.linalg.cholesky(x[0]), [(3, 3)], {}, 1) is None
    assert measured(lambda x, p: x[0] * float("nan"), [(3, 3)], {}, 1) is None


@pytest.mark.parametrize("bound", [1e-9, 1e-3, 0.3, 1e5])
def test_choices_at_bounds_of_any_size_are_no_straight_lines(bound: float) -> None:
    net = _net(lambda h: torch.where(h.abs() < bound, torch.full_like(h, bound), h), 4)
    assert not lw.derive(net, args=torch.randn(5, 3)).count


def test_drawing_calls_are_not_measured_and_leave_the_random_state() -> None:
    state = torch.get_rng_state()
    assert measured(lambda x, p: x[0] * torch.rand_like(x[0]), [(3, 4)], {}, 1) is None
    assert torch.equal(state, torch.get_rng_state())


class Reversed(torch.autograd.Function):
    """The identity, whose backward turns the gradient round."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
        return x * 1

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
        return -g


def test_a_backward_of_its_own_has_to_agree_with_what_is_computed() -> None:
    assert measured(lambda x, p: Reversed.apply(x[0]), [(3, 4)], {}, 1) is None
