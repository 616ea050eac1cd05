"""What a reader meets in a list of laws is explained where he looks, and said once."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful import (
    catalog,
    terminal,  # noqa: F401  (spells characters)
)
from lawful.catalog.trust import reliability
from lawful.page import page
from lawful.theory.laws.notes import Fact, once
from lawful.theory.laws.words import INDICES, WORDS, words_of

NAME = re.compile(r"[A-Z][A-Za-z]*")
TRUST = (Path(__file__).parents[1] / "docs/trust.md").read_text(encoding="utf-8")


def test_every_word_is_in_the_table_of_words_and_in_the_help() -> None:
    for name, text in WORDS.items():
        assert text.partition(": ")[2] in TRUST, name
        assert f"`{name}(" in (inspect.getdoc(lw.Law) or ""), name
    for text in INDICES.values():
        assert text.partition(": ")[2] in TRUST, text


def test_every_name_that_indexes_a_law_is_explained() -> None:
    stored = [path.read_text(encoding="utf-8") for path in Path(catalog.__file__).parent.glob("data/laws/*.json")]
    named = {name for text in stored for a in re.findall(r'"algebra": *"([^"]+)"', text) for name in NAME.findall(a)}
    assert {"Full", "Copies", "Vector"} < named <= set(WORDS), named - set(WORDS)


def test_a_page_explains_what_stands_on_it_and_nothing_else() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.attention(x, x, x, need_weights=False)[0]
            return y

    arch = lw.trace(Packed(), torch.randn(3, 5, 8))
    laws = lw.derive(arch)
    said = words_of(laws)
    assert any(t.startswith("Blocks(k, A)") for t in said) and any(t.startswith("W[8+(h,:)]") for t in said)
    assert not any(t.startswith("Skew") for t in said)
    text = page(arch, "attention")
    assert "How to read these formulas" in text and "counted head by head" in text
    mlp = words_of(lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2)))
    assert not any(t.startswith(("Blocks", "W[8+", "Vector")) for t in mlp) and mlp[0].startswith("Diagonal")


NOTES = ("{} takes a weighted sum: laws of it are not listed", "laws of {} and of its bias may be missing")


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("kind", [str, Fact])
def test_notes_that_differ_by_a_place_are_said_once(note: str, kind: type[str]) -> None:
    places = ["weigh", *(f"weigh#{i}" for i in range(2, 10))] if note.startswith("{}") else ["a.0.b", "a.1.b", "a.2.b"]
    others = [Fact("compared at a batch of 6"), "another place may hide laws"]
    said = once([*(kind(note.format(p)) for p in places), *others])
    assert len(said) == 3 and said[1:] == tuple(others)
    assert said[0].startswith(note.format(places[0])) and places[1] in said[0] and isinstance(said[0], kind)
    assert once(said) == said and once(["one"]) == ("one",)
    assert isinstance(said[0], Fact) is (kind is Fact)


def test_notes_that_say_other_things_stay_apart() -> None:
    notes = ("a hides 3 laws", "a hides 4 laws", "b hides the laws of c", Fact("a hides 5 laws"))
    assert once(notes) == notes


def test_the_same_note_of_many_places_is_one_line_wherever_it_is_printed() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates, self.maps = nn.Linear(3, 3), nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            g = torch.tanh(self.gates(x)).split(1, -1)
            return sum((p * torch.relu(m(x)) for p, m in zip(g, self.maps, strict=True)), torch.zeros_like(x))

    x = torch.randn(4, 3)
    found = lw.check(Gated(), args=x)
    laws, notes = found.laws, once(found.laws.notes)
    for text in (str(laws), str(found), str(lw.summary(Gated(), args=x)), laws._repr_html_()):
        assert text.count("weighted sum") <= sum("weighted sum" in n for n in notes)
    assert len(notes) <= len(laws.notes)


def test_a_set_of_laws_has_latex_where_there_is_no_html() -> None:
    laws = lw.derive(b.Linear(3, 4) >> b.ReLU() >> b.Linear(4, 2), "cross_entropy")
    text = laws._repr_latex_()
    assert text.startswith("$") and text.endswith("$") and text.count("&") == len(laws)
    assert lw.derive(b.Linear(3, 4) >> b.GELU())._repr_latex_() == ""


def test_what_is_printed_is_a_sentence() -> None:
    mlp = lw.families.mlp([2, 3, 1])
    count = lw.count(mlp)
    assert str(count).startswith("3 independent laws of 13 parameters: holds (") and "\n" not in str(count)
    assert repr(count).startswith("Count(laws=3, ")
    proved = lw.certificate(mlp).check()
    assert str(proved).startswith("exactly 3 independent laws of 13 parameters, proved modulo ")
    assert repr(proved).startswith("Proved(parameters=13, ")


def test_one_law_that_is_missing_is_one_and_one_point_is_one() -> None:
    linear = lw.check(b.Linear(1, 2, bias=False) >> b.Linear(2, 2, bias=False) >> b.Linear(2, 1, bias=False))
    if linear.difference == 1:
        assert "the count sees 1 more law than is listed" in str(linear)
    for entry in catalog.search(kind="balance", limit=20):
        assert "at 1 random points" not in reliability(entry)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_character_is_printed_as_a_number_where_it_can_be_spelled(encoding: str) -> None:
    said = "‖W‖² ─●─ λ ∇h ∫ σ é ⊤ α ½ − ≠ ζ ψ à".encode(encoding, "lawful.spelled").decode(encoding)
    assert "\\u" not in said and "lambda" in said and "psi" in said, said
