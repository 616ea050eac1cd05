"""What the command line prints: tables for people, plain data for `--json`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lawful.theory.arguments import plural

if TYPE_CHECKING:
    from lawful.graph.questions.check import CheckReport
    from lawful.theory.derive.lawset import LawSet
    from lawful.theory.laws.law import Law
    from lawful.theory.oracle.counting import Count
    from lawful.theory.oracle.verification import Report

COLOURS = {"holds": "green", "approximate": "yellow", "violated": "bold red", "vacuous": "red", "undecided": "red"}


def law_table(laws: LawSet, title: str, report: Report | None = None) -> Table:
    """One row for every family of laws, with its verdict where there is a report."""
    table = Table(title=Text(title, "bold"), title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column("law", overflow="fold", ratio=4)
    table.add_column("indexed by", no_wrap=True)
    table.add_column("scalars", justify="right", no_wrap=True)
    if report is None:
        table.add_column("exact", no_wrap=True)
    else:
        table.add_column("verdict", no_wrap=True)
        table.add_column("residual", justify="right", no_wrap=True)
    table.add_column("what is conserved", overflow="fold", ratio=7, style="dim")
    measured = {r.law: r for r in report.laws} if report is not None else {}
    for law in laws:
        formula = Text(law.short)
        cells: list[str | Text] = [Text(law.name), Text(law.algebra), str(law.count)]
        if report is None:
            cells.append("yes" if law.exact else Text("up to eps", style="yellow"))
        else:
            found = measured.get(law.name)
            if found is None:
                cells += [Text("not measured", style="yellow"), ""]
            else:
                cells += [Text(found.verdict, style=COLOURS[found.verdict]), f"{found.residual:.0e}"]
        table.add_row(*cells, formula)
    return table


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
