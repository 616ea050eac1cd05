"""Which kinds of notes a survey met, on how many modules, and on how many of these laws are really missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lawful.theory.laws.notes import Fact

PLACE = re.compile(r" at \S+\.py:\d+: .*?(?=: )|#\d+")  # a line of source, the number of a repeated name
NUMBER = re.compile(r"\b\d+(?:[.,]\d+)*(?:e[+-]?\d+)?\b")
WIDEST = 150  # of a sentence in the table


def sentence(note: str, names: Iterable[str]) -> str:
    """The kind of a note: what it says with names and numbers replaced.

    Args:
        note: what the library said.
        names: of the parameters and values of the module.
    """
    text = PLACE.sub("", note)
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b(?:\.\w+\([\d,]*\)|\[[\d:,]*\])*", "_", text)
    text = NUMBER.sub("n", text)
    return re.sub(r"_(?:(?:, | and )_)+", "_", text)


@dataclass
class Kind:
    """What a survey has seen of one kind of notes.

    Attributes:
        fact: whether such a note names nothing that may be missing.
        modules: how many have it.
        alone: how many have no other kind that says what may be missing.
        missing: on how many laws are really missing: the referee counts more.
    """

    fact: bool
    modules: int = 0
    alone: int = 0
    missing: int = 0


@dataclass
class Breakdown:
    """The kinds of notes of many modules, by their sentence."""

    kinds: dict[str, Kind] = field(default_factory=dict)

    def note(self, notes: Iterable[str], names: Iterable[str], missing: bool) -> None:
        """Counts the notes of one module.

        Args:
            notes: what the library said.
            names: of the parameters and values of the module.
            missing: whether the referee counts more laws than were derived.
        """
        known = list(names)
        found = {sentence(n, known): isinstance(n, Fact) for n in notes}
        many = sum(not fact for fact in found.values())
        for text, fact in found.items():
            kind = self.kinds.setdefault(text, Kind(fact))
            kind.modules += 1
            kind.missing += missing
            kind.alone += many == 1 and not fact

    def add(self, other: Breakdown) -> None:
        """Counts those of another survey as well."""
        for text, new in other.kinds.items():
            kind = self.kinds.setdefault(text, Kind(new.fact))
            kind.modules += new.modules
            kind.alone += new.alone
            kind.missing += new.missing

    @property
    def table(self) -> str:
        """One line for every kind, the most frequent first, facts after what may be missing."""
        rows = sorted(self.kinds.items(), key=lambda item: (item[1].fact, -item[1].modules, item[0]))
        lines = ["modules   alone  really missing  note"] if rows else []
        for text, kind in rows:
            cut = text if len(text) <= WIDEST else f"{text[:WIDEST]}..."
            lines.append(f"{kind.modules:7} {kind.alone:7} {kind.missing:15}  {'fact: ' * kind.fact}{cut}")
        return "\n".join(lines)
