"""Kinds of notes: what may be missing is told apart from facts by its kind, and both are printed."""

import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.testing.breakdown import Breakdown, sentence
from lawful.testing.survey import survey
from lawful.theory.laws.notes import Fact


class Positions(nn.Module):
    """A table of positions that is longer than the example."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(6, 3))
        self.head = nn.Parameter(torch.randn(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(torch.tanh(x + self.table[: x.shape[1]]), self.head)


def test_what_holds_for_a_length_is_a_fact_and_no_gap() -> None:
    laws = lw.derive(Positions(), args=(torch.randn(2, 4, 3),))
    (fact,) = laws.facts
    assert "that they never move holds for that shape only" in fact
    assert fact not in laws.gaps and set(laws.gaps) | set(laws.facts) == set(laws.notes)


def test_a_sentence_has_no_names_and_no_numbers() -> None:
    first = sentence("linear#2 reads h3 and p1[0:2], p2.view(3,4) of 17 entries", ["p1", "p2", "h3"])
    second = sentence("linear reads h4 and p10 of 3 entries", ["p10", "h4"])
    assert first == second == "linear reads _ of n entries"


def test_kinds_are_counted_with_the_modules_on_which_laws_are_missing() -> None:
    table = Breakdown()
    table.note(["p1 is cut", "p2 is cut", Fact("as seen")], ["p1", "p2"], missing=True)
    table.note(["p1 is cut", "h2 is folded"], ["p1", "h2"], missing=False)
    cut, folded, seen = (table.kinds[k] for k in ("_ is cut", "_ is folded", "as seen"))
    assert (cut.modules, cut.alone, cut.missing, cut.fact) == (2, 1, 1, False)
    assert (folded.modules, folded.alone, folded.missing) == (1, 0, 0)
    assert (seen.modules, seen.alone, seen.fact) == (1, 0, True)
    twice = Breakdown()
    for _ in range(2):
        twice.add(table)
    assert twice.kinds["_ is cut"].missing == 2
    assert twice.table.splitlines()[1].split() == "4 2 2 _ is cut".split()
    assert twice.table.splitlines()[-1].endswith("fact: as seen")


def test_a_survey_prints_both() -> None:
    found = survey(2, 31_000, minimise=False)
    assert 0 <= found.missing <= found.noted <= 2
    assert sum(k.alone for k in found.breakdown.kinds.values()) <= found.noted
    assert "laws are missing on" in found.summary and "facts" in found.summary
