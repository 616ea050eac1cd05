"""Imports run one way between wings, no files import one another, and the page about the house is true."""

import re

import pytest
from repository import ROOT, modules
from wings import CORE, FLOOR, PAGE, PARTS, against_the_order, circles, core, picture, wing, written

LONGEST = 350  # lines of a file without a sentence that says why it is longer


def test_every_file_stands_in_a_wing() -> None:
    homeless = [n for n, path in modules().items() if wing(path) not in {*FLOOR, "theory", "graph"}]
    assert homeless == []


def test_no_wing_imports_one_above_it() -> None:
    assert against_the_order() == []


def test_no_files_import_one_another() -> None:
    assert circles() == []


@pytest.mark.parametrize("folder", sorted(w for w in FLOOR if "/" in w and w != "theory/losses"))
def test_every_wing_says_what_it_answers(folder: str) -> None:
    """What it answers, what it imports, and which file to read first: in the text at its door."""
    text = (ROOT / folder / "__init__.py").read_text(encoding="utf-8")
    if folder not in ("theory/flows", "theory/search", "graph/tracing", "graph/families"):
        assert text.count("import ") == 0
    assert "Answers:" in text and "Imports:" in text and "Read first:" in text


def test_long_files_say_why() -> None:
    """`This file is long because ...` in the docstring."""
    others = {str(p): p for folder in ("tests", "benchmarks", "examples") for p in (ROOT / folder).rglob("*.py")}
    found = {n: path.read_text(encoding="utf-8") for n, path in (modules() | others).items()}
    long = [n for n, text in found.items() if text.count("\n") > LONGEST and "This file is long because" not in text]
    assert long == []


def test_the_page_is_what_the_imports_say() -> None:
    """Only sizes may differ; `python tests/wings.py` mends it."""
    page = PAGE.read_text(encoding="utf-8")

    def shape(text: str) -> str:
        return re.sub(r"[\d,]+ (files|lines)|\| [\d,]+ \|", "", text)

    assert shape(picture()) in shape(page) and shape(core()) in shape(page)
    assert shape(written(page)) == shape(page)


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_file_of_the_trusted_core_is_there(part: str) -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in PARTS[part])
    assert {part for parts in CORE.values() for part in parts} == set(PARTS)


def test_every_path_on_the_page_exists() -> None:
    """A page that sends readers to a file that has moved is worse than none."""
    page = PAGE.read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:theory|blocks|graph|dynamics|catalog|testing|tests|docs|lawful)/[\w/.*-]+)`", page))
    assert len(paths) > 40
    assert [p for p in sorted(paths) if not list(ROOT.glob(p.rstrip("/")))] == []
