"""The forms in which maps "scale this, compensate there" are written, and the modules that their names mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lawful.theory.arguments import ArgumentError, shown

FORMS = 'write {"smooth_layer": "a", "balance_layers": ["b"]}, [["b"], "a"] or {"scale": "a", "compensate": ["b"]}'


def is_pair(entry: Any) -> bool:
    """Whether an entry has the form of SmoothQuant."""
    return isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], str) and not isinstance(entry, str)


def entry_of(entry: Any) -> tuple[str, tuple[str, ...]]:
    """What is scaled, and what compensates.

    Raises:
        ValueError: for none of the forms.
    """
    if is_pair(entry):
        smooth, balance = entry[1], entry[0]
    elif isinstance(entry, Mapping):
        smooth = entry.get("smooth_layer", entry.get("scale"))
        balance = entry.get("balance_layers", entry.get("compensate"))
    else:
        smooth = balance = None
    balance = [balance] if isinstance(balance, str) else balance
    if (
        not isinstance(smooth, str)
        or not isinstance(balance, Sequence)
        or not balance
        or not all(isinstance(b, str) for b in balance)
    ):
        raise ArgumentError(f"cannot read {shown(entry)} as an entry of a map; {FORMS}")
    return smooth, tuple(balance)


def matching(name: str, names: Sequence[str]) -> list[str]:
    """The modules that a name or a pattern means.

    Raises:
        ValueError: for what is no regular expression.
    """
    if name.startswith("re:"):
        try:
            expression = re.compile(name.removeprefix("re:"))
        except re.error as error:
            raise ArgumentError(f"{name!r} is no regular expression: {error}") from error
        return [n for n in names if n and expression.match(n)]
    return [n for n in names if n == name]


def together(smooth: str, balance: str, one: str, other: str) -> bool:
    """Whether two modules that patterns name are of one layer: their numbers agree as far as both have some."""
    if not (one.startswith("re:") and other.startswith("re:")):
        return True
    numbers = [[p for p in n.split(".") if p.isdigit()] for n in (smooth, balance)]
    return numbers[0] == numbers[1][: len(numbers[0])] or numbers[1] == numbers[0][: len(numbers[1])]
