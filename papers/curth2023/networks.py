"""Networks: raw parameters against the dimension of what they can compute."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from lawful.graph import families
from lawful.graph.questions.parameters import parameter_count

from ..figure import BLUE, GREEN, GREY, MARKS
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _networks(quick: bool) -> Units:
    def one(activation: str, width: int) -> Plain:
        found = parameter_count(families.mlp([3, width, 2], activation, False))
        return {"row": [width, found.parameters, found.dimension, found.gauge, found.laws, str(found.verdict)]}

    return {f"{a} {w}": partial(one, a, w) for a in ("linear", "relu") for w in range(1, 5 if quick else 9)}


def _rows(results: Results, kind: str) -> list[list[Any]]:
    return [found["row"] for name, found in results.items() if name.startswith(kind)]


def _networks_report(results: Results) -> Report:
    linear, relu = _rows(results, "linear"), _rows(results, "relu")
    sure = all(r[5] == "holds" for r in (*linear, *relu))
    good = sure and linear[-1][2] == linear[-2][2] and linear[-1][1] > linear[-2][1]
    told = "; ".join(
        f"{name} of width {r[0]}: {r[1]} raw, {r[2]} dimensions of functions, {r[3]} of the gauge, {r[4]} laws"
        for name, rows in (("linear", linear), ("ReLU", relu))
        for r in (rows[0], rows[-1])
    )
    claim = Claim(
        "raw",
        "the raw count of a network's parameters is not the size of what it can compute",
        verdict(good),
        f"Widths 3-h-2: {told}. More hidden units of a linear network add parameters and no function.",
        "" if good else told,
    )
    return Report({}, [claim])


def _networks_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for kind, colour, mark in (("linear", BLUE, MARKS[0]), ("relu", GREEN, MARKS[1])):
        rows = _rows(results, kind)
        name = "linear" if kind == "linear" else "ReLU"
        ax.plot([r[0] for r in rows], [r[2] for r in rows], mark + "-", color=colour, label=f"{name}: functions")
        ax.plot([r[0] for r in rows], [r[3] for r in rows], mark + ":", color=colour, label=f"{name}: gauge")
    ax.plot([r[0] for r in rows], [r[1] for r in rows], color=GREY, ls="--", label="raw parameters")
    ax.set(xlabel="hidden units h of 3-h-2", ylabel="dimension", xticks=[r[0] for r in rows])
    ax.legend()


PART = Part(
    "networks",
    "Networks: raw parameters and functions",
    "Two layers of widths 3-h-2 without biases, h from 1 to 8 (to 4 in the quick run), counted by "
    "lw.parameter_count. The paper counts no networks.",
    (0,),
    _networks,
    _networks_report,
    _networks_draw,
)
