"""The account of every law as rows, as a table, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .account import Account
from .health import APPROXIMATE, NOT_TESTED, OK, ROUNDING, UNEXPLAINED, judge, suspects
from .step import DECAY, NORM, UNWATCHED

if TYPE_CHECKING:
    from rich.table import Table

    from .watcher import Watcher

FORMAT = "lawful run 1"
WORDS = ("law", "verdict")  # what a row has besides numbers


@dataclass(frozen=True)
class Row:
    """The account of one law in numbers.

    A law may have many scalars.  `change` is the Euclidean norm of what they moved by, and a cause is the part of it
    in that direction, so that the causes add up to the change; the sign says whether the scalars grew in sum.

    Attributes:
        law: its name.
        change: what it moved by.
        causes: what every cause did.
        remainder: the Euclidean norm of what no cause explains.
        relative: the remainder over the law's scale.
        verdict: `ok`, `rounding`, `epsilon`, `not tested`, `not watched` or `unexplained`.
    """

    law: str
    change: float
    causes: dict[str, float]
    remainder: float
    relative: float
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """One flat row."""
        head: dict[str, Any] = {"law": self.law, "change": self.change}
        return {**head, **self.causes, "remainder": self.remainder, "relative": self.relative, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """The row that `as_dict` wrote; a number that is none there, as JSON has no NaN, is NaN."""
        numbers = {k: float(v) if isinstance(v, (int, float)) else math.nan for k, v in data.items() if k not in WORDS}
        change, remainder, relative = (numbers.pop(n) for n in ("change", "remainder", "relative"))
        return cls(str(data["law"]), change, numbers, remainder, relative, str(data["verdict"]))


def rows(ledger: Watcher) -> list[Row]:
    """A row for every law; all rows have the same causes."""
    verdicts = judge(ledger).verdicts
    accounts = ledger.accounts
    causes = dict.fromkeys(c for a in accounts.values() for c in a.ordered())
    out = []
    for name, a in accounts.items():
        remainder = a.remainder
        shares = {c: a.along(a.causes[c]) if c in a.causes else 0.0 for c in causes}
        size = float(torch.linalg.vector_norm(remainder))
        whole = a.change
        out.append(Row(name, a.along(whole), shares, size, size / a.norm, verdicts[name]))
    return out


def table(found: Sequence[Row], title: str) -> Table:
    """Rows as a table of the package rich."""
    from rich.markup import escape
    from rich.table import Table

    causes = list(found[0].causes) if found else []
    out = Table("law", "change", *map(escape, causes), "remainder", "of the law", "verdict", title=escape(title))
    for row in found:
        numbers = [row.change, *row.causes.values(), row.remainder]
        verdict = f"[{colour_of(row.verdict)}]{escape(row.verdict)}[/]"
        cells = [number(x) for x in numbers]
        out.add_row(escape(row.law), *cells, f"{row.relative:.0e}", verdict)
    return out


def colour_of(verdict: str) -> str:
    """The colour of a verdict: what is open is yellow."""
    return {OK: "green", ROUNDING: "green", UNEXPLAINED: "bold red"}.get(verdict, "yellow")


def record(ledger: Watcher) -> dict[str, Any]:
    """The account as plain data, which `lawful ledger` shows again; JSON has no NaN, so that it is None."""
    judged = judge(ledger)
    return {
        "format": FORMAT,
        "network": type(ledger.model).__name__,
        "optimizer": ", ".join(type(o).__name__ for o in ledger.optimizers),
        "steps": ledger.steps,
        "laws": [_plain(row.as_dict()) for row in rows(ledger)],
        "explained": {name: explain(ledger, account) for name, account in ledger.accounts.items()},
        "health": judged.text,
        "verdict": judged.worst,
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for JSON."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def explain(ledger: Watcher, account: Account) -> str:
    """One law in words."""
    law = account.form.law
    row = next(r for r in rows(ledger) if r.law == law.name)
    if not account.steps:
        return f"{law.name}: no step was watched yet"
    known = {c: abs(x) for c, x in row.causes.items() if x and c != UNWATCHED}
    whole = sum(known.values())
    parts = sorted(((x / whole, c) for c, x in known.items()), reverse=True)
    shares = ", ".join(f"{_percent(share)} {cause}" for share, cause in parts if share >= 1e-4) or "nothing moved it"
    unseen = row.causes.get(UNWATCHED, 0.0)
    if unseen:
        shares = f"{unseen:.3g} of it in steps that were not watched, of the rest {shares}"
    lines = [
        f"{law.name} ({law.text})",
        f"moved by {row.change:.3g} in {account.booked} steps, {abs(row.change) / account.norm:.1e} of its size: "
        f"{shares}; remainder {row.relative:.0e} of the law: {row.verdict}.",
    ]
    lines += _sentences(ledger, account, row)
    return "\n".join(lines)


def _sentences(ledger: Watcher, account: Account, row: Row) -> list[str]:
    out = []
    scale = account.norm
    decay = account.causes.get(DECAY)
    if decay is not None and account.form.quadratic and abs(row.causes[DECAY]) > 0.5 * abs(row.change):
        out.append("Decay pulls it to 0, as e^(-2 λ t) for a rate λ and training time t: this is as it must be.")
    if row.verdict == ROUNDING:
        bound = float(torch.linalg.vector_norm(account.bound)) / scale
        out.append(f"The remainder is rounding: bound {bound:.0e} of the law, seen {row.relative:.0e}.")
    if row.verdict == NOT_TESTED:
        bound = float(torch.linalg.vector_norm(account.bound)) / scale
        out.append(f"Rounding alone may be {bound:.0e} times the law, so that its account tests nothing.")
    if row.verdict == APPROXIMATE:
        what = abs(row.causes.get(NORM, 0.0)) / scale
        out.append(f"The law holds up to the epsilon of norms; what that did was measured, {what:.0e} of the law.")
    if row.verdict == UNEXPLAINED:
        names = suspects([account], [a for a in ledger.accounts.values() if a is not account])
        hits = [f for f in judge(ledger).findings if set(f.parameters) & {*names, *account.form.names}]
        out += [f"{', '.join(f.parameters[:4])}: {f.text}." for f in hits if f.fault]
    return out


def number(x: float) -> str:
    """A number of an account, as its table shows it."""
    return "0" if x == 0 else f"{x:.2e}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 or share == 1 else f"{100 * share:.4g} %"
