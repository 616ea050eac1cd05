"""Correct modules are not accused: published models by a rule, and what real repositories wrap around modules."""

import csv

import pytest
from kit_models import RESULTS, chosen, outcome

from lawful.testing.score import accused
from lawful.testing.score_right import right
from lawful.theory.verdict import Verdict

KINDS = sorted({r.kind for r in right()})


def test_the_published_results_accuse_nobody() -> None:
    with RESULTS.open(encoding="utf-8", newline="") as file:
        rows = {r["name"]: r for r in csv.DictReader(file)}
    assert set(rows) <= set(chosen())
    assert len(rows) >= 110
    assert not [r for r in rows.values() if r["verdict"] not in ("holds", "vacuous")]


@pytest.mark.nightly
@pytest.mark.parametrize("name", chosen())
def test_a_published_model_is_not_accused(name: str) -> None:
    found = outcome(name)
    assert found.verdict is not Verdict.VIOLATED, str(found)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_what_repositories_wrap_around_modules_passes(kind: str) -> None:
    passed, lines = accused([r for r in right() if r.kind == kind])
    assert not lines and passed == 20, lines


def test_one_of_each_wrapping_passes() -> None:
    some = {r.kind: r for r in right() if r.name not in ("attention", "weight norm")}
    passed, lines = accused([r for k, r in some.items() if k != "compiled"])
    assert not lines and passed == len(KINDS) - 1, lines
