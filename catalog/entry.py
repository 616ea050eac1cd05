"""An entry of the catalog: the data of a record, with its page, its sources and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from . import html
from .bibliography import bibtex
from .page import page
from .record import Record
from .trust import trust


@dataclass(frozen=True, repr=False)
class Entry(Record):
    """One law of one setting, the statement that a setting has none, or what a paper, theorem or optimizer says.

    Its fields are those of `Record`.
    """

    @property
    def bibtex(self) -> str:
        """BibTeX of its sources."""
        return bibtex(self)

    @property
    def trust(self) -> tuple[str, str, str]:
        """Three lines: completeness, reliability, source; generated from the certificate and the sources."""
        return trust(self)

    def __str__(self) -> str:
        return page(self)

    def __repr__(self) -> str:
        return f"<Entry {self.id}: {self.title}>"

    def _repr_html_(self) -> str:
        return html.fragment(self)
