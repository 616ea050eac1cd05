"""An entry as a short page of text, and a list of entries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .fates import OPTIMIZERS
from .record import Record
from .trust import trust
from .wording import symbols

KINDS_SAID = {
    "balance": "quadratic law",
    "shift": "linear law",
    "frozen": "parameter that never moves",
    "none": "no law",
    "claim": "claim of a paper",
    "theorem": "theorem",
    "family": "published family",
    "optimizer": "optimizer",
}
WIDE = 14  # characters of the labels
SHOWN = 8  # entries that a page names


def page(entry: Record, see: Sequence[str] = ()) -> str:
    """An entry as text.

    Args:
        entry: the entry.
        see: ids of entries that belong to it, besides those that it names itself.
    """
    return "\n".join(f"{label:<{WIDE}}{text}" if label else text for label, text in rows(entry, see))


def rows(entry: Record, see: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The lines of a page: labels and texts; the first two have no label."""
    refuted = " REFUTED" if entry.status == "refuted" else ""
    out = [("", entry.id), ("", f"{entry.title} ({KINDS_SAID[entry.kind]}{refuted})"), ("", "")]
    if entry.kind == "none":
        out.append(("states", entry.text))
    else:
        first, *more = entry.text.split("\n")
        out.append(("conserved" if entry.is_law else "states", first))
        out += [("", " " * WIDE + line) for line in more]
    if entry.is_law and entry.text != entry.statement_text:
        out.append(("parameters", entry.statement_text))
    out.append(("LaTeX", entry.latex))
    if entry.counterexample:
        out.append(("refuted by", entry.counterexample))
    if drawing(entry):
        out.append(("where", drawing(entry)))
    if entry.network:
        loss = f", loss {entry.loss}" if entry.loss else ""
        out.append(("network", entry.network + loss))
    if entry.count_formula:
        independent = f"; independent: {entry.independent_formula}" if entry.independent_formula else ""
        indexed = f", indexed by {entry.algebra}" if entry.algebra and entry.kind != "none" else ""
        out.append(("scalars", f"{entry.count_formula}{indexed}{independent}"))
    out += [("hypothesis", h) for h in entry.hypotheses]
    if entry.is_law and entry.kind != "none":
        out.append(("exact", "yes" if entry.exact else f"up to {entry.approximate_by}"))
    if entry.symmetry:
        out.append(("symmetry", entry.symmetry))
    order = list(entry.fates.values())
    out += [("under" if not i else "", ("" if not i else " " * WIDE) + str(f)) for i, f in enumerate(order)]
    if entry.names:
        out.append(("also called", "; ".join(entry.names)))
    out += list(zip(("completeness", "reliability", "source"), trust(entry), strict=True))
    others = list(dict.fromkeys((*entry.evidence, *entry.related, *see)))
    if others:
        out.append(("see also", ", ".join(others[:SHOWN])))
    return [(label, text) if label else ("", text) for label, text in out]


def drawing(entry: Record) -> str:
    """The wire of a law with the parameters on its two sides: `Q ──● heads.q ●── K`."""
    sides = signed(entry)
    if entry.kind != "balance" or not sides:
        return ""
    plus = ", ".join(dict.fromkeys(s for sign, s in sides if sign > 0))
    minus = ", ".join(dict.fromkeys(s for sign, s in sides if sign < 0))
    left = f"{plus} ──● wire {entry.wire} " if plus else f"● wire {entry.wire} "
    on_it = f"  (on it: {', '.join(entry.touches)})" if entry.touches else ""
    return left + (f"●── {minus}" if minus else "●") + on_it


def signed(entry: Record) -> list[tuple[int, str]]:
    """The symbols of a law with their signs, in order."""
    names = sorted(set(symbols(entry.parameters).values()), key=len, reverse=True)
    if not names:
        return []
    known = "|".join(map(re.escape, names))
    out = []
    for sign, part in re.findall(r"(^-?|[+-] )(.*?)(?= [+-] |$)", entry.text):
        found = re.search(rf"(?<![\w.])(?:{known})(?!\w)", part)
        if found:
            out.append((-1 if sign.startswith("-") else 1, found[0]))
    return out


def short(entry: Record, optimizer: str = "") -> list[str]:
    """What an entry says in a line or two."""
    text = entry.text.split("\n")[0]
    out = [text if len(text) < 160 else text[:157] + "..."]
    if optimizer in entry.fates:
        out.append(str(entry.fates[optimizer]))
    elif optimizer and entry.is_law:
        out.append(f"{OPTIMIZERS[optimizer]}: there is no law to lose")
    return out
