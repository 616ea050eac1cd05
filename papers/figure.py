"""How the figures look: on white paper, readable in print and on dark pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from .paper import Paper, Results

BLUE, RED, GREEN, ORANGE, PURPLE, GREY = "#2f6fb0", "#c0392b", "#2e8b57", "#d98200", "#7d4fa8", "#777777"
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, GREY)
MARKS = ("o", "s", "^", "D", "v", "x")
INK = "#222222"
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",  # never transparent: a dark page shows it as a sheet of paper
    "savefig.facecolor": "white",
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
}
HEIGHT, ACROSS = 3.1, 4.4  # inches of a row and of a part


def picture(paper: Paper, data: dict[str, Any]) -> bytes:
    """The figure of a run as PNG: the parts side by side, at most three in a row."""
    drawn = {p["name"]: p["results"] for p in data["parts"]}
    with matplotlib.rc_context(STYLE):
        rows: list[list[Any]] = [[]]
        for part in paper.parts:
            if rows[-1] and sum(p.width for p in rows[-1]) + part.width > 3:
                rows.append([])
            rows[-1].append(part)
        widest = max(sum(p.width for p in row) for row in rows)
        figure = Figure(figsize=(max(ACROSS * widest, 5.5), HEIGHT * len(rows) + 0.3), layout="constrained")
        strips: Any = figure.subfigures(len(rows), 1, squeeze=False)
        for strip, row in zip(strips[:, 0], rows, strict=True):
            places = strip.subfigures(1, len(row), squeeze=False, width_ratios=[p.width for p in row])
            for place, part in zip(places[0], row, strict=True):
                place.suptitle(part.title, fontsize=9.5, fontweight="bold", x=0.02, ha="left")
                part.draw(place, drawn[part.name])
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return _small(out)


def _small(picture: io.BytesIO) -> bytes:
    """The same picture of at most 256 colours: a quarter of the bytes, and nobody sees it."""
    from PIL import Image  # comes with matplotlib

    out = io.BytesIO()
    Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, format="png", optimize=True)
    return out.getvalue()


def curves(plot: Callable[..., Any], results: Results, pick: str, **style: Any) -> None:
    """A curve with marks for every unit.

    Args:
        plot: `ax.loglog`, `ax.semilogy`, ...
        results: of the units.
        pick: where each has its curve, a list of points.
        style: of all curves.
    """
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        plot(*zip(*found[pick], strict=True), mark + "-", color=colour, label=name, **style)


def named_rates(ax: Any, rates: Sequence[float]) -> None:
    """Ticks at the learning rates of the runs, on a logarithmic axis."""
    ax.set_xticks(list(rates), [f"{rate:g}" for rate in rates])
    ax.set_xticks([], minor=True)
