"""The figure of `lawful demo`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lawful.dynamics.train import LawTrace, drift_slope, drifts_by_rate

from .demo_result import Result

FORMATS = (".png", ".pdf", ".svg")
SHADES = {"ResNet": ("#08306b", "#2f7fbc", "#8fc1e0"), "Transformer": ("#67000d", "#d0433b", "#f5a582")}
INK, FAINT, GUIDE, EPSILON = "#222222", "#dddddd", "#888888", "#e0a100"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GUIDE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
ROUNDING = 1e-17  # a law that did not move at all is drawn here


def draw(results: Sequence[Result], output: Path) -> None:
    """Draws loss, one law, drift against rate, and every law of each network.

    Raises:
        OSError: if the file cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(16, 10), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=[1.25, 1], wspace=0.03)
        left, right = parts
        grid = left.subplots(3, len(results), squeeze=False)
        for column, result in enumerate(results):
            _losses(grid[0, column], result)
            _law(grid[1, column], result)
            _drift(grid[2, column], result)
        _every_law(right.subplots(), results)
        figure.suptitle(
            "Gradient flow conserves all these quantities; a step of SGD moves each by exactly $\\eta^2\\,Q(g)$",
            fontsize=14,
            fontweight="bold",
            x=0.01,
            ha="left",
        )
        figure.savefig(output, dpi=130)


def _losses(axes: Any, result: Result) -> None:
    for run, colour in zip(result.runs, SHADES[result.subject.name], strict=True):
        width = max(run.steps // 20, 1)
        smooth = [
            sum(run.losses[max(0, i - width) : i + 1]) / len(run.losses[max(0, i - width) : i + 1])
            for i in range(run.steps)
        ]
        axes.plot(run.losses, color=colour, alpha=0.2, lw=0.8)
        axes.plot(smooth, color=colour, lw=1.8, label=f"$\\eta$ = {run.rate:g}")
    axes.set_title(f"{result.subject.name} learns {result.subject.data}")
    axes.set_xlabel("step")
    axes.set_ylabel("cross-entropy")
    axes.set_ylim(bottom=0)
    axes.legend()


def _law(axes: Any, result: Result) -> None:
    """One scalar of one law: measured as dots, predicted as lines."""
    name = result.subject.shown
    scalar = int(result.runs[0][name].drift[-1].abs().argmax())
    for run, colour in zip(result.runs, SHADES[result.subject.name], strict=True):
        trace = run[name]
        axes.plot(trace.predicted_drift[:, scalar], color=colour, lw=1.3)
        every = max(run.steps // 14, 1)
        axes.plot(
            range(0, run.steps + 1, every), trace.drift[::every, scalar], "o", ms=4, mfc="white", mec=colour, mew=1.2
        )
    axes.plot([], [], "o", ms=4, mfc="white", mec=INK, mew=1.2, label="measured")
    axes.plot([], [], color=INK, lw=1.3, label="predicted: sum of $\\eta^2 Q(g)$")
    axes.axhline(0, color=GUIDE, lw=0.8, ls=":")
    axes.set_title(f"One law of {result.runs[0][name].law.count}: {name.removeprefix('balance of ')}")
    axes.set_xlabel("step")
    axes.set_ylabel("change of the law")
    axes.legend(loc="best")


def _drift(axes: Any, result: Result) -> None:
    colours = SHADES[result.subject.name]
    for equal_time, marker, face in ((False, "o", colours[0]), (True, "s", "white")):
        points = drifts_by_rate(result.runs, equal_time)
        slope = drift_slope(result.runs, equal_time)
        label = f"equal {'time' if equal_time else 'steps'}: slope {slope:.2f}"
        axes.plot(
            *zip(*points, strict=True),
            marker,
            ms=8,
            mfc=face,
            mec=colours[0],
            mew=1.5,
            label=label,
            ls="none",
            zorder=3,
        )
        (first, drift), last = points[0], points[-1][0]
        power = 1 if equal_time else 2
        axes.plot(
            [first, last], [drift, drift * (last / first) ** power], color=GUIDE, lw=1, ls="--" if power == 2 else ":"
        )
    axes.plot([], [], color=GUIDE, lw=1, ls="--", label="slope 2")
    axes.plot([], [], color=GUIDE, lw=1, ls=":", label="slope 1")
    axes.set_xscale("log")
    axes.set_yscale("log")
    rates = [run.rate for run in result.runs]
    axes.set_xticks(rates, [f"{r:g}" for r in rates])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_title("Drift of all exact laws falls with the rate")
    axes.set_xlabel("learning rate $\\eta$")
    axes.set_ylabel("Euclidean norm of the drift")
    axes.legend()


def _every_law(axes: Any, results: Sequence[Result]) -> None:
    """A row for every family: how far training moved it, and how much of that the prediction leaves open."""
    row = 0.0
    ticks, labels = [], []
    for result in results:
        colour = SHADES[result.subject.name][0]
        axes.text(2e-18, row, f"{result.subject.name}", fontweight="bold", color=colour, va="center", fontsize=10)
        row += 1
        for law in sorted(result.check.laws, key=lambda w: (not w.exact, w.kind)):
            traces = [run[law.name] for run in result.runs]
            mark = colour if law.exact else EPSILON
            moved = [_relative(t, t.drift) for t in traces]
            left = max(_relative(t, t.unexplained) for t in traces)
            axes.plot([left, max(moved)], [row, row], color=FAINT, lw=1.5, zorder=1)
            for value, shade in zip(moved, SHADES[result.subject.name], strict=True):
                axes.plot(value, row, "o", ms=5, color=shade, zorder=2)
            axes.plot(left, row, "x", ms=5.5, mew=1.6, color=mark, zorder=3)
            ticks.append(row)
            labels.append(f"{law.name}  ({law.count})")
            row += 1
        row += 0.6
    axes.set_xscale("log")
    axes.set_xlim(1e-18, 3)
    axes.axvspan(1e-18, 1e-13, color="#f2f2f2", zorder=0)
    axes.text(1.5e-18, row - 0.4, "rounding of float64", fontsize=8, color=GUIDE, va="center")
    axes.set_yticks(ticks, labels, fontsize=7.5)
    axes.set_ylim(row, -0.8)
    axes.tick_params(axis="y", length=0)
    axes.plot([], [], "o", color=INK, ms=5, label="how far it drifted (three rates)")
    axes.plot([], [], "x", color=INK, ms=5.5, mew=1.6, label="drift left after the prediction")
    axes.plot([], [], "x", color=EPSILON, ms=5.5, mew=1.6, label="the same for a law up to epsilon")
    axes.legend(loc="lower left", bbox_to_anchor=(0.38, 0.2), borderaxespad=0, handletextpad=0.3)
    axes.set_title("Every family of laws, with its number of scalars")
    axes.set_xlabel("drift in training, relative to the size of the terms of the law")


def _relative(trace: LawTrace, change: Any) -> float:
    return max(float(change.abs().max()) / trace.scale, ROUNDING)
