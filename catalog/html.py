"""An entry and a list of entries as HTML: plain elements, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .page import rows, short
from .record import Record


def fragment(entry: Record) -> str:
    """An entry for a notebook."""
    head, title, _, *rest = rows(entry)
    body = []
    for label, text in rest:
        if label:
            body.append(f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>")
        elif text.strip():
            body.append(f"<tr><th></th><td>{escape(text.strip())}</td></tr>")
    return (
        f'<div class="lawful-entry"><h3><code>{escape(head[1])}</code></h3><p>{escape(title[1])}</p>'
        f'<table style="text-align:left">{"".join(body)}</table></div>'
    )


def item(entry: Record, optimizer: str = "") -> str:
    """One entry of a list."""
    lines: Sequence[str] = short(entry, optimizer)
    return f"<li><code>{escape(entry.id)}</code> {escape(entry.title)}<br>{'<br>'.join(map(escape, lines))}</li>"
