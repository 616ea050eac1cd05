"""The shipped entries: readable JSON, one file for each group."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from .entry import Entry

FORMAT = 2  # of the data files


@cache
def _read(folder: str) -> tuple[Entry, ...]:
    data = files("lawful.catalog").joinpath("data")
    place = data.joinpath(folder) if folder else data
    texts = [f.read_text(encoding="utf-8") for f in place.iterdir() if f.name.endswith(".json")]
    found = [Entry.from_data(d) for text in texts for d in json.loads(text)["entries"]]
    return tuple(sorted(found, key=lambda e: e.id))


def laws() -> list[Entry]:
    """The laws of every block, by id."""
    return list(_read("laws"))


def entries() -> list[Entry]:
    """All shipped entries by id: laws, claims of papers, theorems, families, optimizers."""
    return list(_shipped())


@cache
def _shipped() -> tuple[Entry, ...]:
    return tuple(sorted((*_read("laws"), *_read("texts")), key=lambda e: e.id))


@cache
def by_id() -> dict[str, Entry]:
    """The shipped entries by id."""
    return {e.id: e for e in _shipped()}
