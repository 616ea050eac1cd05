"""The score of the kit: planted faults are caught and named, correct networks are not accused."""

import pytest

from lawful.testing.score import correct, score, table
from lawful.testing.score_beds import FAULTS, RIGHT, beds


def expect(names: list[str] | None) -> None:
    rows = score(names)
    bad = [r for r in rows if r.wrong != (r.fault in FAULTS) or not r.named]
    assert not bad, table(bad)
    assert {r.fault for r in rows} == {*FAULTS, *RIGHT}


def test_a_network_of_the_score() -> None:
    expect(["layer norm"])


@pytest.mark.nightly
def test_the_whole_score() -> None:
    assert len(beds()) * len(FAULTS) >= 120
    expect(None)


@pytest.mark.nightly
def test_correct_modules_pass() -> None:
    passed, accused = correct(200)
    assert not accused and passed > 180
