"""Reading and searching the entries."""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib.resources import files

from .entry import Entry

KINDS = ("balance", "frozen", "none", "shift")


@cache
def _all() -> tuple[Entry, ...]:
    text = files("lawful.catalog").joinpath("data/laws.json").read_text(encoding="utf-8")
    return tuple(Entry.from_data(d) for d in json.loads(text)["entries"])


def entries() -> list[Entry]:
    """All entries, by id."""
    return list(_all())


def get(id: str) -> Entry:
    """One entry.

    Raises:
        KeyError: for an id that does not exist; names those that are close.
    """
    for entry in _all():
        if entry.id == id:
            return entry
    known = [e.id for e in _all()]
    near = [k for k in known if id and id.lower() in k.lower()][:5] or difflib.get_close_matches(id, known, 5, 0.4)
    raise KeyError(
        f"no entry {id!r} in the catalog; "
        + (f"close are {', '.join(near)}" if near else "lawful.catalog.search() lists all")
    )


def search(
    text: str | None = None, *, block: str | None = None, kind: str | None = None, source: str | None = None
) -> list[Entry]:
    """The entries that match everything that is given, by id; upper and lower case do not matter.

    Args:
        text: words that must all occur in the id, group, title, statement, hypotheses, source or names of blocks.
        block: a block or composite the setting is about, or a kind of block in it (`"ReLU"`, `"SelfAttention"`).
        kind: `balance`, `shift`, `frozen` or `none`.
        source: part of the source (`"marcotte2025"`).

    Raises:
        ValueError: for a kind or a block that no entry has; lists those there are.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"no kind of law {kind!r}; there are {', '.join(KINDS)}")
    blocks = sorted({name for e in _all() for name in (e.block, *e.blocks)})
    if block is not None and block.lower() not in map(str.lower, blocks):
        near = difflib.get_close_matches(block, blocks, 5, 0.5) or blocks
        raise ValueError(f"no entry is about a block {block!r}; there are {', '.join(near)}")
    words = (text or "").lower().split()
    return [
        e
        for e in _all()
        if (kind is None or e.kind == kind)
        and (block is None or block.lower() in (name.lower() for name in (e.block, *e.blocks)))
        and (source is None or source.lower() in e.source.lower())
        and all(word in _haystack(e) for word in words)
    ]


def _haystack(e: Entry) -> str:
    parts = (e.id, e.group, e.title, e.statement_text, *e.hypotheses, e.source, e.block, *e.blocks, e.algebra, e.loss)
    return " ".join(parts).lower()
