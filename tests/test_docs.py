"""Every example that the documentation shows runs and prints what is shown.

Examples are the doctests of the modules, and in README.md and docs/ each fenced block marked `python`: one with `>>>`
as a doctest, any other as a script. The blocks of one page share their names, from top to bottom.
"""

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT, modules

import lawful.blocks

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = {name: path for name, path in modules().items() if ">>>" in path.read_text(encoding="utf-8")}
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.exists()]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
README = [(TEXT.count("\n", 0, m.start(1)) + 1, m[1]) for m in BLOCK.finditer(TEXT)]

pytestmark = pytest.mark.docs


def run(test: doctest.DocTest) -> None:
    """Runs one doctest and fails with its whole report. Names that it makes stay in `test.globs`."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    if report:
        pytest.fail("".join(report), pytrace=False)


def run_page(text: str, path: Path) -> None:
    """Runs the examples of one page."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        if ">>>" in block[1]:
            test = doctest.DocTestParser().get_doctest(block[1], names, path.name, str(path), line)
            run(test)
            names = test.globs  # a DocTest works on a copy
        else:
            exec(compile("\n" * line + block[1], str(path), "exec"), names)


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module: str) -> None:
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    assert any(test.examples for test in tests), f"{module} contains >>>, but no doctest"
    for test in tests:
        run(test)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks that a page registers are forgotten with it: random architectures of other tests must not draw them.
    monkeypatch.setattr("lawful.blocks.registry._KINDS", lawful.blocks.kinds())
    run_page(path.read_text(encoding="utf-8"), path)


@pytest.mark.parametrize("block", README, ids=lambda block: f"line {block[0]}")
def test_every_example_of_the_readme_runs_when_it_is_pasted_alone(block: tuple[int, str]) -> None:
    line, text = block
    run_page("\n" * (line - 2) + f"```python\n{text}```\n", ROOT / "README.md")


@pytest.mark.parametrize(
    "block",
    [">>> 1 + 1\n3\n", "assert 1 + 1 == 3\n", ">>> x = 1\n```\n```python\nassert x == 2\n", ">>> undefined\n"],
)
def test_a_wrong_example_is_refused(block: str) -> None:
    with pytest.raises((pytest.fail.Exception, AssertionError)):
        run_page(f"# Page\n\n```python\n{block}```\n", ROOT / "page.md")
