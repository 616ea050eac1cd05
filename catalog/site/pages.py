"""The pages as HTML text: plain elements that read without scripts; every text is escaped here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from ..bibliography import OWN, Source, cited
from ..entry import Entry
from ..fates import OPTIMIZERS
from ..find import related
from ..page import KINDS_SAID, drawing
from ..record import KINDS
from .formulas import formula
from .names import link, slug, url
from .stored import family

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'"
NAV = (
    ("index.html", "Search"),
    ("blocks.html", "Blocks"),
    ("families.html", "Families"),
    ("papers.html", "Papers"),
    ("optimizers.html", "Optimizers"),
)


def document(title: str, body: str, up: str = "", scripts: Sequence[str] = ()) -> str:
    """A whole page.

    Args:
        title: of the page.
        body: its content, as HTML.
        up: the way to the front page, `../` for pages in folders.
        scripts: scripts it runs.
    """
    nav = "".join(f"<li>{link(up + address, text)}</li>" for address, text in NAV)
    run = "".join(f'<script src="{up}{name}" defer></script>' for name in scripts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<link rel="icon" href="data:,"><link rel="stylesheet" href="{up}style.css">{run}</head>\n'
        '<body><a class="skip" href="#main">To the content</a>'
        f'<header><nav aria-label="Main"><ul>{nav}</ul></nav></header>\n'
        f'<main id="main">{body}</main></body></html>\n'
    )


def front(shown: Sequence[Entry]) -> str:
    """The front page: the search box, and without scripts every entry by group."""
    kinds = "".join(f'<option value="{k}">{KINDS_SAID[k]}</option>' for k in KINDS)
    optimizers = "".join(f'<option value="{k}">{escape(v)}</option>' for k, v in OPTIMIZERS.items())
    box = (
        '<form id="search" role="search" hidden action="index.html"><label for="q">Ask the catalog</label>'
        '<input id="q" name="q" type="search" autocomplete="off" placeholder="what does Adam do to attention?">'
        f'<div id="facets"><label>Kind <select id="kind"><option value="">any</option>{kinds}</select></label>'
        f'<label>Under <select id="optimizer"><option value="">as asked</option>{optimizers}</select>'
        "</label></div></form>"
        '<p id="said" role="status" aria-live="polite"></p><ol id="answers"></ol>'
    )
    groups: dict[str, list[Entry]] = {}
    for e in shown:
        groups.setdefault(e.group or "More", []).append(e)
    parts = [
        f"<details><summary>{escape(name)} ({len(found)})</summary>{listed(found)}</details>"
        for name, found in sorted(groups.items())
    ]
    intro = (
        "<p>Which quantities does training a neural network conserve? Every law of a block here was derived, verified "
        "on gradients and counted by brute force; every entry says how far it can be trusted.</p>"
    )
    body = f'<h1>The law catalog</h1>{intro}{box}<div id="browse"><h2>All entries</h2>{"".join(parts)}</div>'
    return document("The law catalog", body, scripts=("data.js", "search.js", "app.js"))


def entry_page(entry: Entry) -> str:
    """The page of an entry."""
    up = "../"
    refuted = ' <span class="refuted">refuted</span>' if entry.status == "refuted" else ""
    rows: list[tuple[str, str]] = []
    if entry.counterexample:
        rows.append(("refuted by", escape(entry.counterexample)))
    if drawing(entry):
        rows.append(("where it lives", escape(drawing(entry))))
    if entry.network:
        rows.append(("network", f"<code>{escape(entry.network)}</code>"))
    if entry.blocks:
        rows.append(("blocks", ", ".join(link(f"{up}block/{slug(k)}.html", k) for k in entry.blocks)))
    if entry.count_formula:
        more = f"; independent: {escape(entry.independent_formula)}" if entry.independent_formula else ""
        rows.append(("scalars", escape(entry.count_formula) + more))
    rows += [("hypothesis", escape(h)) for h in entry.hypotheses]
    if entry.is_law and entry.kind != "none":
        rows.append(("exact", "yes" if entry.exact else escape(f"up to {entry.approximate_by}")))
    if entry.symmetry:
        rows.append(("symmetry", escape(entry.symmetry)))
    if entry.names:
        rows.append(("also called", escape("; ".join(entry.names))))
    rows += [(n, escape(t)) for n, t in zip(("completeness", "reliability"), entry.trust, strict=False)]
    rows.append(("source", sources(entry, up)))
    see = related(entry, 12)
    if see:
        rows.append(
            ("see also", "<br>".join(f"{link(up + url(e.id), e.title)} <code>{escape(e.id)}</code>" for e in see))
        )
    statement = f'<div class="formula">{formula(entry)}</div>'
    if not entry.is_law:
        statement = wires(entry, up) if entry.kind == "family" else f"<p>{escape(entry.text)}</p>{statement}"
    else:
        statement += f'<p class="plain">{escape(entry.text)}</p>'
    body = (
        f"<h1>{escape(entry.title)}</h1><p>{KINDS_SAID[entry.kind]}{refuted} <code>{escape(entry.id)}</code></p>"
        f"{statement}{pairs(rows)}{fates(entry, up)}<h2>Cite</h2><pre class='wide'>{escape(entry.bibtex)}</pre>"
    )
    return document(entry.title, body, up)


def wires(entry: Entry, up: str) -> str:
    """A family as a drawing, and its laws as a list; a wire of the drawing leads to its laws, a law opens."""
    first, *lines = entry.text.split("\n")
    items = []
    for line in lines:
        name, _, said = line.partition(": ")
        found = re.search(r" \[([^\]]+)\]$", said)
        text = said[: found.start()] if found else said
        see = f" {link(up + url(found[1]), found[1])}" if found else ""
        items.append(
            f'<li><details class="wire"><summary>{escape(name)}</summary>'
            f'<p class="plain">{escape(text)}</p>{see}</details></li>'
        )
    drawn = family(entry.network.removeprefix("family:"))
    return (
        f"<p>{escape(first)}.</p><h2>Its wires</h2>{drawn}"
        f'<h2>Its laws at the published size</h2><ul class="wires">{"".join(items)}</ul>'
    )


def fates(entry: Entry, up: str) -> str:
    """What each optimizer does to a law, as a table."""
    if not entry.fates:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{link(up + url('optimizer/' + k), OPTIMIZERS[k])}</th>"
        f'<td class="{f.status}">{f.status}</td><td>{escape(f.text)}</td></tr>'
        for k, f in entry.fates.items()
    )
    return f"<h2>Under each optimizer</h2>{scrolled('Optimizers', rows)}"


def sources(entry: Entry, up: str) -> str:
    """The source of an entry with a link for every paper."""
    papers = "; ".join(link(f"{up}paper/{s.key}.html", str(s)) for s in cited(entry) if s.key != OWN)
    return f"{escape(entry.source)}{f'<br>{papers}' if papers else ''}"


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Labels with texts that are HTML already; the same label stands once."""
    out, last = [], ""
    for label, text in rows:
        out.append(f"<dt>{'' if label == last else escape(label)}</dt><dd>{text}</dd>")
        last = label
    return f"<dl>{''.join(out)}</dl>"


