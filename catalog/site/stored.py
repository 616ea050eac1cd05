"""What the pages show and others drew before: the drawings of the families."""

from __future__ import annotations

import re
from importlib.resources import files


def family(name: str) -> str:
    """The drawing of a published family, as HTML for a page in a folder; empty where there is none."""
    file = files("lawful.catalog").joinpath("data", "rendered", "families", f"{name}.html")
    plain = re.fullmatch(r"[a-z0-9_]+", name)  # an entry from a stranger names no other file
    return file.read_text(encoding="utf-8") if plain and file.is_file() else ""
