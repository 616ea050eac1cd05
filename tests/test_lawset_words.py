"""What a set of laws prints: the laws themselves, whole on request, with right plurals."""

from __future__ import annotations

import pytest

import lawful as lw
from lawful import blocks as b
from lawful.theory.arguments import plural

LAWS = lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2))


def test_printing_shows_every_law() -> None:
    head, *rest = str(LAWS).splitlines()
    assert head == "1 family, 4 scalar laws, 4 independent, loss mse"
    assert rest == [f"  {LAWS[0].name}: {LAWS[0].short}"] and repr(LAWS) == f"<LawSet: {head}>"
    many = lw.derive(lw.families.mlp([3] * 25))
    assert "... and " in str(many).splitlines()[-1] and len(many.text.splitlines()) == len(many)


def test_a_set_has_text_and_latex() -> None:
    assert LAWS.text == f"{LAWS[0].name}: {LAWS[0].text}"
    assert LAWS.latex == f"\\begin{{aligned}}\n&{LAWS[0].latex}\n\\end{{aligned}}"
    assert LAWS.where(wire="none").latex == LAWS.where(wire="none").text == ""


def test_a_number_that_is_not_there_says_how_many_are() -> None:
    with pytest.raises(IndexError, match="no number 10 here: there is one, number 0"):
        LAWS[10]
    assert LAWS[-1] is LAWS[0]


def test_names_are_escaped_in_latex() -> None:
    arch = lw.Architecture(b.chain(**{"a&b%$": b.Linear(3, 4), "r": b.ReLU(), "c": b.Linear(4, 2)}))
    assert r"\mathrm{a\&b\%\$}" in lw.derive(arch).latex


def test_plurals() -> None:
    assert (plural(1, "law"), plural(2000, "law"), plural(1, "family", "families")) == (
        "1 law",
        "2,000 laws",
        "1 family",
    )


def test_a_set_contains_its_laws_and_their_names() -> None:
    assert LAWS[0].name in LAWS and LAWS[0] in LAWS
    assert "balance of nothing" not in LAWS and None not in LAWS


def test_sets_of_the_same_laws_are_equal() -> None:
    again = lw.LawSet.from_json(LAWS.to_json())
    assert again == LAWS and hash(again) == hash(LAWS) and again != list(LAWS)
    assert lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)) == LAWS
    assert lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2), "cross_entropy") != LAWS
    assert lw.derive(b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2)) != LAWS and LAWS.where(wire="none") != LAWS


def test_an_empty_list_says_that_it_is_one_and_what_counts() -> None:
    laws = lw.derive(b.Linear(3, 4) >> b.GELU() >> b.Linear(4, 2))
    assert str(laws).endswith(
        "no law was derived, and no limit of the rules is known: lw.check counts whether one is missing"
    )
    assert "no law was derived" not in str(lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)))
