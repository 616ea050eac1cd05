"""The papers behind the entries: what every short name stands for, and how to cite it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from lawful.theory.arguments import of_right_kinds

from .record import Record

OWN = "lawful"  # theorems of this library


@dataclass(frozen=True)
@of_right_kinds
class Source:
    """A paper.

    Attributes:
        key: its short name, as the entries use it.
        kind: type of its BibTeX record.
        authors: their names; `others` stands for those that are not listed.
        title: of the paper.
        venue: where it appeared.
        year: when.
        arxiv: its number there, may be empty.
        doi: its digital object identifier, may be empty.
        about: what it brings.
    """

    key: str
    kind: str
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    arxiv: str = ""
    doi: str = ""
    about: str = ""

    @property
    def url(self) -> str:
        """Where it can be read; empty for software."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""

    def __str__(self) -> str:
        names = ", ".join("et al." if a == "others" else a for a in self.authors).replace(", et al.", " et al.")
        where = f" arXiv:{self.arxiv}." if self.arxiv else f" doi:{self.doi}." if self.doi else ""
        return f"{names}: {self.title}. {self.venue} {self.year}.{where}"

    @property
    def bibtex(self) -> str:
        """Its BibTeX record."""
        place = {"inproceedings": "booktitle", "article": "journal", "software": "note"}[self.kind]
        fields = {"author": " and ".join(self.authors), "title": f"{{{self.title}}}", place: self.venue}
        fields["year"] = str(self.year)
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        if self.doi:
            fields["doi"] = self.doi
        lines = "".join(f"  {k} = {{{_escaped(v)}}},\n" for k, v in fields.items() if v)
        return f"@{self.kind}{{{self.key},\n{lines}}}\n"


@cache
def sources() -> dict[str, Source]:
    """All papers by short name, and the library itself."""
    text = files("lawful.catalog").joinpath("data/bibliography.json").read_text(encoding="utf-8")
    found = {k: Source(k, **{**v, "authors": tuple(v["authors"])}) for k, v in json.loads(text).items()}
    own = Source(
        OWN,
        "software",
        ("The lawful developers",),
        "lawful: conservation laws of gradient training, derived, proved and counted",
        f"Python library, version {version('lawful')}",
        2026,
        about="theorems and counts of this library, re-run by `lawful catalog verify`",
    )
    return found | {OWN: own}


def cited(entry: Record) -> list[Source]:
    """The papers that an entry cites, each once, in its order.

    Raises:
        KeyError: for a short name that the bibliography does not have.
    """
    known = sources()
    keys = dict.fromkeys(re.findall(r"\b([a-z]+(?:19|20)\d\d|lawful)\b", entry.source))
    return [known[k] for k in keys]


def bibtex(entry: Record) -> str:
    """BibTeX of all papers that an entry cites."""
    return "\n".join(s.bibtex for s in cited(entry))


def described(entry: Record) -> list[str]:
    """Authors and years of the sources of an entry, and the titles where it is about a paper, to be found by."""
    papers = [s for s in cited(entry) if s.key != OWN]
    return [" ".join((*s.authors, str(s.year), *([] if entry.is_law else [s.title]))) for s in papers]


def surnames(entry: Record) -> list[str]:
    """The last names of those who wrote the sources of an entry: who asks for "Du et al" asks for these."""
    return [a.split()[-1] for s in cited(entry) if s.key != OWN for a in s.authors if a != "others"]


def _escaped(text: str) -> str:
    return re.sub(r"([&%#_])", r"\\\1", text)
