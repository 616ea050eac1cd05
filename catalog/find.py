"""Asking the catalog: in words, by blocks, by optimizer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from lawful.theory.arguments import ArgumentError
from lawful.theory.typed import typed

from . import shelf
from .bibliography import sources
from .entry import Entry
from .facets import block_names, is_known, joins, kept_by, optimizer_key
from .fates import BROKEN, DRIFTS
from .found import Found, Understood
from .search import formulas, index
from .search.analysis import MATRIX, Analysis, Vocabulary, analyse, between_of, stop_words, tokens
from .search.ranking import ranked, weights
from .store import by_id, entries

LIMIT = 20
NEAREST = 5
ENOUGH = 0.3  # below this share of what was asked an entry is near, and no answer
ALIKE, ALIKES = 0.6, 2  # words that look like an unknown one at least so much, and how many of them
CLOSE = 0.5  # of the best score: what is below it is no answer either


@typed()
def get(id: str) -> Entry:
    """One entry, shipped or your own.

    Raises:
        KeyError: for an id that does not exist; names those that are close.
    """
    entry = by_id().get(id) or shelf.find(id)
    if entry is not None:
        return entry
    known = list(by_id())
    near = [k for k in known if k.lower().startswith(f"{id.lower()}/")]  # the laws of one network
    near = near or [k for k in known if id and id.lower() in k.lower()] or difflib.get_close_matches(id, known, 5, 0.4)
    raise KeyError(
        f"no entry {id!r} in the catalog; "
        + (f"close are {', '.join(near[:5])}" if near else "lawful.catalog.search() lists all")
    )


@typed()
def search(
    text: str | None = None,
    *,
    block: str | None = None,
    kind: str | None = None,
    optimizer: str | None = None,
    loss: str | None = None,
    exact: bool | None = None,
    between: tuple[str, str] | None = None,
    source: str | None = None,
    limit: int = LIMIT,
) -> Found:
    """The entries that answer a question, best first; without a text all that match what is given, by id.

    Args:
        text: a question, words, names of models, a formula.
        block: a block or composite the entry is about, or a kind of block in it (`"ReLU"`, `"SelfAttention"`).
        kind: `balance`, `shift`, `frozen`, `none`, `claim`, `theorem`, `family` or `optimizer`.
        optimizer: only laws of which the fate under it is known, shown with it (`"adam"`).
        loss: only what holds for this loss.
        exact: True for laws that hold exactly, False for those up to the epsilon of a norm.
        between: two blocks that a law joins.
        source: part of the source (`"marcotte2025"`).
        limit: at most so many answers to a text.

    Returns:
        Entries; `nearest` says that nothing fits and these are only near, `understood` how the text was read.

    Raises:
        ValueError: for an empty text, and for a kind, block, optimizer or source that no entry has; lists those there
            are.
    """
    keep = kept_by(block, kind, optimizer, loss, exact, between, source)
    if text is not None and not text.strip():
        raise ArgumentError("search: the text is empty; ask a question in words, or leave it out to list all entries")
    if text is None:
        chosen = [e for e in (*entries(), *shelf.all_entries()) if keep(e)]
        named = Understood(optimizer_key(optimizer) if optimizer else "", loss or "", between)
        return Found(chosen, False, named)
    if len(text.split()) == 1 and text in by_id() and keep(by_id()[text]):
        return Found([by_id()[text]])
    text = formulas.unwrapped(text)
    people = (author for source in sources().values() for author in source.authors)
    vocabulary = Vocabulary(index.known_words(), shelf.knows, people)
    question = analyse(text, vocabulary)
    asked = between or (between_of(text) if block is None else None)
    read = Understood(
        optimizer_key(optimizer) if optimizer else next(iter(question.optimizers), ""),
        loss or next(iter(question.losses), ""),
        asked,
        tuple(question.corrected.items()),
        question.unknown,
        () if optimizer else question.optimizers[1:],
    )
    own = shelf.all_entries() if formulas.is_formula(text) else []
    stated = formulas.stated(text, (*entries(), *own))
    if stated:  # numbers and names in a formula are those of somebody's layers
        read = replace(read, unknown=(), corrected=())
        question = replace(question, terms={t: w for t, w in question.terms.items() if not t.isdigit()})
    scored = _with(stated, _scored(question, asked), question)
    answers = [(s, e) for s, e in scored if keep(e)]
    best = answers[0][0] if answers else 0.0
    good = [e for s, e in answers if s >= max(ENOUGH, CLOSE * best)]
    if good:
        return Found(good[:limit], False, read)
    return Found([e for _, e in answers][:NEAREST] or _alike(text, keep), True, read)


def _with(
    stated: Sequence[tuple[float, Entry]], scored: list[tuple[float, Entry]], question: Analysis
) -> list[tuple[float, Entry]]:
    """Entries that state a formula come first; those of its kind where its letters say nothing, the plainest first."""
    if not stated:
        return scored
    linear = {"balanced", "linear"} <= set(question.terms) and any("ᵀ" in e.text for _, e in stated)
    if linear or any(t.startswith(MATRIX) for t in question.terms):  # matrices of any two layers, or of attention
        same = {e.id: e for fit, e in stated if fit == formulas.SAME}
        known = {e.id for _, e in scored}
        scored = [(s + (e.id in same), e) for s, e in scored] + [(1.0, e) for id, e in same.items() if id not in known]
        return sorted(scored, key=lambda f: -f[0])
    alike = {starred(e.id): (fit, e) for fit, e in reversed(stated)}  # of own networks the first of all layers
    first = sorted(alike.values(), key=lambda f: (-f[0], len(f[1].blocks), len(f[1].id), f[1].id))
    return first + [(s, e) for s, e in scored if starred(e.id) not in alike]


def starred(id: str) -> str:
    """The id of an own entry with `*` for its numbers: one for the same law of all layers."""
    return re.sub(r"(?<![A-Za-z])\d+(?![A-Za-z])", "*", id) if id.startswith(f"{shelf.OWN}/") else id


def _alike(text: str, keep: Callable[[Entry], bool]) -> list[Entry]:
    """Where no word is known: entries with a word that looks alike, else the theorems."""
    words = [
        w
        for word in tokens(text)
        if word not in stop_words()
        for w in difflib.get_close_matches(word, index.known_words(), ALIKES, ALIKE)
    ]
    alike = _scored(Analysis(dict.fromkeys(words, 1.0)), None) if words else []
    found = [e for _, e in alike if keep(e)] or [e for e in entries() if e.kind == "theorem" and keep(e)]
    return found[:NEAREST]


@typed()
def between(a: str, b: str) -> Found:
    """The laws that join two blocks: `between("RMSNorm", "Linear")`.

    Args:
        a: a kind of block, in any of its names.
        b: another.

    Raises:
        ValueError: for a block that no entry has.
    """
    for name in (a, b):
        if not is_known(name):
            near = difflib.get_close_matches(name, block_names(), 5, 0.5)
            way_out = f"close are {', '.join(near)}" if near else "search() finds others"
            raise ValueError(f"no entry is about a block {name!r}; {way_out}")
    everything = [e for e in (*entries(), *shelf.all_entries()) if e.is_law]
    read = Understood(between=(a, b))
    joined = [e for e in everything if joins(e, a, b)]
    if joined:
        return Found(sorted(joined, key=lambda e: (len(e.touches), len(e.blocks), e.id)), False, read)
    return Found(search(f"{a} {b}")[:NEAREST], True, read)


@typed()
def which_laws_break(optimizer: str) -> Found:
    """The laws that an optimizer breaks or lets drift at second order in a step, not those with a known decay.

    Args:
        optimizer: `"adam"`, `"momentum"`, `"weight decay"`, ...: a key of `OPTIMIZERS` or another name of it.

    Raises:
        ValueError: for an optimizer that the catalog does not know.
    """
    key = optimizer_key(optimizer)
    lost = [e for e in (*entries(), *shelf.all_entries()) if e.fates and e.fates[key].status in (BROKEN, DRIFTS)]
    return Found(lost, False, Understood(optimizer=key))


def related(entry: Entry, limit: int = 6) -> list[Entry]:
    """Entries that belong to an entry: what shows it, the laws of the same network, the same law elsewhere."""
    ids = [*entry.evidence, *entry.related]
    if entry.is_law:
        everything = entries()
        ids += [e.id for e in everything if e.setting == entry.setting]
        ids += [e.id for e in everything if not e.is_law and entry.id in (*e.evidence, *e.related)]
        ids += [e.id for e in everything if entry.signature and e.signature == entry.signature]
    return [by_id()[i] for i in dict.fromkeys(ids) if i != entry.id and i in by_id()][:limit]


def _scored(question: Analysis, asked: tuple[str, str] | None) -> list[tuple[float, Entry]]:
    frequency = index.known_words()
    own = shelf.frequencies(question.terms)
    weight = weights(question, {**own, **frequency}, len(entries()))
    if not weight:
        return []
    order = sorted(weight, key=lambda t: -weight[t])
    found = ranked(index.candidates(index.shipped(), order, frequency), weight)
    found += ranked(shelf.candidates(order, own), weight)
    chosen: dict[str, tuple[float, str]] = {}  # of own networks the first of all layers stands for them
    for value, id in sorted(found, key=lambda f: -f[0]):
        if len(chosen) < 5 * LIMIT:
            chosen.setdefault(starred(id), (value, id))
    mine = shelf.find_all([id for _, id in chosen.values() if id not in by_id()])
    out: list[tuple[float, Entry]] = []
    for value, id in chosen.values():
        entry = by_id().get(id) or mine.get(id)
        if entry is not None:
            out.append((value + (0.3 if asked and entry.is_law and joins(entry, *asked) else 0.0), entry))
    return sorted(out, key=lambda f: -f[0])
