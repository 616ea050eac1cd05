"""Where the gap is narrow, laws that hold and measured rounding decide together; neither does alone."""

import math

import pytest
import torch

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


@pytest.mark.parametrize("verified", [0, 2])
def test_another_number_of_laws_decides_nothing(verified, monkeypatch):
    assert counted(weak, verified, monkeypatch).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(("field", "margin"), [(weak, 1e3), (turned, 1e3), (cancelling, 0), (wide, 0)])
def test_the_margin_is_small_where_rounding_is_large_or_unknown(field, margin):
    found = margin_over_rounding(field, STATE, sampler(), (4, 4))
    assert found > margin if margin else found < counting.ABOVE


def test_a_wide_constant_leaves_rounding_unmeasured(monkeypatch):
    assert margin_over_rounding(wide, STATE, sampler(), (4, 4)) == 0
    assert counted(wide, 1, monkeypatch).doubt.count("in float64 whatever the parameters are") == 1


def test_fields_that_are_no_numbers_in_float32_are_left_out():
    assert margin_over_rounding(lambda t, w: w * SIZES.to(w.dtype) * 1e60, STATE, sampler(), (4, 4)) == 0
    assert math.isfinite(margin_over_rounding(weak, STATE, sampler(), (4, 4)))
