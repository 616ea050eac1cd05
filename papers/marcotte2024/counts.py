"""How many laws there are under momentum and mirror flow, by brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawful.graph.questions import flows as f
from lawful.graph.questions.count import count

from ..figure import BLUE, ORANGE
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import ENTROPY, convex, linear

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


SIZES = ((1, 2, 1), (1, 3, 1), (2, 2, 1), (1, 3, 2), (2, 2, 2))


def _counts(quick: bool) -> Units:
    sizes = SIZES[:4] if quick else SIZES

    def pairs() -> Plain:
        rows = []
        for n, r, m in sizes:
            rank = min(2 * (n + m), r)
            rows.append([[n, r, m], count(linear(n, r, m), flow=f.Momentum(0.5)).laws, rank * (2 * r - rank - 1) // 2])
        return {"rows": rows}

    def others() -> Plain:
        relu, icnn = convex(2, 3, 2), f.Mirror({"2.weight": "entropy"})
        return {
            "ReLU, momentum": [count(relu, flow=f.Momentum(0.5)).laws, 0],
            "NMF, mirror": [count(linear(2, 2, 2), flow=ENTROPY).laws, 2],
            "ICNN, mirror": [count(relu, flow=icnn).laws, 3],
            "NMF, momentum": [count(linear(2, 2, 2), flow=f.Momentum(0.5, ENTROPY, ahead=0.1)).laws, 0],
            "ICNN, momentum": [count(relu, flow=f.Momentum(0.5, icnn, ahead=0.1)).laws, 0],
        }

    def unread() -> Plain:
        return {"laws": count(linear(2, 2, 2), flow=f.Momentum(0.5, ENTROPY)).laws}

    return {"linear": pairs, "others": others, "metric not ahead": unread}


def _counts_report(results: Results) -> Report:
    rows, others = results["linear"]["rows"], results["others"]
    wrong = [row for row in rows if row[1] != row[2]]
    least = min(wrong, key=lambda row: sum(row[0])) if wrong else None
    wide = [row for row in rows if row[0][0] * row[0][2] > 1]
    shape = "" if least is None else "-".join(map(str, least[0]))
    agree = sum(row[1] == row[2] for row in wide)
    off = [name for name, (found, said) in others.items() if found != said]
    return Report(
        {"sizes of linear layers whose momentum laws are the formula's": 1 - len(wrong) / len(rows)},
        [
            Claim(
                "formula",
                "two linear layers of any size n-r-m have rk (2r - rk - 1) / 2 laws under momentum, with "
                "rk = min(2(n + m), r)",
                verdict(not wrong),
                f"{agree} of {len(wide)} sizes with more than one input or output agree, {len(rows) - len(wrong)} of "
                f"{len(rows)} in all.",
                ""
                if least is None
                else f"{shape}: {least[1]} laws, the formula says {least[2]}; <u, v> is (|u + v|² - |u - v|²) / 4, and "
                "u + v and u - v turn apart",
            ),
            Claim(
                "others",
                "ReLU networks, NMF and ICNN have no law under momentum; under mirror flow NMF and ICNN have one for "
                "every hidden unit",
                verdict(not off),
                "Brute force: "
                + "; ".join(f"{name} {found}" for name, (found, _) in others.items())
                + ". The metric of the accelerated flow is read ahead of the parameters; read at the parameters NMF "
                f"has {results['metric not ahead']['laws']}.",
                off[0] if off else "",
            ),
        ],
    )


def _counts_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    rows = results["linear"]["rows"]
    places = range(len(rows))
    ax.bar([p - 0.2 for p in places], [row[1] for row in rows], 0.38, color=BLUE, label="brute force")
    ax.bar([p + 0.2 for p in places], [row[2] for row in rows], 0.38, color=ORANGE, label="formula of the paper")
    ax.set_xticks(list(places), ["-".join(map(str, row[0])) for row in rows], rotation=30)
    ax.set(xlabel="widths", ylabel="laws of two linear layers")
    ax.legend()


PART = Part(
    "counts",
    "How many laws, by brute force",
    "Lie algebras at random points; the quick run has 4 of 5 sizes of two linear layers.",
    (0,),
    _counts,
    _counts_report,
    _counts_draw,
)
