"""What the search in the browser reads: the thesaurus, the terms of every entry, the fates of every kind of law."""

from __future__ import annotations

import json
from typing import Any

from ..bibliography import sources
from ..entry import Entry
from ..facets import on_wires
from ..fates import OPTIMIZERS
from ..find import ALIKE, ALIKES, CLOSE, ENOUGH, NEAREST
from ..record import LAW_KINDS
from ..search import analysis, ranking
from ..search.documents import document
from .names import url

RULES = {
    "name": ranking.NAME,
    "head": ranking.HEAD,
    "law": ranking.LAW,
    "body": ranking.BODY,
    "fate": ranking.FATE,
    "mentioned": ranking.MENTIONED,
    "joined": ranking.JOINED,
    "reach": analysis.REACH,
    "spare": ranking.SPARE,
    "spares": ranking.SPARES,
    "unknown": ranking.UNKNOWN,
    "basic": ranking.BASIC,
    "modelAsked": ranking.MODEL_ASKED,
    "implied": analysis.IMPLIED,
    "longest": analysis.LONGEST,
    "part": analysis.PART,
    "greek": analysis.GREEK,
    "enough": ENOUGH,
    "close": CLOSE,
    "nearest": NEAREST,
    "alike": ALIKE,
    "alikes": ALIKES,
    "lawKinds": LAW_KINDS,
}


def script(shown: list[Entry]) -> str:
    """The data as a script, which pages opened from a disk can load too; nothing in it ends the script early."""
    text = json.dumps(data(shown), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"const LAWFUL = {safe};\n"


def data(shown: list[Entry]) -> dict[str, Any]:
    """The data as plain values."""
    thesaurus = analysis.thesaurus()
    frequency: dict[str, int] = {}
    rows, fates = [], {}
    for e in shown:
        d = document(e)
        for t in (*d.name, *d.head, *d.law, *d.body):
            frequency[t] = frequency.get(t, 0) + 1
        kind = "|".join((e.kind, e.momentum, e.decay, e.adam)) if e.fates else ""
        if kind:
            fates[kind] = {k: [f.status, f.text] for k, f in e.fates.items()}
        rows.append(
            {
                "id": e.id,
                "kind": e.kind,
                "title": e.title,
                "text": e.text.split("\n")[0],
                "url": url(e.id),
                "fates": kind,
                "name": d.name,
                "head": d.head,
                "law": d.law,
                "body": d.body,
                "wires": sorted(on_wires(e)) if e.is_law else [],
            }
        )
    return {
        "rules": RULES,
        "stop": thesaurus["stop"],
        "suffixes": thesaurus["suffixes"],
        "phrases": {" ".join(k): v for k, v in analysis.phrases().items()},
        "longest": analysis.longest_phrase(),
        "models": {analysis.term(analysis.MODEL, k): v["implies"] for k, v in thesaurus["models"].items()},
        "optimizers": {analysis.term(analysis.OPTIMIZER, k): k for k in thesaurus["optimizers"]},
        "losses": thesaurus["losses"],
        "symbols": thesaurus["symbols"],
        "blocks": thesaurus["blocks"],
        "joiners": analysis.joiners(),
        "updates": thesaurus["updates"],
        "capitals": thesaurus["capitals"],
        "other": sorted(analysis.others()),
        "people": analysis.short_names(a for s in sources().values() for a in s.authors),
        "names": OPTIMIZERS,
        "frequency": frequency,
        "fates": fates,
        "entries": rows,
    }
