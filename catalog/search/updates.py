"""Which optimizers a question is about: "SGD with momentum" is momentum, "AdamW without weight decay" is Adam.

A name says more than those that it refines, unless a word that compares stands between them ("SGD or momentum").
What follows a "without" is not asked about, and the momentum of a BatchNorm is no optimizer.  The words are data
(`updates` in `data/thesaurus.json`); the pages do the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Span = tuple[int, int, str]  # the words from, to, and what they name


def named(
    raw: Sequence[str],
    spans: Sequence[Span],
    norms: Sequence[tuple[int, int]],
    rules: Mapping[str, Any],
    breaks: Collection[int] = (),
) -> list[str]:
    """Keys of the optimizers that a question asks about, in its order.

    Args:
        raw: its words.
        spans: where an optimizer is named.
        norms: where a BatchNorm is named.
        rules: `updates` of the thesaurus.
        breaks: words before which a comma or a slash stands.
    """
    cuts = sorted({*_cuts(raw, rules), *_items(raw, spans, rules, breaks)})
    left_out = _left_out(raw, spans, rules, breaks)
    found: dict[str, None] = {}
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        inside = [s for s in spans if begin <= s[0] < end and not _of_norm(raw, s, norms, rules)]
        said = [s for s in inside if s not in left_out]
        words = {w for a, b, _ in said for w in raw[a:b]}
        keys = list(dict.fromkeys(key for _, _, key in said))
        keys += [key for key, rows in rules["together"].items() if any(words.issuperset(row) for row in rows)]
        gone = {key for _, _, key in inside} - set(keys)
        keys = [next((r for g, r in rules["less"].get(key, {}).items() if g in gone), key) for key in keys]
        refined = {less for key in keys for less in rules["refines"].get(key, ())}
        found.update(dict.fromkeys(key for key in keys if key not in refined))
    return list(found)


def _at(raw: Sequence[str], i: int, row: Sequence[str]) -> bool:
    return i >= 0 and list(raw[i : i + len(row)]) == list(row)


def _cuts(raw: Sequence[str], rules: Mapping[str, Any]) -> list[int]:
    """Where a word stands that compares what is before it with what is behind it."""
    rows = [*rules["compare"], *([["and"]] if any(w in rules["pairs"] for w in raw) else [])]
    return [i for i in range(len(raw)) if any(_at(raw, i, row) for row in rows)]


def _broken(one: Span, other: Span, breaks: Collection[int]) -> bool:
    """Whether a comma or a slash stands between two names."""
    return any(one[1] <= b <= other[0] for b in breaks)


def _items(
    raw: Sequence[str], spans: Sequence[Span], rules: Mapping[str, Any], breaks: Collection[int]
) -> Iterator[int]:
    """Where an optimizer begins that is another one of a list: "SGD, Adam and Lion", "SGD, momentum, Adam".

    What others are used with ("SGD, weight decay") is one by itself only in the midst of such a list.
    """

    def listed(i: int) -> bool:
        one, other = spans[i - 1], spans[i]
        words = raw[one[1] : other[0]]
        joined = "and" in words or _broken(one, other, breaks)
        return joined and all(w.isdigit() or w in rules["listing"] for w in words)

    def whole(i: int) -> bool:
        return spans[i][2] not in rules["additions"]

    for i in range(1, len(spans)):
        midst = i + 1 < len(spans) and whole(i - 1) and whole(i + 1) and listed(i + 1)
        if listed(i) and (whole(i) or (midst and _broken(spans[i - 1], spans[i], breaks))):
            yield spans[i][0]


def _left_out(
    raw: Sequence[str], spans: Sequence[Span], rules: Mapping[str, Any], breaks: Collection[int]
) -> list[Span]:
    """What the question says to be without: behind a "without", and what a "or" joins to that, or set to 0."""
    found: list[Span] = []
    for span in spans:
        start, end, key = span
        between = raw[found[-1][1] : start] if found else ["-"]
        apart = "and" in between or bool(found and _broken(found[-1], span, breaks))
        joined = all(w in rules["along"] for w in between) and (not apart or key in rules["additions"])
        while start and raw[start - 1] in rules["articles"]:
            start -= 1
        both = any(_at(raw, start - len(row), row) for row in rules["compare"])
        denied = not both and any(_at(raw, start - len(row), row) for row in rules["without"])
        while end < len(raw) and (raw[end] in rules["set"] or raw[end] in rules["articles"]):
            end += 1
        off = raw[end] in rules["nothing"] if end < len(raw) else False
        digits = []
        while end < len(raw) and raw[end].isdigit():
            digits.append(raw[end])
            end += 1
        if joined or denied or off or (digits and not "".join(digits).strip("0") and not raw[end : end + 1] == ["e"]):
            found.append(span)
    return found


def _of_norm(raw: Sequence[str], span: Span, norms: Sequence[tuple[int, int]], rules: Mapping[str, Any]) -> bool:
    """Whether a momentum is that of the running statistics: "batch norm momentum", "momentum of the batch norm"."""
    start, end, key = span
    if key != "momentum" or raw[end : end + 1] in (["sgd"], ["optimizer"]):
        return False
    behind = end
    if raw[end : end + 1] and raw[end] in ("of", "in", "inside") and not (start and raw[start - 1] == "sgd"):
        behind += 1
        while behind < len(raw) and raw[behind] in rules["articles"]:
            behind += 1
    return any(
        (b <= start and all(w in rules["parts"] for w in raw[b:start])) or (behind > end and a == behind)
        for a, b in norms
    )
