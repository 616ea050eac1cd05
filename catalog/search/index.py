"""The index of the shipped entries: an SQLite file with full text (FTS5), built once per version in the user's cache.

Where the cache cannot be written, the index is in memory.  A file that was left half written is never read: it is built
under another name and moved into place when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from ..entry import Entry
from ..store import entries
from .documents import document
from .ranking import Terms

MOST = 400  # candidates that are ranked
MANY = 4000  # entries with some term: beyond, only the rarest terms choose
WEIGHTS = "0, 10, 8, 6, 1"  # of the columns in the first choice of candidates
TABLES = """\
CREATE TABLE terms (row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, kind TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(id UNINDEXED, name, head, law, body, tokenize = 'unicode61');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab('words', 'row');
"""


def cache_folder() -> Path:
    """Where the index goes: `$XDG_CACHE_HOME/lawful`, or the same in the user's home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lawful"


def put(store: sqlite3.Connection, entry: Entry) -> None:
    """Puts the terms of an entry into the tables, in place of what was there."""
    d = document(entry)
    drop(store, entry.id)
    cursor = store.execute("INSERT INTO terms (id, kind) VALUES (?, ?)", (entry.id, entry.kind))
    columns = [" ".join(part) for part in (d.name, d.head, d.law, d.body)]
    store.execute(
        "INSERT INTO words (rowid, id, name, head, law, body) VALUES (?, ?, ?, ?, ?, ?)",
        (cursor.lastrowid, entry.id, *columns),
    )


def drop(store: sqlite3.Connection, id: str) -> None:
    """Takes the terms of an entry out of the tables."""
    row = store.execute("SELECT row FROM terms WHERE id = ?", (id,)).fetchone()
    if row is not None:
        store.execute("DELETE FROM words WHERE rowid = ?", row)
        store.execute("DELETE FROM terms WHERE row = ?", row)


def candidates(store: sqlite3.Connection, asked: Iterable[str], frequency: Mapping[str, int]) -> list[Terms]:
    """The entries that have some of the terms, those with the rarest ones first, at most `MOST`.

    Args:
        store: an index.
        asked: terms, most important first.
        frequency: how many entries of this index have each.
    """
    chosen: list[str] = []
    total = 0
    for term in sorted(asked, key=lambda t: frequency.get(t, 0)):
        if frequency.get(term, 0):
            if chosen and total + frequency[term] > MANY:
                break
            chosen.append(term)
            total += frequency[term]
    if not chosen:
        return []
    rest = [t for t in asked if frequency.get(t, 0)]
    query = " OR ".join(f'"{t}"' for t in (rest if total <= MANY else chosen) if t.isalnum())
    order = f"bm25(words, {WEIGHTS})" if total <= MANY else "words.rowid"
    found = store.execute(
        "SELECT words.id, terms.kind, name, head, law, body FROM words JOIN terms ON terms.row = words.rowid "
        f"WHERE words MATCH ? ORDER BY {order} LIMIT ?",
        (query, MOST),
    )
    return [Terms(row[0], row[1], *(frozenset(part.split()) for part in row[2:])) for row in found]


def frequencies(store: sqlite3.Connection, terms: Iterable[str]) -> dict[str, int]:
    """How many entries of an index have each of some terms."""
    asked = list(dict.fromkeys(terms))
    marks = ", ".join("?" * len(asked))
    return dict(store.execute(f"SELECT term, doc FROM vocabulary WHERE term IN ({marks})", asked))


def shipped() -> sqlite3.Connection:
    """The index of the shipped entries."""
    return _opened(os.getpid())


@cache
def _opened(process: int) -> sqlite3.Connection:  # a connection must not pass through a fork
    path = cache_folder() / f"catalog-{_digest()}.sqlite"
    try:
        if not path.exists():
            _build(path)
        store = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
        if store.execute("SELECT count(*) FROM terms").fetchone()[0] == len(entries()):
            return store
        store.close()
    except (OSError, sqlite3.Error):
        pass  # a cache that cannot be used is not needed
    store = sqlite3.connect(":memory:", check_same_thread=False)
    _fill(store)
    return store


def _build(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".building")
    os.close(handle)
    try:
        store = sqlite3.connect(name)
        _fill(store)
        store.close()
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _fill(store: sqlite3.Connection) -> None:
    with store:
        store.executescript(TABLES)
        for entry in entries():
            put(store, entry)


@cache
def _digest() -> str:
    """Names the index of these data, this thesaurus and these rules."""
    here = files("lawful.catalog")
    mark = hashlib.sha256(version("lawful").encode())
    for folder in ("data", "data/laws", "data/texts"):
        for f in sorted(here.joinpath(folder).iterdir(), key=lambda f: f.name):
            if f.name.endswith(".json"):
                mark.update(f.read_bytes())
    for name in ("analysis.py", "documents.py", "index.py"):
        mark.update(here.joinpath("search", name).read_bytes())
    for name in ("wording.py", "bibliography.py"):
        mark.update(here.joinpath(name).read_bytes())
    return mark.hexdigest()[:16]


@cache
def known_words() -> dict[str, int]:
    """All terms of the shipped entries, with the number of entries that have each."""
    return dict(shipped().execute("SELECT term, doc FROM vocabulary"))
