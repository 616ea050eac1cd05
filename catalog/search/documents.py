"""What an entry is found by: terms of its head (what it is called), of its law, and of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..bibliography import described, surnames
from ..entry import Entry
from .analysis import MATRIX, MODEL, OPTIMIZER, analyse, in_words, term, thesaurus

KIND_WORDS = {
    "balance": "balanced",
    "shift": "translation",
    "frozen": "frozen never moves",
    "none": "no law",
    "claim": "",
    "theorem": "theorem",
    "family": "",
    "optimizer": "optimizer",
}

AGAIN = "again-"  # claims that were run again speak of what other entries state: found by their paper alone


@dataclass(frozen=True)
class Document:
    """The terms of an entry, each once, where they say most.

    Attributes:
        name: its name: the setting, the last part of its id.
        head: title, block, other names.
        law: what it states: its parameters, its symmetry, the blocks on its wires; and who found it.
        body: hypotheses, network, sources, other words.
    """

    name: tuple[str, ...]
    head: tuple[str, ...]
    law: tuple[str, ...]
    body: tuple[str, ...]


def document(entry: Entry) -> Document:
    """The terms of an entry."""
    attends = not entry.is_law or any("Attention" in kind for kind in entry.blocks)
    parts = [
        _terms(entry.setting or _tail(entry.id), formulas=False),
        _terms(entry.title, entry.block, *entry.names),
        _matrices(_terms("" if entry.kind == "family" else entry.text, formulas=attends))
        | _terms("squared norm" if entry.is_law and "‖" in entry.text else "")
        | _terms(KIND_WORDS[entry.kind], entry.symmetry, " ".join(map(in_words, entry.touches)))
        | _terms("" if entry.kind == "family" else entry.also)
        | _terms(*surnames(entry), formulas=False)
        | _terms("refuted" if entry.status == "refuted" else ""),
        _terms(
            " ".join(entry.hypotheses),
            entry.group,
            " ".join(map(in_words, (*entry.blocks, entry.block))),
            entry.loss.replace("_", " ") if entry.loss != "mse" else "",
            *described(entry),
            entry.source,
            entry.id.replace("/", " ").replace(".", " "),
            entry.algebra,
            entry.counterexample,
            entry.also,
            formulas=False,
        ),
    ]
    if entry.kind == "claim" and _tail(entry.id).startswith(AGAIN):
        parts = [{}, {}, {}, _terms("run again reproduced", entry.source, entry.id.split("/")[1])]
    if entry.kind == "family":  # "clip" is the name of a model, and no clipping
        parts[:2] = [{t: w for t, w in part.items() if not t.startswith(OPTIMIZER)} for part in parts[:2]]
        parts[0] |= {term(MODEL, key): 1.0} if (key := _tail(entry.id)) in thesaurus()["models"] else {}
    seen: set[str] = set()
    columns = []
    for part in parts:
        columns.append(tuple(t for t in part if t not in seen))
        seen |= set(part)
    return Document(*columns)


def _terms(*texts: str, formulas: bool = True) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in filter(None, texts):
        found |= _said(text, formulas)
    return found


@lru_cache(maxsize=20_000)  # the laws of many layers say the same
def _said(text: str, formulas: bool) -> dict[str, float]:
    return {t: w for t, w in analyse(text, formulas=formulas).terms.items() if w >= 1 or t.isdigit()}


def _tail(id: str) -> str:
    return id.rpartition("/")[2]


def _matrices(terms: dict[str, float]) -> dict[str, float]:
    """The matrices of a formula under their names too: who asks for "queries" finds `Q`."""
    names = thesaurus()["symbols"]
    return terms | {names[t[-1]]: 1.0 for t in terms if t.removeprefix(MATRIX) in names and t.startswith(MATRIX)}
