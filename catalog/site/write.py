"""Writes the pages into a folder: `lawful catalog site -o DIR`."""

from __future__ import annotations

from collections import Counter
from html import escape
from importlib.resources import files
from pathlib import Path

from .. import shelf
from ..bibliography import OWN, cited, sources
from ..entry import Entry
from ..fates import OPTIMIZERS
from ..store import entries
from . import pages
from .data import script
from .names import link, slug, url

ASSETS = ("style.css", "search.js", "app.js")


def write(folder: Path, own: bool = True) -> int:
    """Writes all pages; returns how many.

    Args:
        folder: where they go; it is made, and pages of the same names in it are replaced.
        own: also your own entries.
    """
    shown = [*entries(), *(shelf.all_entries() if own else [])]
    texts = _texts(shown)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ASSETS:
        text = files("lawful.catalog.site").joinpath(name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "data.js").write_text(script(shown), encoding="utf-8")
    return len(texts)


def _texts(shown: list[Entry]) -> dict[str, str]:
    out = {"index.html": pages.front(shown)} | {url(e.id): pages.entry_page(e) for e in shown}
    blocks: dict[str, list[Entry]] = {}
    papers: dict[str, list[Entry]] = {}
    for e in shown:
        for kind in dict.fromkeys((*e.blocks, *((e.block,) if e.block else ()))) if e.is_law else ():
            blocks.setdefault(kind, []).append(e)
        for source in cited(e):
            papers.setdefault(source.key, []).append(e)
    out |= {f"block/{slug(kind)}.html": pages.block(kind, found) for kind, found in blocks.items()}
    # a family names blocks too that no law of the catalog has
    for e in shown:
        for kind in e.blocks:
            out.setdefault(f"block/{slug(kind)}.html", pages.block(kind, []))
    known = {k: s for k, s in sources().items() if k != OWN}
    out |= {f"paper/{k}.html": pages.paper(s, papers.get(k, [])) for k, s in known.items()}
    out["blocks.html"] = pages.table(
        "Every block and its laws",
        ("block", "kinds of laws", "laws"),
        (
            (
                link(f"block/{slug(kind)}.html", kind),
                escape(", ".join(f"{n} {k}" for k, n in sorted(Counter(e.kind for e in found).items()))),
                "<br>".join(link(url(e.id), e.text.split("\n")[0]) for e in found if kind == e.block)
                or "in networks only",
            )
            for kind, found in sorted(blocks.items())
        ),
    )
    out["families.html"] = pages.table(
        "Published families",
        ("family", "laws"),
        ((link(url(e.id), e.title), escape(e.count_formula)) for e in shown if e.kind == "family"),
    )
    out["papers.html"] = pages.table(
        "Papers",
        ("paper", "what it brings", "claims"),
        (
            (
                link(f"paper/{k}.html", str(s)),
                escape(s.about),
                "<br>".join(link(url(e.id), f"{e.title} ({e.status})") for e in papers.get(k, []) if e.kind == "claim"),
            )
            for k, s in known.items()
        ),
    )
    fated = [e for e in shown if e.fates]
    out["optimizers.html"] = pages.table(
        "What each optimizer does to the laws",
        ("optimizer", "kept", "decays", "drifts", "broken"),
        (
            (link(url(f"optimizer/{k}"), name), *(_tally(fated, k, s) for s in ("kept", "decays", "drifts", "broken")))
            for k, name in OPTIMIZERS.items()
        ),
    )
    return out


def _tally(found: list[Entry], optimizer: str, status: str) -> str:
    return str(sum(e.fates[optimizer].status == status for e in found))
