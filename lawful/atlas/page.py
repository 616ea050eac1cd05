"""What the atlas shows: numbers by source, a page with a table to sort and filter, and a summary for the docs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from .record import STATUSES, Record, write_csv
from .run import versions

HEADINGS = (
    *(
        "source",
        "models",
        "derived",
        "with a rule for every operation",
        "by degrees",
        "with opaque",
        "failed",
        "not built",
        "not installed",
    ),
    *("verified", "by a sibling", "violated", "scalar laws"),
)
SOURCES = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers", "ours": "other packages"}
MOST = 15  # reasons and operations that the summary lists


def summary(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row of numbers for every source and one for all, under `HEADINGS`."""
    sources = [s for s in SOURCES if any(r.source == s for r in records)]
    rows = [_row(SOURCES[s], [r for r in records if r.source == s]) for s in sources]
    return rows if len(rows) == 1 else [*rows, _row("all", records)]


def _row(title: str, records: Sequence[Record]) -> tuple[str, ...]:
    status = Counter(r.status for r in records)
    held = [r for r in records if r.verdict in ("holds", "approximate")]
    numbers = (
        len(records),
        sum(r.derived for r in records),
        *(status[s] for s in STATUSES),
        sum(r.verified for r in held),
        sum(not r.verified for r in held),
        sum(r.verdict == "violated" for r in records),
        sum(r.scalars for r in records),
    )
    return title, *(f"{n:,}" for n in numbers)


def write_page(path: Path, records: Sequence[Record]) -> Path:
    """Writes one HTML page that needs no network."""
    from jinja2 import Environment  # the extra `site`, which docs and journal do without

    source = files("lawful.atlas").joinpath("page.html").read_text(encoding="utf-8")
    bars = [(SOURCES[s], [r for r in records if r.source == s]) for s in SOURCES]
    text = (
        Environment(autoescape=True)
        .from_string(source)
        .render(
            headings=HEADINGS,
            summary=summary(records),
            bars=[(title, _shares(group)) for title, group in bars if group],
            versions=_versions(),
            # A closing tag inside of a string would end the script that holds it.
            data=json.dumps([r.to_data() for r in records], separators=(",", ":")).replace("<", "\\u003c"),
        )
    )
    path.write_text(text, encoding="utf-8")
    return path


def _shares(records: Sequence[Record]) -> list[tuple[str, int, float]]:
    """Number and percentage by status."""
    count = Counter(r.status for r in records)
    return [(s, count[s], 100 * count[s] / len(records)) for s in STATUSES if count[s]]


def _versions() -> str:
    return ", ".join(f"{library} {number}" for library, number in versions().items() if number)


