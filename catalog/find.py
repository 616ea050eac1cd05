"""Asking the catalog: in words, by blocks, by optimizer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from . import shelf
from .bibliography import sources
from .entry import KINDS, Entry
from .fates import BROKEN, DRIFTS, OPTIMIZERS
from .search import index
from .search.analysis import Analysis, Vocabulary, analyse, between_of, tokens
from .search.documents import in_words
from .search.ranking import ranked, weights
from .store import by_id, entries

LIMIT = 20
NEAREST = 5
ENOUGH = 0.3  # below this share of what was asked an entry is near, and no answer
CLOSE = 0.5  # of the best score: what is below it is no answer either


@dataclass(frozen=True)
class Understood:
    """How a question was read.

    Attributes:
        optimizer: the optimizer that it names, empty for none.
        loss: the loss that it names, empty for none.
        between: the two blocks it asks between.
        corrected: words that were read as others.
        unknown: words that no entry has.
    """

    optimizer: str = ""
    loss: str = ""
    between: tuple[str, str] | None = None
    corrected: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"read {a!r} as {b!r}" for a, b in self.corrected]
        parts += [f"optimizer: {OPTIMIZERS[self.optimizer]}"] if self.optimizer else []
        parts += [f"loss: {self.loss}"] if self.loss else []
        parts += [f"between {self.between[0]} and {self.between[1]}"] if self.between else []
        parts += [f"nothing is known of {', '.join(map(repr, self.unknown))}"] if self.unknown else []
        return "; ".join(parts)


class Found(list[Entry]):
    """Entries, best first.

    Attributes:
        nearest: True where nothing answers, and the entries are only the nearest.
        understood: how the question was read.
    """

    def __init__(self, found: Iterable[Entry], nearest: bool = False, understood: Understood | None = None) -> None:
        super().__init__(found)
        self.nearest = nearest
        self.understood = understood or Understood()

    def __str__(self) -> str:
        from .page import listing

        return listing(self)

    def _repr_html_(self) -> str:
        from .html import listing

        return listing(self)


def get(id: str) -> Entry:
    """One entry, shipped or your own.

    Raises:
        KeyError: for an id that does not exist; names those that are close.
    """
    entry = by_id().get(id) or shelf.find(id)
    if entry is not None:
        return entry
    known = list(by_id())
    near = [k for k in known if id and id.lower() in k.lower()][:5] or difflib.get_close_matches(id, known, 5, 0.4)
    raise KeyError(
        f"no entry {id!r} in the catalog; "
        + (f"close are {', '.join(near)}" if near else "lawful.catalog.search() lists all")
    )


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
        ValueError: for a kind, block, optimizer or source that no entry has; lists those there are.
    """
    keep = _filter(block, kind, optimizer, loss, exact, between, source)
    if text is None or not text.strip():
        chosen = [e for e in (*entries(), *shelf.all_entries()) if keep(e)]
        named = Understood(optimizer_key(optimizer) if optimizer else "", loss or "", between)
        return Found(chosen, False, named)
    if len(text.split()) == 1 and text in by_id() and keep(by_id()[text]):
        return Found([by_id()[text]])
    vocabulary = Vocabulary(index.known_words(), shelf.knows)
    question = analyse(text, vocabulary)
    asked = between or (between_of(text) if block is None else None)
    read = Understood(
        optimizer_key(optimizer) if optimizer else next(iter(question.optimizers), ""),
        loss or next(iter(question.losses), ""),
        asked,
        tuple(question.corrected.items()),
        question.unknown,
    )
    scored = _scored(question, asked)
    answers = [(s, e) for s, e in scored if keep(e)]
    best = answers[0][0] if answers else 0.0
    good = [e for s, e in answers if s >= max(ENOUGH, CLOSE * best)]
    if good:
        return Found(good[:limit], False, read)
    return Found([e for _, e in answers][:NEAREST] or _alike(text, keep), True, read)


def starred(id: str) -> str:
    """The id of an own entry with `*` for its numbers: one for the same law of all layers."""
    return re.sub(r"(?<![A-Za-z])\d+(?![A-Za-z])", "*", id) if id.startswith(f"{shelf.OWN}/") else id


def _alike(text: str, keep: Callable[[Entry], bool]) -> list[Entry]:
    """Where no word is known: entries with a word that looks alike, else the theorems."""
    words = [w for word in tokens(text) for w in difflib.get_close_matches(word, index.known_words(), 2, 0.6)]
    alike = _scored(Analysis(dict.fromkeys(words, 1.0)), None) if words else []
    found = [e for _, e in alike if keep(e)] or [e for e in entries() if e.kind == "theorem" and keep(e)]
    return found[:NEAREST]


