"""Addresses of pages, and links to them."""

from __future__ import annotations

import hashlib
import re
from html import escape


def url(id: str) -> str:
    """The page of an entry, from the front page: a name that every file system takes, two for no two ids."""
    return f"entry/{slug(id)}.html"


def slug(name: str) -> str:
    """A file name for any name; what is not plain is told apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:100] or "page"
    if plain.replace("-", "/") == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def link(address: str, text: str) -> str:
    """A link with its text escaped."""
    return f'<a href="{escape(address)}">{escape(text)}</a>'
