"""A part that counts: laws of small networks by a formula of a paper, by the rules, and by brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.oracle.counting import Count
from lawful.theory.verdict import Verdict

from .figure import BLUE, ORANGE
from .paper import UNTESTED, Claim, Part, Plain, Report, Results, Units, verdict
from .published import published

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


@dataclass(frozen=True)
class Counted:
    """A formula at one size.

    Attributes:
        number: the name of the published number, which is what the formula gives.
        text: what the paper says.
        network: an instance.
        loss: its loss.
        counted: brute force, where it is not that of the whole network at random points.
    """

    number: str
    text: str
    network: Callable[[], Architecture]
    loss: str = "mse"
    counted: Callable[[Architecture], Count] | None = None


def counting(paper: str, name: str, title: str, setting: str, rows: tuple[Counted, ...]) -> Part:
    """A part of a paper with one unit and one claim for every row."""
    said = {row["number"]: row["value"] for row in published()[paper]}

    def one(row: Counted) -> Plain:
        arch = row.network()
        found = row.counted(arch) if row.counted else count(arch, row.loss)
        rules = derive(arch, row.loss).independent
        return {"laws": found.laws, "rules": rules, "parameters": found.parameters, "verdict": str(found.verdict)}

    def units(quick: bool) -> Units:
        return {row.number: partial(one, row) for row in rows}

    def report(results: Results) -> Report:
        claims = []
        for row in rows:
            found, formula = results[row.number], said[row.number]
            sure, good = found["verdict"] == str(Verdict.HOLDS), found["laws"] == formula
            told = f"The formula says {formula}, brute force counts {found['laws']} laws of {found['parameters']} "
            told += f"parameters, the rules of lawful {found['rules']}."
            if not sure:
                told += f" Brute force is not sure of its count: {found['verdict']}."
            claims.append(Claim(row.number.replace("_", "-"), row.text, verdict(good) if sure else UNTESTED, told))
        return Report({row.number: results[row.number]["laws"] for row in rows}, claims)

    def draw(place: SubFigure, results: Results) -> None:
        ax = place.subplots()
        names = [row.number.removeprefix("laws_").replace("_", " ") for row in rows]
        at = range(len(rows))
        ax.barh([k + 0.2 for k in at], [said[row.number] for row in rows], 0.38, color=ORANGE, label="formula")
        ax.barh([k - 0.2 for k in at], [results[r.number]["laws"] for r in rows], 0.38, color=BLUE, label="brute force")
        ax.set_yticks(list(at), names, fontsize=7)
        ax.set(xlabel="independent laws")
        ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.4, -0.17))

    return Part(name, title, setting, (0,), units, report, draw)
