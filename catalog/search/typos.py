"""Words as they were meant: the nearest known word by edits, and two words written as one."""

from __future__ import annotations

from collections.abc import Callable


def distance(a: str, b: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours from one word to the other; `most + 1` for more."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]


def nearest(word: str, known: frozenset[str], common: frozenset[str] = frozenset()) -> str | None:
    """The known word that is fewest edits away, common ones first; None where all are too far for its length."""
    most = 1 if len(word) < 7 else 2
    best: tuple[float, str] | None = None
    for other in known:
        if len(other) < 3 or abs(len(other) - len(word)) > most:
            continue
        edits = distance(word, other, most)
        if edits <= most:
            rank = (
                edits + 0.5 * (word[0] != other[0]) + 0.1 * (len(word) != len(other)) + 0.2 * (other not in common),
                other,
            )
            best = min(best, rank) if best else rank
    return best[1] if best and best[0] < len(word) / 2.5 else None


def split(word: str, known: frozenset[str], stem: Callable[[str], str]) -> list[str]:
    """Two known words of three letters or more that were written as one; empty where there are none."""
    for i in range(3, len(word) - 2):
        if stem(word[:i]) in known and stem(word[i:]) in known:
            return [word[:i], word[i:]]
    return []
