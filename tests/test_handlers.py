"""Handlers of operations stand side by side: what several of them do stands below them, and none asks another."""

import ast
from pathlib import Path

import pytest
from repository import ROOT

TRACING = ROOT / "graph" / "tracing"
HANDLERS = sorted(p for p in (TRACING / "ops").glob("*.py") if p.stem != "__init__")
STEPS = sorted(p for p in (TRACING / "steps").glob("*.py") if p.stem != "__init__")


def imported(path: Path) -> set[str]:
    """What a file imports of tracing, from within its folder: `.maps`, `..steps.maps`, `..context`."""
    found = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)]
    return {"." * n.level + (n.module or "") for n in found if n.level}


@pytest.mark.parametrize("path", HANDLERS, ids=lambda p: p.stem)
def test_no_handler_imports_another(path: Path) -> None:
    assert [name for name in imported(path) if not name.startswith("..")] == []


@pytest.mark.parametrize("path", [*HANDLERS, *STEPS], ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_handlers_and_steps_know_the_context_only(path: Path) -> None:
    above = {"..lowering", "..unfinished", "..attempt", "..trace", "..ops"}
    assert {name for name in imported(path) if ".".join(name.split(".")[:3]) in above} == set()


@pytest.mark.parametrize("path", STEPS, ids=lambda p: p.stem)
def test_steps_register_nothing(path: Path) -> None:
    assert "handles(" not in path.read_text(encoding="utf-8")


def test_every_file_of_handlers_is_registered() -> None:
    from lawful.graph.tracing import ops

    assert sorted(ops.__all__) == [p.stem for p in HANDLERS]
