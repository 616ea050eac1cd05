"""The ledger as a figure: what every law did, what moved it, and what is left over."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawful.theory.arguments import ArgumentError
from lawful.theory.extras import needed
from lawful.theory.files import expect_writable

from .report import rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .watcher import Watcher

FLOOR = 1e-18  # a remainder of exactly 0 on a logarithmic axis
MOST = 12  # laws in a panel: those that moved most


ENDINGS = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".eps", ".ps")


def expect_picture(path: str | Path) -> None:
    """Checks that a figure can be drawn into a file, before anything long begins.

    Raises:
        ValueError: for another ending, or a file that cannot be written.
        ImportError: without matplotlib; says how to install it.
    """
    file = expect_writable(path)
    if file.suffix.lower() not in ENDINGS:
        raise ArgumentError(f"no figure can go to {file.name}: the ending must be one of {', '.join(ENDINGS)}")
    with needed("a figure", "matplotlib", "plot"):
        import matplotlib.figure  # noqa: F401


def colours(count: int) -> list[Any]:
    """As many colours as things that are drawn, no two alike."""
    from matplotlib import colormaps

    return [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))][:count]


def plot(ledger: Watcher, path: str | Path | None) -> Figure:
    """Draws three panels: change over the steps, causes, and remainders over the steps.

    Args:
        ledger: a ledger that watched at least one step.
        path: where the figure goes.

    Raises:
        ValueError: if no step was watched, and for a path that no figure can go to.
        ImportError: without matplotlib; says how to install it.
    """
    if path is not None:
        expect_picture(path)
    with needed("a figure", "matplotlib", "plot"):
        from matplotlib.figure import Figure

    found = {row.law: row for row in rows(ledger)}
    accounts = sorted(
        (a for a in ledger.accounts.values() if a.history), key=lambda a: -abs(found[a.form.law.name].change) / a.norm
    )[:MOST]
    if not accounts:
        raise ValueError("there is nothing to plot: no step was watched yet")
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    drift, causes, rest = figure.subplots(1, 3)
    for i, a in enumerate(accounts):
        steps, color = [row[0] for row in a.history], colours(len(accounts))[i]
        drift.plot(steps, [row[2] for row in a.history], label=a.form.law.name, color=color)
        rest.semilogy(steps, [max(row[3], FLOOR) for row in a.history], color=color)
    drift.set(title="change of the law, of its size", xlabel="step")
    drift.legend(fontsize=6)
    rest.set(title="what no cause explains, of its size", xlabel="step")
    names = [a.form.law.name for a in accounts]
    left, right = [0.0] * len(names), [0.0] * len(names)
    shades = iter(colours(len(found[names[0]].causes)))
    # Each law by its own measure: one that is moved to and fro a thousand times as far would hide all others.
    wholes = [math.fsum(abs(x) for x in found[n].causes.values() if math.isfinite(x)) or 1.0 for n in names]
    for cause in found[names[0]].causes:
        widths = [found[n].causes[cause] / whole for n, whole in zip(names, wholes, strict=True)]
        starts = [r if w >= 0 else x for w, x, r in zip(widths, left, right, strict=True)]
        causes.barh(range(len(names)), widths, left=starts, label=cause, color=next(shades))
        right = [r + max(w, 0.0) for w, r in zip(widths, right, strict=True)]
        left = [x + min(w, 0.0) for w, x in zip(widths, left, strict=True)]
    causes.set_yticks(range(len(names)), names, fontsize=6)
    causes.set_xlim(-1.02, 1.02)
    causes.axvline(0.0, color="black", linewidth=0.6)
    causes.set_xticks([-1, -0.5, 0, 0.5, 1], ["100 %", "50 %", "0", "50 %", "100 %"])
    causes.set(title="what moved it, of all that did", xlabel="down, and up")
    causes.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, frameon=False)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
