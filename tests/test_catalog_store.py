"""Your own laws: kept by several processes at once, through a kill, refused in another version, never run."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lawful import catalog
from lawful.catalog import shelf
from lawful.catalog.entry import Entry


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAWFUL_CATALOG", str(tmp_path / "own.sqlite"))
    return tmp_path / "own.sqlite"


def entry(name: str, number: int = 0, **other: str) -> Entry:
    data = {
        "id": f"own/{name}/balance/layer{number}",
        "kind": "balance",
        "title": f"layer {number} of {name}",
        "statement_text": "A - B",
        "statement_latex": "A - B",
        "source": "lawful",
        "setting": name,
    }
    return Entry(**(data | other))  # type: ignore[arg-type]


def test_a_formula_finds_your_own_laws_too() -> None:
    own = {"q": "Q7 Q7ᵀ - K7 K7ᵀ", "gain": "‖fc1.weight[i,:]‖² - 7 ‖fc2.weight[:,i]‖²"}
    shelf.add("zebra", [entry("zebra", i, statement_text=t, statement_latex=t) for i, t in enumerate(own.values())])
    for i, text in enumerate(own.values()):
        found = catalog.search(text)
        assert f"own/zebra/balance/layer{i}" in [e.id for e in found], found


def test_kept_found_exported_removed(tmp_path: Path) -> None:
    shelf.add("zebra", [entry("zebra", k) for k in range(3)])
    assert shelf.names() == {"zebra": 3}
    assert catalog.search("zebra")[0].id.startswith("own/zebra")
    assert catalog.get("own/zebra/balance/layer1").setting == "zebra"
    assert shelf.export(tmp_path / "out.json") == 3
    assert shelf.remove("zebra") == 3 and not shelf.names() and catalog.search("zebra").nearest
    assert shelf.load(tmp_path / "out.json") == {"zebra": 3}
    assert shelf.all_entries() == [entry("zebra", k) for k in range(3)]
    with pytest.raises(KeyError, match="'lion'; there are zebra"):
        shelf.remove("lion")


def test_adding_again_replaces() -> None:
    shelf.add("a", [entry("a", k) for k in range(3)])
    shelf.add("a", [entry("a", 7)])
    assert [e.id for e in shelf.all_entries("a")] == ["own/a/balance/layer7"]


@pytest.mark.parametrize("name", ["", " ", "a/b", "x" * 101, "a\nb", "\x1b[31m"])
def test_names_that_cannot_be_kept(name: str) -> None:
    with pytest.raises(shelf.ShelfError, match="a name has 1 to 100 printable signs"):
        shelf.add(name, [])


def test_hostile_names_are_shown_and_never_run(store: Path) -> None:
    for name in ("<script>alert(1)<", '"; DROP TABLE entry; --', "'); DELETE FROM entry; --", "[red]x[-red]"):
        shelf.add(name, [entry(name, title=name)])
    assert len(shelf.names()) == 4
    html = "".join(e._repr_html_() for e in shelf.all_entries())
    assert "<script" not in html and "&lt;script&gt;" in html
    catalog.search('"; DROP TABLE entry; --')
    assert len(shelf.names()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("PRAGMA user_version = 99", "has format 99, this lawful reads 1"),
        ("PRAGMA application_id = 5", "is an SQLite file of something else"),
    ],
)
def test_other_versions_and_files_are_refused(store: Path, change: str, said: str) -> None:
    shelf.add("a", [entry("a")])
    with sqlite3.connect(store) as other:
        other.execute(change)
    before = store.read_bytes()
    with pytest.raises(shelf.ShelfError, match=said):
        shelf.names()
    with pytest.raises(shelf.ShelfError, match=said):
        shelf.add("b", [entry("b")])
    assert store.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(store: Path) -> None:
    store.write_bytes(b"not a database at all" * 100)
    with pytest.raises(shelf.ShelfError, match=r"own\.sqlite: .*nothing was changed"):
        shelf.names()


@pytest.mark.parametrize(
    "data",
    [
        "[]",
        "{}",
        '{"lawful": "catalog", "format": 2, "networks": {}}',
        '{"lawful": "catalog", "format": 1, "networks": {"a": [{"id": "x"}]}}',
        '{"lawful": "catalog", "format": 1, "networks": {"a": [7]}}',
        '{"lawful": "catalog", "format": 1, "networks": {"a": 7}}',
        '{"lawful": "catalog", "format": 1, "networks": {"a/b": []}}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_strange_imports_change_nothing(tmp_path: Path, data: str) -> None:
    shelf.add("kept", [entry("kept")])
    (tmp_path / "in.json").write_text(data)
    with pytest.raises(shelf.ShelfError):
        shelf.load(tmp_path / "in.json")
    assert shelf.names() == {"kept": 1}


def test_an_import_cannot_take_the_id_of_another(tmp_path: Path) -> None:
    row = entry("a").to_data() | {"id": "attention/balance/heads.q"}
    (tmp_path / "in.json").write_text(json.dumps({"lawful": "catalog", "format": 1, "networks": {"a": [row]}}))
    with pytest.raises(shelf.ShelfError, match="does not begin with own/a/"):
        shelf.load(tmp_path / "in.json")


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_catalog_store import entry
from lawful.catalog import shelf
for k in range({count}):
    name = f"{name}-{{k}}"
    shelf.add(name, [entry(name, i) for i in range({size})])
    print(name, flush=True)
"""


def writer(name: str, count: int, size: int) -> subprocess.Popen:
    code = WRITER.format(tests=str(Path(__file__).parent), name=name, count=count, size=size)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_several_processes_write_at_once() -> None:
    running = [writer(name, 4, 5) for name in ("one", "two")]
    assert [p.communicate(timeout=120)[0].count("\n") for p in running] == [4, 4]
    assert sum(shelf.names().values()) == 2 * 4 * 5


def test_a_kill_loses_nothing_that_was_acknowledged() -> None:
    process = writer("victim", 1000, 20)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(3)]
    time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.communicate()[0].split()
    found = shelf.names()
    assert {*said, *rest} <= set(found) and set(found.values()) == {20}  # whole networks only
    assert catalog.search("victim")[0].setting.startswith("victim")


def test_a_full_disk_is_said_and_keeps_what_was_there(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.add("kept", [entry("kept")])
    opened = sqlite3.connect

    def full(*args: object, **options: object) -> sqlite3.Connection:
        found = opened(*args, **options)  # type: ignore[arg-type]
        found.execute(f"PRAGMA max_page_count = {found.execute('PRAGMA page_count').fetchone()[0]}")
        return found

    monkeypatch.setattr(shelf.sqlite3, "connect", full)
    with pytest.raises(shelf.ShelfError, match="full; nothing was changed"):
        shelf.add("more", [entry("more", k, also="words " * 500) for k in range(200)])
    monkeypatch.undo()
    os.environ["LAWFUL_CATALOG"] = str(store)
    assert shelf.names() == {"kept": 1}


def test_thousands_of_own_laws_stand_beside_the_shipped_ones() -> None:
    for k in range(20):
        name = f"net{k}"
        shelf.add(name, [entry(name, i, also="attention query key balance") for i in range(100)])
    assert catalog.search("net17 layer 3")[0].id == "own/net17/balance/layer3"
    assert not catalog.search("does Adam keep the balance of attention")[0].id.startswith("own/")