def listed(found: Iterable[Entry], up: str = "") -> str:
    """Entries as a list of links."""
    items = "".join(
        f'<li>{link(up + url(e.id), e.title)} <code>{escape(e.id)}</code><br><span class="statement">'
        f"{escape(e.text.split(chr(10))[0])}</span></li>"
        for e in found
    )
    return f"<ul>{items}</ul>"


def paper(source: Source, found: Sequence[Entry]) -> str:
    """The page of a paper: each claim and what came of it, and the laws that cite it."""
    where = f"<p>{link(source.url, source.url)}</p>" if source.url else ""
    claims = [e for e in found if e.kind == "claim"]
    outcome = "".join(
        f"<tr><td>{link('../' + url(e.id), e.title)}</td>"
        f'<td class="{"refuted" if e.status == "refuted" else ""}">{e.status}</td><td>{escape(e.trust[1])}</td></tr>'
        for e in claims
    )
    head = "<tr><th scope='col'>claim</th><th scope='col'>status</th><th scope='col'>checked</th></tr>"
    claimed = f"<h2>Its claims and what came of them</h2>{scrolled('Claims', head + outcome)}" if claims else ""
    rest = [e for e in found if e.kind != "claim"]
    body = f"<h1>{escape(source.title)}</h1><p>{escape(str(source))}</p>{where}<p>{escape(source.about)}</p>{claimed}"
    body += f"<h2>Entries that cite it ({len(rest)})</h2>{listed(rest, '../')}"
    body += f"<pre class='wide'>{escape(source.bibtex)}</pre>"
    return document(source.title, body, "../")


def block(kind: str, found: Sequence[Entry]) -> str:
    """The page of a block: the laws of the networks around it."""
    about = [e for e in found if kind in (e.block, *e.touches)]
    others = [e for e in found if e not in about]
    body = f"<h1>{escape(kind)}</h1><h2>Laws with it on their wires</h2>{listed(about, '../')}"
    body += f"<h2>Other laws of networks with it</h2>{listed(others, '../')}" if others else ""
    return document(kind, body, "../")


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A page that is one table; the cells are HTML already."""
    top = "".join(f"<th scope='col'>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return document(title, f"<h1>{escape(title)}</h1>{scrolled(title, f'<tr>{top}</tr>{body}')}")


def scrolled(label: str, rows: str) -> str:
    """Rows of a table that scrolls by itself where it is too wide, by keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}"><table>{rows}</table></div>'
