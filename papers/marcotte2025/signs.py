"""What sign descent reaches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions import flows
from lawful.graph.questions.count import count

from ..figure import COLOURS
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _signs(quick: bool) -> Units:
    small = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 1, 2), (2, 2, 1)]
    more = [(2, 2, 2), (1, 2, 2), (3, 1, 1), (1, 3, 1), (3, 2, 1), (1, 1, 3), (2, 3, 2), (3, 2, 2)]

    def one(n: int, r: int, m: int) -> Plain:
        net = b.chain(V=b.Linear(n, r, False), U=b.Linear(r, m, False))
        found = count(Architecture(net), flow=flows.SignDescent())
        return {"laws": found.laws, "parameters": found.parameters, "verdict": str(found.verdict)}

    return {"-".join(map(str, s)): partial(one, *s) for s in (small if quick else small + more)}


def _signs_report(results: Results) -> Report:
    full = [k for k, r in results.items() if not r["laws"] and r["verdict"] == "holds"]
    more = {k: r for k, r in results.items() if r["laws"] and r["verdict"] == "holds" and k != "1-1-1"}
    laws = ", ".join(f"{k}: {r['laws']}" for k, r in results.items() if k not in full)
    least = min(more, key=lambda k: more[k]["parameters"], default="")
    text = f"widths {least}: {more[least]['laws']} laws on {more[least]['parameters']} parameters" if least else ""
    if least == "1-2-1":
        text += "; all gradients of u1 v1 + u2 v2 are multiples of one vector, so their signs span one dimension"
    claim = Claim(
        "span",
        "sign descent has no law for two linear layers of any widths but 1-1-1",
        verdict(not more),
        f"{len(full)} of the {len(results)} sizes here have none; laws elsewhere: "
        f"{laws}. The 13 sizes that the paper "
        "measured are not known here; it may have none of those that have laws.",
        text,
    )
    return Report({"sizes_whose_signs_fill_the_space": len(full) / len(results)}, [claim])


def _signs_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    names = list(results)
    ax.barh(names, [results[n]["parameters"] for n in names], color="#cccccc", label="parameters")
    spans = [results[n]["parameters"] - results[n]["laws"] for n in names]
    ax.barh(names, spans, 0.45, color=COLOURS[0], label="dimension that signs reach")
    ax.set(xlabel="dimension", ylabel="widths n-r-m")
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.4, -0.17))


PART = Part(
    "signs",
    "What sign descent reaches",
    "Two linear layers of widths n-r-m, brute force. The paper's 13 sizes are not known here; these are the "
    "smallest, in the quick run 5.",
    (0,),
    _signs,
    _signs_report,
    _signs_draw,
)
