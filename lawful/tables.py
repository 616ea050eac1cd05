"""What the command line prints: tables for people, plain data for `--json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lawful.theory.arguments import plural

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from lawful.dynamics.report import Row
    from lawful.graph.questions.check import CheckReport
    from lawful.theory.derive.lawset import LawSet
    from lawful.theory.laws.law import Law
    from lawful.theory.oracle.counting import Count
    from lawful.theory.oracle.verification import LawReport, Report

WIDEST = 10_000  # letters: a table that is not asked to fit
ROOM = 66  # letters that the name and the formula of a law need in a table
COLOURS = {"holds": "green", "approximate": "yellow", "violated": "bold red", "vacuous": "red", "undecided": "red"}


@dataclass(frozen=True)
class LawTable:
    """Laws with their verdicts: one row for every family, or a few lines where the formulas would have no room."""

    laws: LawSet
    title: str
    report: Report | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [(Text(law.name), self._cells(law), Text(law.short, "dim")) for law in self.laws]
        head = ["indexed by", "scalars", *(["exact"] if self.report is None else ["verdict", "residual"])]
        columns = zip(head, *(cells for _, cells, _ in rows), strict=True)
        fixed = sum(2 + max(map(len, column)) for column in columns)
        room = options.max_width - fixed
        whole = max((len(name) + 2 + len(formula) for name, _, formula in rows), default=0)
        if whole <= room or room >= ROOM:
            yield self._table(head, rows)
            return
        yield Text(self.title, "bold")
        for name, cells, formula in rows:
            yield name
            said = [f"indexed by {cells[0]}", f"{cells[1]} scalar{'s' * (str(cells[1]) != '1')}"]
            said += [
                f"{h} {c}" if h != "verdict" else str(c) for h, c in zip(head[2:], cells[2:], strict=True) if len(c)
            ]
            yield Padding(Text(", ".join(said)), (0, 0, 0, 2))
            yield Padding(formula, (0, 0, 0, 2))

    def _table(self, head: Sequence[str], rows: Sequence[tuple[Text, list[Text], Text]]) -> Table:
        table = Table(
            title=Text(self.title, "bold"), title_justify="left", header_style="bold", box=None, pad_edge=False
        )
        table.add_column("law", overflow="fold", ratio=4)
        for column in head:
            table.add_column(column, no_wrap=True, justify="right" if column in ("scalars", "residual") else "left")
        table.add_column("what is conserved", overflow="fold", ratio=7)
        for name, cells, formula in rows:
            table.add_row(name, *cells, formula)
        return table

    @cached_property
    def _measured(self) -> dict[str, LawReport]:
        return {r.law: r for r in self.report.laws} if self.report is not None else {}

    def _cells(self, law: Law) -> list[Text]:
        """What indexes a law, how many scalars it has, and what is known of it."""
        cells = [Text(law.algebra), Text(str(law.count))]
        if self.report is None:
            return [*cells, Text("yes") if law.exact else Text("up to eps", style="yellow")]
        found = self._measured.get(law.name)
        if found is None:
            return [*cells, Text("not measured", style="yellow"), Text("")]
        return [*cells, Text(str(found.verdict), style=COLOURS[found.verdict]), Text(f"{found.residual:.0e}")]


@dataclass(frozen=True)
class AccountTable:
    """The account of a run as a table, or a few lines for every law where its numbers would have no room."""

    rows: Sequence[Row]
    title: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from lawful.dynamics.report import colour_of, number, table

        found = table(self.rows, self.title)
        wanted = Measurement.get(console, options.update(max_width=WIDEST), found).maximum
        if wanted <= options.max_width:
            yield found
            return
        yield Text(self.title, "bold")
        for row in self.rows:
            yield Text(row.law)
            said = [f"change {number(row.change)}", *(f"{cause} {number(x)}" for cause, x in row.causes.items())]
            said += [f"remainder {number(row.remainder)} ({row.relative:.0e} of the law)"]
            yield Padding(Text(", ".join(said)), (0, 0, 0, 2))
            yield Padding(Text(row.verdict, colour_of(row.verdict)), (0, 0, 0, 2))


def law_line(laws: LawSet) -> str:
    """The counts in one line."""
    approximate = sum(law.count for law in laws if not law.exact)
    scalars, families = plural(laws.count, "scalar law"), plural(len(laws), "family", "families")
    line = f"{scalars} in {families}, {laws.independent} independent, loss {laws.loss}"
    return line + (
        f"; {approximate:,} of them {'holds' if approximate == 1 else 'hold'} up to the epsilon of a norm"
        if approximate
        else ""
    )


def reasons(report: Report) -> list[str]:
    """Why laws did not pass, one line each, and what to do about those that are undecided."""
    out = []
    for r in report.laws:
        if r.verdict in ("undecided", "vacuous"):
            out.append(
                f"{r.law} is {r.verdict}: {r.reason or 'no sample tested it'}; try --samples 16 or another --seed"
            )
        elif r.verdict == "violated":
            out.append(f"{r.law} is violated{': ' if r.reason else ''}{r.reason}")
    return out


def law_data(law: Law) -> dict[str, Any]:
    """A law as plain data."""
    return law.to_dict()


def laws_data(laws: LawSet) -> dict[str, Any]:
    """A set of laws as plain data; `LawSet.from_dict` reads it."""
    return laws.to_dict()


def report_data(report: Report) -> dict[str, Any]:
    """A verification as plain data."""
    return {
        "verdict": str(report.verdict),
        "residual": number(report.residual),
        "laws": [
            {"law": r.law, "verdict": str(r.verdict), "residual": number(r.residual), "control": number(r.control)}
            for r in report.laws
        ],
    }


def count_data(count: Count) -> dict[str, Any]:
    """What the oracle said as plain data."""
    return {
        "laws": count.laws,
        "parameters": count.parameters,
        "ranks": list(count.ranks),
        "gap": number(count.gap),
        "verdict": str(count.verdict),
        "closed": count.closed,
        "method": count.method,
    }


def check_data(check: CheckReport) -> dict[str, Any]:
    """A whole check as plain data."""
    return {
        "lawful": check.lawful,
        "holds": check.holds,
        "complete": check.complete,
        "verdict": str(check.verdict),
        "laws": laws_data(check.laws),
        "verified_on": "network" if check.own_report is not None else "copy" if check.small_report else None,
        "report": report_data(check.report),
        "count": count_data(check.count) if check.count else None,
        "counted": {
            "on": "copy" if check.copied else "network",
            "parameters": check.count.parameters,
            "independent": check.small_laws.independent,
            "rank": check.rank,
        }
        if check.count
        else None,
        "doubt": check.subject.reason,
        "summary": check.summary,
    }


def number(x: float) -> float | None:
    """A number that JSON has; None for infinity and NaN."""
    return x if math.isfinite(x) else None
