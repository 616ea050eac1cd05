"""What options of the cross entropy do to laws: every claim about one is measured, and a wrong one would fail."""

import dataclasses

import pytest

from lawful import catalog
from lawful.catalog.checks import CHECKS, claim_failures

OPTIONS = ("label-smoothing", "class-weights", "focal-loss", "loss-reduction", "z-loss")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_claim_holds_on_gradients(name: str) -> None:
    assert claim_failures(catalog.get(f"claim/lawful/{name}")) == []


def test_a_wrong_claim_is_named() -> None:
    rows = {what: (wanted, found) for what, wanted, found in CHECKS["z-loss"]()}
    assert rows["shift V.weight of ReLU stays"] == (False, False)  # the column sums move, and are measured to move
    assert rows["balance of W of ReLU stays"] == (True, True)
    planted = dataclasses.replace(catalog.get("claim/lawful/z-loss"), evidence=("no/such/law",))
    assert claim_failures(planted)
