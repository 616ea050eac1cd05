"""Notes on a list of laws: those that say what may be missing, and facts that a reader should know."""

from __future__ import annotations

from collections.abc import Iterable


class Fact(str):
    """A note that states something and names no law that may be missing: "not read at the example's shape".

    Every other note is a gap: it says where laws may be missing.
    """

    __slots__ = ()


def facts(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes that only state something."""
    return tuple(n for n in notes if isinstance(n, Fact))


def gaps(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes that say where laws may be missing."""
    return tuple(n for n in notes if not isinstance(n, Fact))
