"""Notes on a list of laws: those that say what may be missing, and facts that a reader should know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..arguments import plural

NAMED = 4  # places that a note names
PLACE = re.compile(
    r"(?=.*\d)(?=.*[.#\[])"
)  # a word that names a place by a number: `layers.3.mlp`, `weigh#2`, `W[0:4]`


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


def once(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes as people read them: those that differ by the name of a place only are said once, with the places.

    Returns:
        The first note of every kind, followed by the places of the others; facts stay facts.
    """
    kinds: dict[tuple[object, ...], list[str]] = {}
    for note in dict.fromkeys(notes):
        first, *rest = note.split(" ")
        shape = tuple("*" if PLACE.match(word.rstrip(".,:;")) else word for word in rest)
        kinds.setdefault((isinstance(note, Fact), "*" if rest else first, *shape), []).append(note)
    return tuple(_joined(like) for like in kinds.values())


def _joined(like: Sequence[str]) -> str:
    if len(like) == 1:
        return like[0]
    words = [note.split(" ") for note in like]
    at = next(i for i in range(len(words[0])) if len({w[i] for w in words}) > 1)
    places = list(dict.fromkeys(w[at].rstrip(":,;") for w in words[1:]))
    more = f" and {plural(len(places) - NAMED, 'more place')}" if len(places) > NAMED else ""
    said = f"{like[0]} (likewise {', '.join(places[:NAMED])}{more})"
    return Fact(said) if isinstance(like[0], Fact) else said
