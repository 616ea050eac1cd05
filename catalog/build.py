"""Generates the entries: `python -m lawful.catalog.build [PATH]`.

Without a path it replaces the data files of the library, one for each group of blocks.  It takes two minutes on a core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import torch

from .entry import Entry
from .generate import generate
from .settings.groups import settings
from .store import FORMAT


def build() -> list[Entry]:
    """All entries, by id.

    Raises:
        ValueError: if a check fails, or two laws have one id.
    """
    found: dict[str, Entry] = {}
    for setting in settings():
        print(f"{setting.name}: {setting.title}", file=sys.stderr, flush=True)
        for entry in generate(setting):
            if entry.id in found:
                raise ValueError(f"two laws have the id {entry.id!r}; rename one of their settings")
            found[entry.id] = entry
    return [found[i] for i in sorted(found)]


def to_texts(entries: list[Entry]) -> dict[str, str]:
    """The data files, by name: one for each group."""
    groups: dict[str, list[Entry]] = {}
    for e in entries:
        groups.setdefault(f"{re.sub('[^a-z]+', '-', e.group.lower())}.json", []).append(e)
    return {name: to_text(found) for name, found in groups.items()}


def to_text(entries: list[Entry]) -> str:
    """One data file."""
    data = {"format": FORMAT, "entries": [e.to_data() for e in entries]}
    return json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Writes the data files."""
    parser = argparse.ArgumentParser(
        prog="python -m lawful.catalog.build", description="Generate the entries of the catalog."
    )
    default = Path(str(files("lawful.catalog"))) / "data" / "laws"
    parser.add_argument(
        "path", nargs="?", type=Path, default=default, help="the folder to write (default: the library's own)"
    )
    path = parser.parse_args(arguments).path
    torch.set_num_threads(1)  # the matrices are small
    texts = to_texts(build())
    path.mkdir(parents=True, exist_ok=True)
    for old in path.glob("*.json"):
        old.unlink()
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
