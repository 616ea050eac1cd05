"""Notes on missing laws are read by people who know networks, not by those who know this house."""

import ast
import re
from pathlib import Path

import pytest

from lawful.theory.derive import limits

FILES = sorted(Path(limits.__file__).parent.glob("*.py"))
# words of this house, and riddles: a note speaks of layers, features, positions, weights
HOUSE = re.compile(r"\b(wires?|maps?|sites?|gauges?|taps?|skew|blind|here and|of both|weighs?|never there)\b")


def sentences(file: Path) -> list[str]:
    """The texts of a file that are no docstrings, with holes for what is put in."""
    tree = ast.parse(file.read_text())
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    parts = {id(c) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for c in n.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(c.value) if isinstance(c, ast.Constant) else "_" for c in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docs | parts):
            found.append(node.value)
    return [text for text in found if " " in text]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_notes_use_no_words_of_the_house(file: Path) -> None:
    assert not [text for text in sentences(file) if HOUSE.search(text)]


def test_every_note_says_where() -> None:
    """A sentence that is yielded begins with a name: of a block, a parameter, an output."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Yield) and isinstance(node.value, ast.Constant):
                pytest.fail(f"{file.name}:{node.lineno}: {node.value.value}")
