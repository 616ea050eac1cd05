"""Whatever a question gives back can be kept: pickled, copied, shown in a notebook, printed in one line."""

from __future__ import annotations

import copy
import pickle

import pytest
from doors import objects

import lawful as lw
from lawful.theory.laws.proof import Proof

OBJECTS = objects()
SHOWN = {n: o for n, o in OBJECTS.items() if n not in ("net", "element", "flow", "loss", "signal")}


@pytest.mark.parametrize("name", [n for n in OBJECTS if n != "ledger"])  # a ledger hooks into a running loop
def test_it_can_be_pickled(name: str) -> None:
    thing = OBJECTS[name]
    again = pickle.loads(pickle.dumps(thing))
    assert type(again) is type(thing) and str(again) == str(thing)
    assert str(copy.deepcopy(thing)) == str(thing)


def test_pickled_proofs_keep_their_text_and_pickled_symmetries_act() -> None:
    found = OBJECTS["symmetries"]
    again = pickle.loads(pickle.dumps(found))
    assert [s.name for s in again] == [s.name for s in found] and all(s.proof.holds for s in again)
    one = pickle.loads(pickle.dumps(found[0]))
    assert one.verify().verdict is lw.Verdict.HOLDS
    proof: Proof = pickle.loads(pickle.dumps(OBJECTS["proof"]))
    assert proof.latex == OBJECTS["proof"].latex and not proof.holds and copy.deepcopy(OBJECTS["proof"]).holds


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_one_line_at_a_prompt_and_a_page_in_a_notebook(name: str) -> None:
    thing = SHOWN[name]
    assert "\n" not in repr(thing) and len(repr(thing)) < 400
    assert not repr(thing).endswith(f"{id(thing):x}>")
    page = thing._repr_html_()
    assert page.count("<") > 1 and ("<pre>" not in page or "&lt;" in page or "<" not in str(thing))
