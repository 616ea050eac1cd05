"""Generates the entries: `python -m lawful.catalog.build [PATH]`.

Without a path it replaces the data file of the library.  It takes two minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.resources import files
from pathlib import Path

import torch

from .entry import Entry
from .generate import generate
from .settings.groups import settings


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


def to_text(entries: list[Entry]) -> str:
    """The data file."""
    data = {"format": 1, "entries": [e.to_data() for e in entries]}
    return json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Writes the data file."""
    parser = argparse.ArgumentParser(
        prog="python -m lawful.catalog.build", description="Generate the entries of the catalog."
    )
    default = Path(str(files("lawful.catalog"))) / "data" / "laws.json"
    parser.add_argument(
        "path", nargs="?", type=Path, default=default, help="the file to write (default: the library's own)"
    )
    path = parser.parse_args(arguments).path
    torch.set_num_threads(1)  # the matrices are small
    path.write_text(to_text(build()), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
