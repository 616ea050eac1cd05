"""Rank of the gradients of two residual blocks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.count import count

from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _blocks(features: int, *hidden: int) -> Architecture:
    branches = [b.residual(b.Linear(features, h, False) >> b.ReLU() >> b.Linear(h, features, False)) for h in hidden]
    return Architecture(b.repeat(branches), input=b.Signal(features))


def _ranks(quick: bool) -> Units:
    sizes = (1, 4, 7) if quick else (1, 4, 7, 10, 13)

    def one(features: int, *hidden: int) -> Plain:
        found = count(_blocks(features, *hidden))
        return {"parameters": found.parameters, "rank": found.ranks[0], "laws": found.laws, "hidden": sum(hidden)}

    units: Units = {f"{n} {h}": partial(one, n, h, h) for n in sizes for h in sizes}
    return units | {"paper": partial(one, 3, 50, 20)}


def _ranks_report(results: Results) -> Report:
    bad = {k: r for k, r in results.items() if r["rank"] != r["parameters"] - r["hidden"]}
    worst = min(bad, key=lambda k: bad[k]["parameters"], default="")
    text = f"input and hidden widths {worst}: rank {bad[worst]['rank']} of {bad[worst]['parameters']}" if worst else ""
    numbers = {"rank_50_20": float(results["paper"]["rank"])}
    claims = [
        Claim(
            "rank",
            "gradients of single examples of two residual ReLU blocks leave one law for every hidden unit",
            verdict(not bad),
            f"{len(results) - len(bad)} of {len(results)} sizes: the rank is the parameters less the hidden units.",
            text,
        )
    ]
    return Report(numbers, claims)


def _ranks_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    grid = {tuple(map(int, k.split())): r["parameters"] - r["rank"] for k, r in results.items() if k != "paper"}
    sizes = sorted({n for n, _ in grid})
    image = ax.imshow([[grid[n, h] for h in sizes] for n in sizes], cmap="Blues", origin="lower", aspect="auto")
    for i, n in enumerate(sizes):
        for j, h in enumerate(sizes):
            dark = grid[n, h] > 0.6 * max(grid.values())
            ax.text(j, i, grid[n, h], ha="center", va="center", color="white" if dark else "black")
    ax.set(xlabel="hidden width of each block", ylabel="input width")
    ax.set_xticks(range(len(sizes)), [str(n) for n in sizes])
    ax.set_yticks(range(len(sizes)), [str(n) for n in sizes])
    place.colorbar(image, label="parameters - rank")


PART = Part(
    "ranks",
    "Rank of gradients of two blocks",
    "Two residual ReLU blocks without stem, random points, brute force; widths 1 to 13 (1 to 7 in the "
    "quick run), "
    "and 3 features with 50 and 20 hidden units.",
    (0,),
    _ranks,
    _ranks_report,
    _ranks_draw,
)
