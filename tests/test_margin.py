"""Where the gap is narrow, laws that hold and measured rounding decide together; neither does alone."""

import math

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.oracle import counting
from lawful.theory.oracle.counting import CLEAR_GAP, DOUBTFUL_GAP, count_span
from lawful.theory.oracle.precise.jets import UnknownError
from lawful.theory.oracle.rounding import margin_over_rounding
from lawful.theory.verdict import Verdict

SIZES = torch.tensor([1.0, 1e-3, 1e-6, 1e-10, 0.0], dtype=torch.float64)  # the last coordinate never moves: one law
STATE = torch.ones(5, dtype=torch.float64)
MIXED = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]


def weak(t, w):
    return w * SIZES.to(w.dtype)


def turned(t, w):
    """The weak direction stands in no column of its own."""
    return MIXED.to(w.dtype) @ weak(t, w)


def cancelling(t, w):
    """What is far below the two terms is made of their rounding."""
    return weak(t, w) + 1e-4 * ((1e7 + w) - 1e7 - w)


def wide(t, w):
    return (w.double() * SIZES).to(w.dtype)


def sampler():
    generator = torch.Generator().manual_seed(0)
    return lambda n: torch.randn(n, 5, dtype=torch.float64, generator=generator)


def counted(field, verified, monkeypatch):
    def refuse(*_, **__):
        raise UnknownError("250 parameters, more than 120")

    monkeypatch.setattr(counting, "count_precisely", refuse)
    return count_span(field, STATE, sampler(), moves=lambda: True, verified=verified)


def test_laws_that_hold_decide_where_what_is_kept_stands_above_rounding(monkeypatch):
    alone = counted(weak, None, monkeypatch)
    assert (alone.laws, alone.verdict) == (1, Verdict.UNDECIDED) and CLEAR_GAP < alone.gap < DOUBTFUL_GAP
    found = counted(weak, 1, monkeypatch)
    assert (found.laws, found.verdict) == (1, Verdict.HOLDS)
    assert "1 law holds" in found.method and "times measured rounding" in found.method


def test_measured_rounding_outweighs_a_gap_that_another_point_would_have_confirmed(monkeypatch):
    """A gap of 1e8 to 1e9 holds at one point alone, unless rounding is known to be as large as what is kept."""
    monkeypatch.setattr(counting, "REPEATED_GAP", CLEAR_GAP)
    assert counted(weak, None, monkeypatch).verdict is Verdict.HOLDS
    found = counted(weak, 1, monkeypatch)
    assert found.verdict is Verdict.HOLDS and found.margin > counting.ABOVE
    monkeypatch.setattr(counting, "margin_over_rounding", lambda *_: 2.0)
    found = counted(weak, 1, monkeypatch)
    assert found.verdict is Verdict.UNDECIDED and found.margin is None
    assert "only 2 times the rounding" in found.method


@pytest.mark.parametrize("verified", [0, 2])
def test_another_number_of_laws_decides_nothing(verified, monkeypatch):
    assert counted(weak, verified, monkeypatch).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(("field", "margin"), [(weak, 1e3), (turned, 1e3), (cancelling, 0)])
def test_the_margin_is_small_where_rounding_is_large(field, margin):
    found = margin_over_rounding(field, STATE, sampler(), (4, 4))
    assert found > margin if margin else found < counting.ABOVE


def test_what_is_computed_in_float64_on_purpose_is_rounded_as_well():
    assert margin_over_rounding(wide, STATE, sampler(), (4, 4)) > 1e3


def test_what_does_not_run_in_float32_leaves_rounding_unmeasured(monkeypatch):
    def strict(t, w):
        if w.dtype != torch.float64:
            raise RuntimeError("expected scalar type Double")
        return weak(t, w)

    assert margin_over_rounding(strict, STATE, sampler(), (4, 4)) is None
    assert counted(strict, 1, monkeypatch).doubt.count("an operation asks for another type") == 1


def test_fields_that_are_no_numbers_in_float32_are_left_out():
    assert margin_over_rounding(lambda t, w: w * SIZES.to(w.dtype) * 1e60, STATE, sampler(), (4, 4)) == 0
    assert math.isfinite(margin_over_rounding(weak, STATE, sampler(), (4, 4)))


def test_data_that_give_no_numbers_are_drawn_again():
    """A mean over what a mask leaves is no number where it leaves nothing, which a random mask often does."""
    strong = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    found = count_span(lambda t, w: torch.where(w[0] > 0, w * strong, torch.nan), STATE, sampler(), moves=lambda: True)
    assert (found.laws, found.verdict) == (1, Verdict.HOLDS)
    assert "where the fields are numbers" in found.method
    never = count_span(lambda t, w: w * torch.nan, STATE, sampler(), moves=lambda: True)
    assert never.verdict is Verdict.UNDECIDED and "a mean over no token" in never.doubt


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = mask.unsqueeze(-1).float()
        return self.last((torch.relu(self.first(x)) * kept).sum(1) / kept.sum(1))


@pytest.mark.parametrize("padded", [False, True])
def test_a_masked_mean_is_counted_and_an_example_without_a_token_is_named(padded):
    mask = torch.tensor([[1, 0], [1, 1], [not padded, 0]]).bool()
    found = lw.check(Pooled(), args=(torch.randn(3, 2, 3), mask))
    assert found.lawful and found.count is not None and found.count.laws == 4
    told = [n for n in found.laws.notes if "first in div" in n and "kept.sum(1)" in n and "a mask that leaves" in n]
    assert bool(told) == padded