def between(a: str, b: str) -> Found:
    """The laws that join two blocks: `between("RMSNorm", "Linear")`.

    Args:
        a: a kind of block, in any of its names.
        b: another.

    Raises:
        ValueError: for a block that no entry has.
    """
    for name in (a, b):
        if not _has(name):
            near = difflib.get_close_matches(name, _blocks(), 5, 0.5)
            way_out = f"close are {', '.join(near)}" if near else "search() finds others"
            raise ValueError(f"no entry is about a block {name!r}; {way_out}")
    joined = [e for e in (*entries(), *shelf.all_entries()) if e.is_law and _joins(e, a, b)]
    return Found(sorted(joined, key=lambda e: (len(e.touches), len(e.blocks), e.id)), False, Understood(between=(a, b)))


def which_laws_break(optimizer: str) -> Found:
    """The laws that an optimizer breaks, or lets drift at second order in a step: not those that decay by a known factor.

    Args:
        optimizer: `"adam"`, `"momentum"`, `"weight decay"`, ...: a key of `OPTIMIZERS` or another name of it.

    Raises:
        ValueError: for an optimizer that the catalog does not know.
    """
    key = optimizer_key(optimizer)
    lost = [e for e in (*entries(), *shelf.all_entries()) if e.fates and e.fates[key].status in (BROKEN, DRIFTS)]
    return Found(lost, False, Understood(optimizer=key))


def optimizer_key(name: str) -> str:
    """The key of an optimizer under any of its names.

    Raises:
        ValueError: for one that the catalog does not know.
    """
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    if plain in OPTIMIZERS:
        return plain
    found = analyse(name).optimizers
    if len(found) == 1:
        return found[0]
    raise ValueError(f"no optimizer {name!r} in the catalog; there are {', '.join(OPTIMIZERS)}")


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
    out = []
    seen: set[str] = set()
    for value, id in sorted(found, key=lambda f: -f[0]):
        alike = starred(id)  # of own networks the first of all layers stands for them
        if alike in seen or len(out) >= 5 * LIMIT:
            continue
        seen.add(alike)
        entry = by_id().get(id) or shelf.find(id)
        if entry is not None:
            out.append((value + (0.3 if asked and entry.is_law and _joins(entry, *asked) else 0.0), entry))
    return sorted(out, key=lambda f: -f[0])


def _filter(
    block: str | None,
    kind: str | None,
    optimizer: str | None,
    loss: str | None,
    exact: bool | None,
    between: tuple[str, str] | None,
    source: str | None,
) -> Callable[[Entry], bool]:
    """What an entry has to be.

    Raises:
        ValueError: for what no entry has.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"no kind of law {kind!r}; there are {', '.join(sorted(KINDS))}")
    blocks = _blocks()
    if block is not None and block.lower() not in map(str.lower, blocks):
        near = difflib.get_close_matches(block, blocks, 5, 0.5) or blocks
        raise ValueError(f"no entry is about a block {block!r}; there are {', '.join(near)}")
    if source is not None and not any(source.lower() in e.source.lower() for e in entries()):
        raise ValueError(f"no entry has a source {source!r}; there are {', '.join(sorted(sources()))}")
    if loss is not None and loss not in _losses():
        raise ValueError(f"no entry is about the loss {loss!r}; there are {', '.join(_losses())}")
    key = optimizer_key(optimizer) if optimizer else ""
    pair = tuple(frozenset(analyse(name).terms) for name in between) if between else ()

    def keep(e: Entry) -> bool:
        return (
            (kind is None or e.kind == kind)
            and (block is None or block.lower() in (name.lower() for name in (e.block, *e.blocks)))
            and (source is None or source.lower() in e.source.lower())
            and (exact is None or (e.is_law and e.exact == exact))
            and (not key or key in e.fates or e.id == f"optimizer/{key}")
            and (loss is None or holds_for(e, loss))
            and (not pair or (e.is_law and all(p <= on_wires(e) for p in pair)))
        )

    return keep


def holds_for(entry: Entry, loss: str) -> bool:
    """Whether a law is known to hold for a loss: for any, or for the one that it was checked with."""
    return entry.is_law and (entry.loss == loss or any(h.startswith("any differentiable loss") for h in entry.hypotheses))


@cache
def _losses() -> tuple[str, ...]:
    return tuple(sorted({e.loss for e in entries() if e.loss}))


def _has(name: str) -> bool:
    terms = frozenset(analyse(name).terms)
    return bool(terms) and any(terms <= on_wires(e) for e in entries() if e.is_law)


def _joins(entry: Entry, a: str, b: str) -> bool:
    """Whether a law stands between two blocks."""
    return all((t := frozenset(analyse(name).terms)) and t <= on_wires(entry) for name in (a, b))


def on_wires(entry: Entry) -> frozenset[str]:
    """Terms of the blocks on the wires of a law; a gain stands for the norm that it belongs to."""
    return _terms_of((*entry.touches, *((entry.block,) if "Affine" in entry.touches else ())))


@cache
def _terms_of(kinds: tuple[str, ...]) -> frozenset[str]:
    return frozenset(t for kind in kinds for t in analyse(in_words(kind)).terms)


@cache
def _blocks() -> list[str]:
    return sorted({name for e in entries() for name in (e.block, *e.blocks) if name})
