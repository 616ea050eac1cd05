"""Whatever is handed to a public callable: an answer, one sentence of lawful, or Python's own word on a call.

`doors.py` finds them all by introspection; what a new one is called, no list has to say.
"""

from __future__ import annotations

import pytest
from doors import Door, answered, doors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DOORS = {d.name: d for d in doors()}


def test_the_doors_are_those_that_users_know() -> None:
    wanted = {"lw.check", "lw.Ledger", "lw.export.awq", "lw.testing.assert_lawful", "lw.flows.laws", "arch.draw"}
    assert wanted <= set(DOORS) and len(DOORS) > 150


@pytest.mark.parametrize("door", [d for d in DOORS.values() if d.parameters], ids=lambda d: d.name)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_wrong_argument_is_refused_in_one_sentence(
    door: Door, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.getbasetemp())  # some write files
        answered(door.wrong(data))
