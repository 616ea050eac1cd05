"""What a user of pytest sees of a refusal: the line that was wrong, and one sentence; every line where it is a bug."""

from __future__ import annotations

import pytest
from test_assertions import entry_points

pytest_plugins = ["pytester"]

SUITE = """
import torch
from torch import nn
import lawful as lw
from lawful import blocks as b

NET = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

class Bad(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.ones(7)

def test_inputs(assert_lawful):
    assert_lawful(NET, (torch.randn(5, 7),))

def test_own_forward(assert_lawful):
    assert_lawful(Bad(3, 4), (torch.randn(5, 3),))

def test_laws():
    lw.check(NET, args=torch.randn(5, 7))

def test_blocks():
    b.Linear(3, 4) >> b.Linear(5, 2)

def test_a_bug(monkeypatch):
    monkeypatch.setattr("lawful.theory.inputs.shown", None)
    lw.check(NET, args={1: 2})
"""


def test_refusals_are_shown_at_the_line_of_the_user(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    loaded = any(d.name == "lawful" for d in entry_points())
    options = () if loaded else ("-p", "lawful.testing.plugin")
    result = pytester.runpytest_inprocess(*options, "-p", "no:cacheprovider", "-q")
    result.assert_outcomes(failed=5)
    refusals, bug = result.stdout.str().split("test_a_bug ___")
    assert len(refusals.splitlines()) < 100 and "site-packages" not in refusals and "theory/" not in refusals
    assert "return super().forward(x) + torch.ones(7)" in refusals  # the line of a user's own forward
    assert "theory/inputs.py" in bug  # a mistake of lawful is shown whole
