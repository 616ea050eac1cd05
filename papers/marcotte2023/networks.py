"""The networks that the notebook of the paper draws."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture

from ..figure import BLUE, GREY, ORANGE
from ..paper import Results

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


Drawn = list[tuple[list[int], bool]]  # widths of the layers, and whether they have biases


def network(widths: list[int], relu: bool, bias: bool) -> Architecture:
    """A chain of linear maps, with ReLU between them or not."""
    parts: dict[str, b.Block] = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        parts[f"fc{i}"] = b.Linear(n, m, bias)
        if relu and i < len(widths) - 2:
            parts[f"act{i}"] = b.ReLU()
    return Architecture(b.chain(**parts), input=b.Signal(widths[0]))


def drawn(relu: bool, many: int, depth: int, width: int) -> Drawn:
    """Networks as the paper's notebook draws them; `depth` and `width` are the ends of their ranges."""
    state = np.random.RandomState(0)  # the same numbers as numpy.random.seed(0)
    out: Drawn = []
    for _ in range(many):
        layers = state.randint(2, depth)
        widths = [int(state.randint(2, width)) for _ in range(layers + 1)]
        out.append((widths, bool(state.random_sample() < 0.5) if relu and depth == 5 else False))
    return out


def formula(widths: list[int], relu: bool) -> int:
    """Independent laws by the paper."""
    if relu:
        return sum(widths[1:-1])
    rank = [min(n, widths[i] + widths[i + 2]) for i, n in enumerate(widths[1:-1])]
    return sum(r * (2 * n + 1 - r) // 2 for n, r in zip(widths[1:-1], rank, strict=True))


def draw(place: SubFigure, results: Results) -> None:
    """Laws found against those of the formula."""
    ax = place.subplots()
    for kind, colour, mark in (("linear", BLUE, "o"), ("relu", ORANGE, "^")):
        rows = [row for unit, found in results.items() if unit.startswith(kind) for row in found["rows"]]
        label = "linear" if kind == "linear" else "ReLU"
        ax.plot([r[2] for r in rows], [r[-1] for r in rows], mark, color=colour, alpha=0.7, label=label)
    top = max(ax.get_xlim()[1], 2)
    ax.plot([0, top], [0, top], color=GREY, lw=0.8, label="equal")
    ax.set(xlabel="independent laws, formula of the paper", ylabel="independent laws, found")
    ax.legend()
