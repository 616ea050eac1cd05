"""What a rule may write: the equations are refused that nobody could read back, and shifts that nobody has matched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import lawful as lw
from lawful import blocks as b
from lawful.blocks.rules import BalancePass, Factor, HomogeneousRule, PassRule, Rule, Sector, ShiftPass, Site

Names = Callable[[BalancePass, int], Any]


@dataclass(frozen=True)
class Squares(HomogeneousRule):
    """The rule of x |x|, written by hand: `S_out = 2 S_in`, and a factor of its own that says nothing."""

    names: Names = lambda balance, w: balance.key(w, 0, "c")

    def balance(self, balance: BalancePass, site: Site) -> None:
        x, y = site.inputs[0], site.outputs[0]
        for label in "cd":
            balance.require({Sector(x, 0, label): 2, Sector(y, 0, label): -1})
        balance.require({self.names(balance, x): 0, Factor(site.name, "own"): 1})


class Unmatched(PassRule):
    """An average over tokens that forgets to say so."""

    def shift(self, shifts: ShiftPass, site: Site) -> None:
        shifts.emit(site.outputs[0], shifts.wire_terms(site.inputs[0], site.outputs[0]))


def with_rule(monkeypatch: pytest.MonkeyPatch, kind: type[b.Block], rule: Rule) -> None:
    monkeypatch.setattr(kind, "rule", lambda self, names, inputs, outputs: rule)


def test_a_rule_names_sectors_by_key_or_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2))
    with_rule(monkeypatch, b.ReLU, Squares(2))
    (law,) = lw.derive(arch)
    assert law.text == "‖0.weight[i,:]‖² + 0.bias[i]² - 2 ‖2.weight[:,i]‖²"
    assert law.proof.holds


@pytest.mark.parametrize("unknown", [lambda balance, w: (w, 0, "c"), lambda balance, w: ("0", "own")])
def test_an_unknown_that_nobody_reads_back_is_refused(monkeypatch: pytest.MonkeyPatch, unknown: Names) -> None:
    with_rule(monkeypatch, b.ReLU, Squares(2, names=unknown))
    with pytest.raises(TypeError, match="ask `key` for a sector"):
        lw.derive(lw.Architecture(b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2)))


def test_shifts_of_tokens_that_are_not_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = b.Linear(3, 3) >> b.LearnedPosition(4, 3) >> b.GlobalAveragePool() >> b.Linear(3, 2)
    arch = lw.Architecture(net, input=b.Signal(3, (4,)))
    assert len(lw.derive(arch))
    with_rule(monkeypatch, b.GlobalAveragePool, Unmatched())
    with pytest.raises(ValueError, match="2: tokens of an input are no tokens of the output"):
        lw.derive(arch)
