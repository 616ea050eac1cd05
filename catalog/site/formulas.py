"""Prerenders the formulas of all entries: `python -m lawful.catalog.site.formulas`, beside the npm package katex."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from ..entry import Entry
from ..store import entries


@cache
def rendered() -> dict[str, str]:
    """MathML by LaTeX."""
    text = files("lawful.catalog").joinpath("data/rendered/formulas.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def formula(entry: Entry) -> str:
    """The statement of an entry as MathML; as plain text where it was not prerendered, as for your own laws."""
    return rendered().get(entry.latex) or f"<span class='plain'>{escape(entry.text)}</span>"


def main() -> None:
    """Writes the data file."""
    here = files("lawful.catalog")
    wanted = sorted({e.latex for e in entries()})
    script = str(here.joinpath("site", "formulas.mjs"))
    run = subprocess.run(["node", script], input=json.dumps(wanted), capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    found = dict(sorted(json.loads(run.stdout).items()))
    path = Path(str(here)) / "data" / "rendered" / "formulas.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(f"{path}: {len(found)} formulas")


if __name__ == "__main__":
    main()
