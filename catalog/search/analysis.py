"""From a sentence to the terms that it is about: stems, the thesaurus of the field, optimizers, formulas.

Entries and questions go through the same function, so "LN", "layer normalization" and "LayerNorm" are one term.
The thesaurus and the endings are data (`data/thesaurus.json`), which the pages read too.

This file is long because a word, a formula and an optimizer in one sentence decide together how each is read.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from .typos import nearest, split
from .updates import named

SHORT = 5  # letters of a word from which on it is read as the nearest known one: below, most are words too
LONG_NAME = 7  # letters of a name of a person from which on another spelling of it is recognised
PART = 3  # letters from which on a part of a name is a word, known or not
LONGEST = 400  # characters of a question that are read
GREEK = {
    "γ": " gamma ",
    "β": " beta ",
    "λ": " lambda ",
    "η": " eta ",
    "ε": " epsilon ",
    "θ": " theta ",
    "²": "",
    "ᵀ": "",
}
TRANSPOSE = re.compile(r"\^\{?\\?(?:top|T)\}?|ᵀ|(?<=[A-Z])'|\.T\b")
LETTERS = re.compile(r"(?<![A-Za-z])[QKVOT]{1,4}(?![A-Za-z])")
INDEXED = re.compile(r"\b[Ww]_?\{?([QKVOqkvo])\}?(?![A-Za-z])|(?<![A-Za-z])([qkvo])_proj")
ALONE = re.compile(r"(?<![A-Za-z])([qk])(?![A-Za-z])")  # "the norms of q and k"
GENERIC = re.compile(r"(?<![A-Za-z])[UVW]{1,4}T?(?![A-Za-z])")  # the matrices of any two layers
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
BETWEEN = re.compile(r"\bbetween\s+(?:an?\s+|the\s+|its\s+)?(.+?)\s+and\s+(?:an?\s+|the\s+|its\s+)?(.+?)[?.!]*$", re.I)
MATRIX = "matrix"  # how the terms of the matrices of attention begin
IMPLIED = 0.2  # weight of what is not said
REACH = 4  # words between a block and the word that joins it to another
OPTIMIZER, MODEL = "optimizer", "model"  # how their terms begin; a schedule of the step is `optimizerschedule`


class Vocabulary:
    """The words that some entry has.

    Attributes:
        words: stems of the shipped entries and of the thesaurus.
        near: those of them among which the nearest of a wrong word is looked for: all but short names of people, which
            differ from many English words in one letter.
    """

    def __init__(
        self, words: Iterable[str], more: Callable[[str], bool] | None = None, people: Iterable[str] = ()
    ) -> None:
        self.words = frozenset(words) | stems()
        self.near = self.words - set(short_names(people))
        self._more = more or (lambda word: False)

    def __contains__(self, word: str) -> bool:
        return word in self.words or self._more(word)


@dataclass(frozen=True)
class Analysis:
    """What a text is about.

    Attributes:
        terms: the terms with their weights, 1 for what is said, less for what is implied.
        optimizers: keys of the optimizers that it asks about: the longest names, none that it is without.
        losses: names of the losses.
        corrected: words that were read as others.
        unknown: words that nothing in the catalog has.
        joined: terms of the blocks between which it asks: "a convolution followed by BatchNorm".
    """

    terms: dict[str, float] = field(default_factory=dict)
    optimizers: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    corrected: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


@cache
def thesaurus() -> dict[str, Any]:
    """The data file."""
    text = files("lawful.catalog").joinpath("data/thesaurus.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def tokens(text: str) -> list[str]:
    """Words and numbers in lower case, without accents."""
    for sign, word in GREEK.items():
        text = text.replace(sign, word)
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=\w)['’]s\b", "", plain).lower())


@cache
def stem(word: str) -> str:
    """A word without its ending."""
    for _ in range(3):
        for ending, instead in thesaurus()["suffixes"]:
            rest = word[: len(word) - len(ending)]
            if word.endswith(ending) and len(rest) >= 3 and not (ending == "s" and rest[-1] in "sui"):
                if ending in ("ing", "ed") and rest[-1] == rest[-2] and rest[-1] not in "lsz":
                    rest = rest[:-1]
                changed = rest + instead
                break
        else:
            return word
        if changed == word:
            return word
        word = changed
    return word


def term(kind: str, key: str) -> str:
    """The term of an optimizer or a model, one word of the index."""
    return kind + re.sub(r"[^a-z0-9]", "", key)


@cache
def phrases() -> dict[tuple[str, ...], tuple[str, ...]]:
    """The thesaurus the other way around: stems in a row, and the terms that they are."""
    data = thesaurus()
    found: dict[tuple[str, ...], list[str]] = {}
    groups: Iterable[tuple[str, Sequence[str]]] = [
        *data["concepts"].items(),
        *((term(OPTIMIZER, k), v) for k, v in data["optimizers"].items()),
        *((term(MODEL, k), v["phrases"]) for k, v in data["models"].items()),
    ]
    for key, said in groups:
        for phrase in said:
            row = tuple(stem(t) for t in tokens(phrase))
            if key not in found.setdefault(row, []):
                found[row].append(key)
    return {k: tuple(v) for k, v in found.items()}


@cache
def longest_phrase() -> int:
    """Number of words in the longest phrase of the thesaurus."""
    return max(map(len, phrases()))


@cache
def stems() -> frozenset[str]:
    """All stems of the thesaurus."""
    return frozenset(s for row in phrases() for s in row)


@cache
def stop_words() -> frozenset[str]:
    """Words that say nothing here, as such and as stems."""
    return frozenset(thesaurus()["stop"]) | frozenset(map(stem, thesaurus()["stop"]))


@cache
def blocks() -> frozenset[str]:
    """Concepts of the thesaurus that are blocks of networks."""
    return frozenset(thesaurus()["blocks"])


@cache
def joiners() -> tuple[tuple[str, ...], ...]:
    """Words that stand between the names of two blocks, in rows."""
    return tuple(tuple(tokens(phrase)) for phrase in thesaurus()["joiners"])


@cache
def others() -> frozenset[str]:
    """Stems of words of the field that are no typing errors, though no entry may have them."""
    return frozenset(map(stem, thesaurus()["other"]))


def short_names(people: Iterable[str]) -> list[str]:
    """Stems of the short words in names of people that are no words of the field."""
    words = {word for person in people for word in tokens(person) if len(word) < LONG_NAME}
    return sorted({stem(word) for word in words} - stems())


def analyse(text: str, known: Vocabulary | None = None, formulas: bool = True) -> Analysis:
    """The terms of a text.

    Args:
        text: a sentence, a name, a formula.
        known: words of the index; where given, other words are read as the nearest of them.
        formulas: whether single letters are the matrices of attention.
    """
    text = text[:LONGEST] if known is not None else text
    for name, instead in thesaurus()["capitals"].items():  # CLIP is a model, to clip is none
        text = re.sub(rf"(?<![A-Za-z]){name}(?![A-Za-z])", instead, text)
    letters, rest = _formulas(text, known is not None) if formulas else ([], text)
    corrected: dict[str, str] = {}
    if known is not None:  # a name that nothing has is read in parts: TransformerEncoderLayer
        rest = re.sub(r"[A-Za-z0-9]+", lambda m: _in_parts(m[0], known), rest)
    raw: list[str] = []
    breaks = set()
    for part in re.split(r"[,;/&](?![^()]*\))", rest):
        words = tokens(part)
        raw += words if known is None else [w for word in words for w in _spelled(word, known, corrected)]
        breaks.add(len(raw))
    row = [stem(w) for w in raw]
    terms: dict[str, float] = dict.fromkeys(letters, 1.0)
    unknown = []
    spans: list[tuple[int, int, tuple[str, ...]]] = []  # where blocks are named
    updates: list[tuple[int, int, str]] = []  # where optimizers are named
    data = thesaurus()
    keys = {term(OPTIMIZER, k): k for k in data["optimizers"]}
    table, longest = phrases(), longest_phrase()
    i = 0
    while i < len(row):
        size = next((n for n in range(min(longest, len(row) - i), 0, -1) if tuple(row[i : i + n]) in table), 0)
        if size:
            said = table[tuple(row[i : i + size])]
            terms.update(dict.fromkeys(said, 1.0))
            spans += [(i, i + size, found)] if (found := tuple(t for t in said if t in blocks())) else []
            updates += [(i, i + size, keys[t]) for t in said if t in keys]
        elif raw[i] not in stop_words() and (len(raw[i]) > 1 or not raw[i].isalpha()):
            terms[row[i]] = 0.3 if row[i].isdigit() else 1.0
            if known is not None and (row[i] not in known or row[i] in others()):
                unknown.append(raw[i])
        i += max(size, 1)
    if any(t.startswith(MATRIX) for t in letters):
        terms.setdefault("attention", IMPLIED)
    for key, model in data["models"].items():
        if term(MODEL, key) in terms:
            for implied in model["implies"]:
                terms.setdefault(implied, IMPLIED)
    norms = [(a, b) for a, b, said in spans if "batchnorm" in said]
    optimizers = tuple(named(raw, updates, norms, data["updates"], breaks))
    if known is not None:  # an entry is found by all that it names, a question asks about these
        terms = {t: w for t, w in terms.items() if t not in keys} | {term(OPTIMIZER, k): 1.0 for k in optimizers}
    losses = tuple(k for k, concept in data["losses"].items() if terms.get(concept, 0) >= 1)
    return Analysis(terms, optimizers, losses, corrected, tuple(unknown), _joined(raw, spans))


def _joined(raw: Sequence[str], spans: Sequence[tuple[int, int, tuple[str, ...]]]) -> tuple[str, ...]:
    """Terms of the blocks on both sides of each word that joins blocks; both of `between` stand behind it."""
    found: dict[str, None] = {}
    for i in range(len(raw)):
        size = next((len(j) for j in joiners() if tuple(raw[i : i + len(j)]) == j), 0)
        if not size:
            continue
        left = [s for s in spans if i - REACH <= s[1] <= i][-1:]
        right = [s for s in spans if i + size <= s[0] <= i + size + REACH][:1]
        if raw[i] == "between":
            left, right = right, [s for s in spans if right and right[0][1] < s[0] <= right[0][1] + REACH][:1]
        for _, _, terms in [*left, *right] if left and right else []:
            found.update(dict.fromkeys(terms))
    return tuple(found)


def between_of(text: str) -> tuple[str, str] | None:
    """The two blocks that a sentence asks between, as they were said."""
    found = BETWEEN.search(text[:LONGEST])
    return (found[1], found[2]) if found else None


def _formulas(text: str, asked: bool) -> tuple[list[str], str]:
    """Terms of the matrices in a formula (`Q^T Q`, `W_K`, `v_proj`: `matrixq`, ...), and the text without them."""
    names = thesaurus()["symbols"]  # of attention; other letters stand for nothing in particular
    plain = TRANSPOSE.sub(" ", text)
    found = [(m[1] or m[2]).lower() for m in INDEXED.finditer(plain)]
    plain = INDEXED.sub(" ", plain)
    generic = [run for run in GENERIC.findall(plain) if not found]
    if len("".join(generic)) > 1 and any(
        c in run for run in generic for c in "UW"
    ):  # V beside U or W is no value of attention
        return ["balanced", "linear"], LETTERS.sub(" ", GENERIC.sub(" ", plain))
    alone = ALONE.findall(plain)
    found += alone if asked and "q" in alone else []
    for run in LETTERS.findall(plain):
        found += run.lower()
    plain = LETTERS.sub(" ", plain)
    return [f"{MATRIX}{c}" for c in dict.fromkeys(found) if c in names], plain


def in_words(name: str) -> str:
    """A kind of block in words too, where the thesaurus does not know it as it is: `LayerScale Layer Scale`."""
    if tuple(stem(t) for t in tokens(name)) in phrases():
        return name
    return f"{name} " + CAMEL.sub(" ", name)


def _in_parts(name: str, known: Vocabulary) -> str:
    """A name that nothing has, in parts: `TransformerEncoderLayer`; as it is where a part is no word, as in `DoRA`."""
    if _is_known(name, known):
        return name
    parts = CAMEL.sub(" ", name).split()
    return " ".join(parts) if all(len(part) >= PART or _is_known(part, known) for part in parts) else name


def _is_known(name: str, known: Vocabulary) -> bool:
    row = tuple(stem(t) for t in tokens(name))
    return row in phrases() or all(t in known for t in row)


def _spelled(word: str, known: Vocabulary, corrected: dict[str, str]) -> list[str]:
    """A word, or what was meant by it: the nearest known word, or two words written as one."""
    if len(word) < SHORT or word.isdigit() or word in stop_words() or stem(word) in known or stem(word) in stop_words():
        return [word]
    if stem(word) in others():
        return [word]
    better = nearest(stem(word), known.near, stems()) if len(stem(word)) > 4 else None
    better = better or nearest(word, known.near, stems())
    found = split(word, known.words, stem) if better is None else [better]
    if found:
        corrected[word] = " ".join(found)
        return found
    return [word]
