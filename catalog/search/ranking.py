"""The order of answers: how much of what was asked an entry says, and how little else.  The pages do the same.

A term counts with its rarity and with the place where it stands; an entry that is named exactly comes before its
special cases, whose heads say more than was asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..record import LAW_KINDS
from .analysis import MATRIX, MODEL, OPTIMIZER, Analysis

NAME, HEAD, LAW, BODY = 1.0, 0.9, 0.75, 0.3
FATE = 0.5  # a law says what an optimizer does to it, if not in so many words
MENTIONED = 0.5  # weight of an optimizer beside what it is asked about
JOINED = 2.0  # weight of the blocks between which something is asked
SPARE = 0.04  # for each term of the name that was not asked for
SPARES = 5
UNKNOWN = 0.4  # of a word that no entry has, against one that a single entry has
BASIC = {"optimizer": 0.0, "theorem": 0.03, "claim": 0.02, "family": 0.0}  # before entries that say as much
MODEL_ASKED = 0.15  # for the family whose name is asked


@dataclass(frozen=True)
class Terms:
    """The terms of an entry as the index keeps them."""

    id: str
    kind: str
    name: frozenset[str]
    head: frozenset[str]
    law: frozenset[str]
    body: frozenset[str]


def weights(question: Analysis, frequency: Mapping[str, int], entries: int) -> dict[str, float]:
    """What every term of a question counts.

    Args:
        question: the terms.
        frequency: number of entries that have each.
        entries: number of all entries.
    """
    asked = question.terms
    about = any(w >= 1 for t, w in asked.items() if not t.startswith(OPTIMIZER))

    def rarity(term: str) -> float:
        n = frequency.get(term, 0)
        return math.log(1 + entries / (n or 1)) * (1.0 if n else UNKNOWN)

    def stress(term: str) -> float:
        return MENTIONED if about and term.startswith(OPTIMIZER) else JOINED if term in question.joined else 1.0

    return {t: w * rarity(t) * stress(t) for t, w in asked.items()}


def score(entry: Terms, weight: Mapping[str, float]) -> float:
    """How well an entry answers, at most about 1; 0 where it says nothing of what was asked."""
    total = sum(weight.values())
    said = 0.0
    for t, w in weight.items():
        if t in entry.name:
            said += w * NAME
        elif t in entry.head:
            said += w * HEAD
        elif t in entry.law:
            said += w * LAW
        elif t in entry.body:
            said += w * BODY
    if not said:
        return 0.0
    if entry.kind in LAW_KINDS:
        said += sum(FATE * w for t, w in weight.items() if t.startswith(OPTIMIZER) and entry.kind != "none")
    spare = sum(t not in weight for t in entry.name)
    if any(t.startswith(MATRIX) for t in weight):
        spare += sum(t.startswith(MATRIX) and t not in weight for t in entry.law)
    spare = min(spare, SPARES)
    named = entry.kind == "family" and any(t.startswith(MODEL) and t in weight for t in entry.name)
    return said / total - SPARE * spare + BASIC.get(entry.kind, 0.01) + (MODEL_ASKED if named else 0.0)


def ranked(entries: Sequence[Terms], weight: Mapping[str, float]) -> list[tuple[float, str]]:
    """Scores and ids, best first; equal ones by id."""
    found = [(score(e, weight), e.id) for e in entries]
    return sorted((f for f in found if f[0] > 0), key=lambda f: (-round(f[0], 9), len(f[1]), f[1]))
