"""Your own laws beside the shipped ones: an SQLite file in the user's data folder, or the one `$LAWFUL_CATALOG` names.

Every change is one transaction that is on the disk before it is acknowledged; several processes may write at once, each
waits for the others.  What a newer version wrote is refused.  Reading a file runs nothing: entries are plain data.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .entry import Entry
from .search import index
from .search.ranking import Terms

FORMAT = 1  # of the file and of what is exported
MARK = 0x6C617766  # "lawf": the file is ours
WAIT = 60.0  # seconds for other processes
OWN = "own"  # how the ids of own entries begin
LARGEST = 200_000_000  # bytes of a file that is imported
LONGEST_NAME = 100
TABLES = f"CREATE TABLE entry (id TEXT PRIMARY KEY, name TEXT NOT NULL, data TEXT NOT NULL);\
CREATE INDEX entry_name ON entry (name);{index.TABLES}"


class ShelfError(ValueError):
    """The file of own entries cannot be read or written; says which and why."""


def path() -> Path:
    """The file of own entries."""
    given = os.environ.get("LAWFUL_CATALOG")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lawful" / "catalog.sqlite"


def add(name: str, entries: Sequence[Entry]) -> None:
    """Keeps entries under a name, in place of what was kept under it.

    Raises:
        ShelfError: for a name that cannot be kept, or a file that cannot be written; nothing is changed then.
    """
    checked_name(name)
    with _writing() as store:
        _drop(store, name)
        for entry in entries:
            _put(store, name, entry)


def remove(name: str) -> int:
    """Drops what was kept under a name; returns how many entries that were.

    Raises:
        KeyError: if nothing was; says what there is.
    """
    if not path().exists():
        raise KeyError(f"nothing is kept under the name {name!r}; you keep nothing of your own")
    with _writing() as store:
        count = _drop(store, name)
    if not count:
        raise KeyError(f"nothing is kept under the name {name!r}; there are {', '.join(names()) or 'none'}")
    return count


def names() -> dict[str, int]:
    """The names under which entries are kept, with the number of entries of each."""
    with _store() as store:
        return dict(store.execute("SELECT name, count(*) FROM entry GROUP BY name ORDER BY name")) if store else {}


def find(id: str) -> Entry | None:
    """An own entry, None where there is none."""
    return find_all([id]).get(id)


def find_all(ids: Sequence[str]) -> dict[str, Entry]:
    """Own entries by id, those of some ids that there are."""
    if not ids:
        return {}
    with _store() as store:
        marks = ", ".join("?" * len(ids))
        rows = store.execute(f"SELECT id, data FROM entry WHERE id IN ({marks})", list(ids)).fetchall() if store else []
    return {id: _read(data) for id, data in rows}


def all_entries(name: str | None = None) -> list[Entry]:
    """All own entries by id, or those that are kept under a name."""
    with _store() as store:
        if store is None:
            return []
        where, values = ("WHERE name = ?", (name,)) if name is not None else ("", ())
        rows = store.execute(f"SELECT data FROM entry {where} ORDER BY id", values).fetchall()
    return [_read(row[0]) for row in rows]


def export(to: Path, name: str | None = None) -> int:
    """Writes own entries to a file that `load` reads, whole or not at all; returns how many."""
    found = {n: all_entries(n) for n in ([name] if name is not None else names())}
    if not any(found.values()):
        raise KeyError(f"nothing is kept{f' under the name {name!r}' if name else ''}; there is nothing to export")
    data = {
        "format": FORMAT,
        "lawful": "catalog",
        "networks": {n: [e.to_data() for e in es] for n, es in found.items()},
    }
    beside = to.with_name(to.name + ".part")
    beside.write_text(json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(beside, to)
    return sum(map(len, found.values()))


def load(file: Path) -> dict[str, int]:
    """Keeps the entries of a file that `export` wrote, all or none; returns how many under each name.

    Raises:
        ShelfError: for a file that is no export, or of another version; nothing is changed then.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ShelfError(f"{file} is larger than {LARGEST:,} bytes; export it in parts with --name")
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ShelfError):
            raise
        raise ShelfError(f"cannot read {file}: {error}") from error
    if not isinstance(data, dict) or data.get("lawful") != "catalog" or not isinstance(data.get("networks"), dict):
        raise ShelfError(f"{file} is no export of a catalog; `lawful catalog export` writes one")
    if data.get("format") != FORMAT:
        raise ShelfError(f"{file} has format {data.get('format')!r}, this lawful reads {FORMAT}; export it again")
    found: dict[str, list[Entry]] = {}
    for name, rows in data["networks"].items():
        checked_name(name)
        try:
            found[name] = [Entry.from_data(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise ShelfError(f"{file}, {name}: {error}") from error
        strange = [e.id for e in found[name] if not e.id.startswith(f"{OWN}/{name}/")]
        if strange:
            raise ShelfError(f"{file}, {name}: the id {strange[0]!r} does not begin with {OWN}/{name}/")
    with _writing() as store:
        for name, entries in found.items():
            _drop(store, name)
            for entry in entries:
                _put(store, name, entry)
    return {name: len(entries) for name, entries in found.items()}


def checked_name(name: str) -> str:
    """A name that entries can be kept under.

    Raises:
        ShelfError: for one that is empty, too long, or has a slash or signs that cannot be printed.
    """
    if not name.strip() or len(name) > LONGEST_NAME or "/" in name or not name.isprintable():
        raise ShelfError(
            f"entries cannot be kept under {name!r}: a name has 1 to {LONGEST_NAME} printable signs and no slash"
        )
    return name


def frequencies(terms: Iterable[str]) -> dict[str, int]:
    """How many own entries have each of some terms."""
    with _store() as store:
        return index.frequencies(store, terms) if store else {}


def knows(word: str) -> bool:
    """Whether an own entry has a word."""
    return bool(frequencies([word]))


def candidates(terms: Iterable[str], frequency: Mapping[str, int]) -> list[Terms]:
    """Own entries that have some of the terms."""
    if not frequency:
        return []
    with _store() as store:
        return index.candidates(store, terms, frequency) if store else []


@contextmanager
def _writing() -> Iterator[sqlite3.Connection]:
    """The file inside one transaction, made where it does not exist."""
    with _store(write=True) as store:
        assert store is not None
        yield store


@contextmanager
def _store(write: bool = False) -> Iterator[sqlite3.Connection | None]:
    """The file, inside one transaction where it is written; None where it does not exist and is only read."""
    file = path()
    if not write and not file.exists():
        yield None
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise ShelfError(f"cannot open {file}: {error}") from error
    try:
        store.execute("PRAGMA trusted_schema = OFF")
        store.execute("PRAGMA synchronous = FULL")
        _checked(store, file)
        store.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            if write and not store.execute("PRAGMA user_version").fetchone()[0]:
                for statement in TABLES.split(";"):
                    store.execute(statement)
                store.execute(f"PRAGMA application_id = {MARK}")
                store.execute(f"PRAGMA user_version = {FORMAT}")
            yield store if store.execute("PRAGMA user_version").fetchone()[0] else None
            store.execute("COMMIT")
        except BaseException:
            if store.in_transaction:
                store.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise ShelfError(f"{file}: {error}; nothing was changed") from error
    finally:
        store.close()


def _checked(store: sqlite3.Connection, file: Path) -> None:
    found, mark = (store.execute(f"PRAGMA {p}").fetchone()[0] for p in ("user_version", "application_id"))
    if found == 0 and not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return
    if mark != MARK:
        raise ShelfError(f"{file} is an SQLite file of something else; point LAWFUL_CATALOG at another place")
    if found != FORMAT:
        raise ShelfError(
            f"{file} has format {found}, this lawful reads {FORMAT}: use the lawful that wrote it, or export it there"
        )


def _put(store: sqlite3.Connection, name: str, entry: Entry) -> None:
    data = json.dumps(entry.to_data(), ensure_ascii=False, allow_nan=False)
    store.execute("INSERT OR REPLACE INTO entry (id, name, data) VALUES (?, ?, ?)", (entry.id, name, data))
    index.put(store, entry)


def _drop(store: sqlite3.Connection, name: str) -> int:
    ids = [row[0] for row in store.execute("SELECT id FROM entry WHERE name = ?", (name,))]
    for id in ids:
        index.drop(store, id)
    store.execute("DELETE FROM entry WHERE name = ?", (name,))
    return len(ids)


def _read(text: str) -> Entry:
    try:
        return Entry.from_data(json.loads(text))
    except ValueError as error:
        raise ShelfError(f"{path()} has an entry that cannot be read: {error}") from error
