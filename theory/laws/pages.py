"""How laws, proofs and counts look in notebooks: HTML with LaTeX formulas, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CELL = "text-align:left;vertical-align:top;padding:0.2em 0.6em"


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
