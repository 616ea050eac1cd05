"""The numbers that the papers print, and ours beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def published() -> dict[str, list[dict[str, Any]]]:
    """By paper, rows of `number`, `part`, `what`, `value`, `source`, and `why` where it does not run here."""
    text = files("lawful.papers").joinpath("published.json").read_text(encoding="utf-8")
    out: dict[str, list[dict[str, Any]]] = json.loads(text)
    return out


def compared(paper: str, numbers: dict[str, float], parts: Sequence[str]) -> list[dict[str, Any]]:
    """Every published number of some parts, with ours and the ratio, then what is ours alone."""
    out = []
    rows = [row for row in published().get(paper, []) if row["part"] in parts]
    for row in rows:
        one: dict[str, Any] = {k: row[k] for k in ("number", "what", "source", "why") if k in row}
        one["published"] = row["value"]
        ours = numbers.get(row["number"])
        if ours is not None:
            one["ours"] = ours
            if row["value"]:
                one["ratio"] = ours / row["value"]
        out.append(one)
    known = {row["number"] for row in rows}
    out += [{"number": k, "ours": v} for k, v in numbers.items() if k not in known]
    return out
