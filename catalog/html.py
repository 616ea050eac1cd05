"""An entry and a list of entries as HTML: plain elements, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .entry import Entry
from .page import rows, short

if TYPE_CHECKING:
    from .find import Found


def fragment(entry: Entry, optimizer: str = "") -> str:
    """An entry for a notebook."""
    head, title, _, *rest = rows(entry, optimizer)
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


def listing(found: Found) -> str:
    """A list of entries for a notebook."""
    items = "".join(item(e, found.understood.optimizer) for e in found)
    said = escape(str(found.understood))
    near = "<p>Nothing in the catalog answers this; the nearest entries are:</p>" if found.nearest else ""
    return f'<div class="lawful-found">{f"<p>{said}</p>" if said else ""}{near}<ol>{items}</ol></div>'


def item(entry: Entry, optimizer: str = "") -> str:
    """One entry of a list."""
    lines: Sequence[str] = short(entry, optimizer)
    return f"<li><code>{escape(entry.id)}</code> {escape(entry.title)}<br>{'<br>'.join(map(escape, lines))}</li>"