def write_docs(folder: Path, records: Sequence[Record], listed: Mapping[str, int] | None = None) -> tuple[Path, Path]:
    """Writes `atlas.md`, the summary, and `atlas.csv`, the table, into a folder.

    Args:
        folder: where they go.
        records: what was measured.
        listed: how many models every source lists, where that is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, table = folder / "atlas.md", folder / "atlas.csv"
    page.write_text(docs_text(records, listed or {}), encoding="utf-8")
    write_csv(table, records)
    return page, table


def docs_text(records: Sequence[Record], listed: Mapping[str, int] = MappingProxyType({})) -> str:
    """The summary in Markdown (see `write_docs`)."""
    measured = Counter(r.source for r in records)
    missing = [f"{measured[s]:,} of {n:,} of {SOURCES[s]}" for s, n in listed.items() if measured[s] < n]
    derived = [r for r in records if r.derived]
    kinds: Counter[str] = Counter()
    opaque: Counter[str] = Counter()
    narrow: Counter[str] = Counter()
    for r in derived:
        kinds.update(r.kinds)
        narrow.update(r.narrow.keys())
        opaque.update(r.opaque.keys())
    reasons = Counter(r.reason for r in records if not r.derived and r.reason)
    largest = sorted(derived, key=lambda r: -r.scalars)[:MOST]
    lawless = sum(not r.scalars for r in derived)
    return "\n".join(
        [
            "# The atlas",
            "",
            "The laws of the published architectures of torchvision, timm and transformers: each model is traced and "
            "its laws are",
            "derived at its published size (transformers' types: a tiny configuration), and verified by loss",
            "gradients in float64 on an instance that is small enough, which for a large model is the smallest of its "
            "family;",
            "a model of which none is small enough has no verdict, and *vacuous* says that nothing its laws read has "
            "moved.",
            "Models are in evaluation mode: BatchNorm then applies its running statistics, an affine map, and the laws "
            "before it are",
            "those of that map.",
            "",
            f"Written by `lawful atlas --docs` from [atlas.csv](atlas.csv), with {_versions()}.",
            "Rows were measured at different times, by what lawful knew then; `lawful atlas --only NAME` "
            "measures one again.",
            "",
            *([f"**Not complete**: {', '.join(missing)}, in an order that mixes families.", ""] if missing else []),
            *_table(HEADINGS, summary(records)),
            "",
            "*by degrees*: of some operations only the degrees are known; laws of sizes cross them, others may be "
            "missing.",
            "*verified*: every law held on the model itself or a small instance of it; *by a sibling*: on the smallest "
            "verified",
            "model of its family, which the table names.",
            "",
            f"Scalar laws by kind: {', '.join(f'{k} {n:,}' for k, n in kinds.most_common()) or 'none'}; "
            f"{lawless} of the {len(derived)} derived models have none.",
            "",
            "## The largest numbers of laws",
            "",
            *_table(
                ("model", "parameters", "scalar laws", "exact", "verdict"),
                [(f"`{r.name}`", f"{r.parameters:,}", f"{r.scalars:,}", f"{r.exact:,}", r.verdict) for r in largest],
            ),
            "",
            "## Operations that are known by their degrees only",
            "",
            *_counts("operation", narrow, "There are none."),
            "",
            "## Opaque operations",
            "",
            *_counts("operation", opaque, "No model has an opaque block."),
            "",
            *_others([r for r in records if r.source == "ours"]),
            "## Why models failed or were not built",
            "",
            *_counts("reason", reasons, "None did."),
            "",
        ]
    )


def _others(records: Sequence[Record]) -> list[str]:
    """The section on our own list; nothing where it was not run."""
    if not records:
        return []
    packages = {r.name.partition(":")[2].partition("/")[0] for r in records}
    built = [r for r in records if r.fault != "package"]
    faults = Counter(r.fault for r in built if r.fault)
    refused = [(f"`{r.name}`", r.fault, f"`{_escape(r.reason)}`") for r in built if not r.derived]
    share = f"{100 * sum(r.derived for r in built) / max(len(built), 1):.0f} %"
    return [
        "## Other packages",
        "",
        f"Small instances of {len(records)} models of {len(packages)} other packages (`lawful atlas --list ours`); "
        f"{len(built)} of them could be",
        f"built here, and {share} of those were derived.  Whose it is that the others were not: "
        f"{', '.join(f'{whose} {n}' for whose, n in faults.most_common()) or 'nobody'}.",
        "*module*: torch.export does not show its forward as one graph, or it is no fixed function of its inputs and",
        "parameters in float64; *lawful*: a fault or a gap of ours; *limit*: of time or memory.",
        "",
        *(_table(("model", "whose", "reason"), refused) if refused else []),
        "",
    ]


def _counts(heading: str, counts: Counter[str], none: str) -> list[str]:
    if not counts:
        return [none]
    rows = [(f"`{_escape(what)}`", str(n)) for what, n in counts.most_common(MOST)]
    rest = len(counts) - len(rows)
    return [*_table((heading, "models"), rows), *(["", f"and {rest} more, in the table."] if rest > 0 else [])]


def _escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in headings[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)]
