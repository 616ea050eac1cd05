"""The router law of theorem 4.7, and its counterexample."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import sympy as sp

from lawful import blocks as b
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive

from ..figure import COLOURS, GREY
from ..paper import HOLDS, REFUTED, Claim, Part, Plain, Report, Results, Units, verdict
from .networks import experts

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _router(quick: bool) -> Units:
    def exact() -> Plain:
        z = sp.symbols("z1:3", real=True)
        gates = [1 / (1 + sp.exp(-t)) for t in z]
        loss = (sum(g * f for g, f in zip(gates, (0, 1), strict=True)) / sum(gates)) ** 2 / 2
        at = {z[0]: 0, z[1]: sp.log(3)}
        slope = sp.nsimplify(sp.simplify(-sum(sp.diff(loss, t).subs(at) for t in z)))
        return {"derivative": str(abs(Fraction(int(slope.p), int(slope.q))))}

    def measured() -> Plain:
        rows = {}
        for name in ("softmax", "normalised_sigmoid"):
            arch = experts(b.Router() if name == "softmax" else b.Router(name), 2, 2)
            sums = derive(experts(b.Router(), 2, 2)).where(kind="shift")
            rows[name] = [str(verify(arch, sums).verdict), count(arch).laws, derive(arch).independent]
        return rows

    return {"exact": exact, "measured": measured}


def _router_report(results: Results) -> Report:
    soft, sigmoid = results["measured"]["softmax"], results["measured"]["normalised_sigmoid"]
    claims = [
        Claim(
            "softmax",
            "the column sums of a softmax router are conserved (theorem 4.5)",
            verdict(soft[0] == "holds" and soft[1] == soft[2]),
            f"On gradients: {soft[0]}; brute force counts {soft[1]} laws of 2 experts of width 2, the rules {soft[2]}.",
        ),
        Claim(
            "normalised-sigmoid",
            "the column sums of a router of normalised sigmoids are conserved (theorem 4.7)",
            REFUTED if sigmoid[0] == "violated" and results["exact"]["derivative"] != "0" else HOLDS,
            f"On gradients: {sigmoid[0]}; brute force counts {sigmoid[1]} laws, those of the experts alone.",
            "two experts that give 0 and 1, x = e1, logits 0 and ln 3, target 0, loss (f - y)²/2: the column sum moves "
            f"at the rate {results['exact']['derivative']}, by exact arithmetic",
        ),
    ]
    return Report({"laws_softmax": float(soft[1]), "laws_normalised_sigmoid": float(sigmoid[1])}, claims)


def _router_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    found = results["measured"]
    for i, (label, colour) in enumerate(zip(("brute force", "rules of lawful"), COLOURS, strict=False)):
        ax.bar([k + 0.3 * i for k in range(2)], [found[n][1 + i] for n in found], 0.28, color=colour, label=label)
    ax.plot([0.75, 1.6], [10, 10], color=GREY, ls="--", label="as theorem 4.7 claims: 4 + 6")
    ax.set(ylabel="independent laws", xticks=[0.15, 1.15], xticklabels=["softmax", "normalised sigmoid"], ylim=(0, 14))
    ax.legend(loc="upper right")


PART = Part(
    "router",
    "The router law of theorem 4.7",
    "Two ReLU experts of width 2 on 6 features, random data; and exact arithmetic on one example.",
    (0,),
    _router,
    _router_report,
    _router_draw,
)
