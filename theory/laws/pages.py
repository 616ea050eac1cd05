"""How laws, proofs and counts look in notebooks: HTML with LaTeX formulas, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CELL = "text-align:left;vertical-align:top;padding:0.2em 0.6em"


class Printed:
    """A result whose whole text is what `print` shows: notebooks show it as well, and a prompt one line."""

    @property
    def gist(self) -> str:
        """What one line says of it."""
        return str(self).strip().splitlines()[-1]

    def __repr__(self) -> str:
        more = "; print it for the whole" if "\n" in str(self).strip() else ""
        return f"<{type(self).__name__}: {self.gist}{more}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """An HTML table.

    Args:
        head: names of the columns, plain text.
        rows: cells that are HTML already.
        caption: a line above the table, plain text.
    """
    top = "".join(f'<th style="{CELL}">{escape(h)}</th>' for h in head)
    body = "".join("<tr>" + "".join(f'<td style="{CELL}">{c}</td>' for c in row) + "</tr>" for row in rows)
    title = f"<caption style='text-align:left;font-weight:bold'>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def formula(latex: str) -> str:
    """A formula that the page's MathJax or KaTeX typesets."""
    return f"${escape(latex)}$"


def lines(texts: Iterable[str]) -> str:
    """A list of plain texts."""
    items = "".join(f"<li>{escape(t)}</li>" for t in texts)
    return f"<ul>{items}</ul>" if items else ""


def facts(pairs: Iterable[tuple[str, object]], caption: str = "") -> str:
    """A table of names and values."""
    return table(("", ""), ((escape(name), escape(str(value))) for name, value in pairs), caption)
