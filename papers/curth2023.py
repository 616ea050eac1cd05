"""Curth, Jeffares, van der Schaar 2023: double descent over raw parameters, a U over effective ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lawful.graph import families
from lawful.graph.questions.parameters import parameter_count

from . import data
from .figure import BLUE, GREEN, GREY, MARKS, ORANGE
from .paper import UNTESTED, Claim, Paper, Part, Plain, Report, Results, Units, verdict
from .shelf import PaperError

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

EXAMPLES, SCALE = 600, 0.2  # training examples; deviation of the frequencies, as in the paper
SEEDS = 3
KEPT = (25, 50, 100, 200, 300, 400, 500, 550, 580, 600)  # features, then principal components of more features
EXCESS = (20, 50, 100, 200, 400, 900, 1900, 3400)
AXES = (0, 400, 1900)  # excess features at which components are taken away
LEAVES = (2, 5, 10, 20, 50, 100, 200, 0)  # 0: as many as there are
TREES = (2, 5, 10, 20, 50)
FALL, PEAK = 1.5, 2.0  # a curve is a U if it falls by less after it rose, and a double descent if by more


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training inputs `(600, 64)` and one-hot targets, test inputs `(1197, 64)` and targets."""
    images, classes = data.digits()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    x, y = images.flatten(1)[order], torch.nn.functional.one_hot(classes[order], 10).double()
    return x[:EXAMPLES], y[:EXAMPLES], x[EXAMPLES:], y[EXAMPLES:]


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


def _features(quick: bool) -> Units:
    def one(seed: int) -> Plain:
        x, y, unseen, target = digits(seed)
        draw = torch.Generator().manual_seed(seed)
        many = EXAMPLES + EXCESS[-1]
        waves = SCALE * torch.randn(x.shape[1], many, generator=draw, dtype=torch.float64)
        phases = 2 * torch.pi * torch.rand(many, generator=draw, dtype=torch.float64)
        seen, new = (torch.cos(z @ waves + phases) for z in (x, unseen))

        def kept(features: int, components: int) -> list[float]:
            u, s, v = torch.linalg.svd(seen[:, :features], full_matrices=False)
            u, s, v = u[:, :components], s[:components], v[:components]
            return measured((new[:, :features] @ v.T / s) @ u.T, u @ u.T, y, target)

        raw = [[p, *kept(p, min(p, EXAMPLES))] for p in (*KEPT, *(EXAMPLES + e for e in EXCESS))]
        axes = {str(e): [[k, *kept(EXAMPLES + e, k)] for k in KEPT] for e in AXES}
        return {"raw": raw, "axes": axes}

    return {f"seed {seed}": partial(one, seed) for seed in range(1 if quick else SEEDS)}


def _trees(quick: bool) -> Units:
    def one(seed: int) -> Plain:
        x, y, unseen, target = digits(seed)
        try:
            from sklearn.ensemble import RandomForestRegressor
        except ImportError as error:  # pragma: no cover - the digits are of scikit-learn too
            raise PaperError(f"the trees are those of scikit-learn: {error}") from error

        def forest(leaves: int, trees: int) -> list[float]:
            grown = RandomForestRegressor(
                trees, max_leaf_nodes=leaves or None, max_features="sqrt", bootstrap=False, random_state=seed
            ).fit(x.numpy(), y.numpy())
            seen, new = (torch.tensor(grown.apply(z.numpy())) for z in (x, unseen))
            weights, own = torch.zeros(len(new), len(seen)).double(), torch.zeros(len(seen), len(seen)).double()
            for t in range(trees):
                for total, leaf in ((weights, new), (own, seen)):
                    same = (leaf[:, t, None] == seen[None, :, t]).double()
                    total += same / same.sum(1, keepdim=True) / trees
            raw = sum(tree.get_n_leaves() for tree in grown.estimators_)
            return [float(raw), *measured(weights, own, y, target)]

        sizes = {str(m): [forest(leaves, m) for leaves in LEAVES] for m in (1, 10, 50)}
        return {"raw": [*sizes["1"], *(forest(0, m) for m in TREES)], "axes": sizes}

    return {f"seed {seed}": partial(one, seed) for seed in range(1 if quick else SEEDS)}


def mean(results: Results, pick: str, axis: str = "") -> list[list[float]]:
    """A curve, averaged over the seeds: rows of the raw count and of what `measured` gives."""
    curves = [r[pick][axis] if axis else r[pick] for r in results.values()]
    return torch.tensor(curves, dtype=torch.float64).mean(0).tolist()


def falls(errors: list[float]) -> float:
    """By what factor a curve falls after it rose by as much or more: 1 for a U."""
    worst = 1.0
    for k, top in enumerate(errors):
        rise, fall = top / min(errors[: k + 1]), top / min(errors[k:])
        worst = max(worst, min(rise, fall))
    return worst


def _axes_report(results: Results, swap: int, first: str, second: str) -> Report:
    """The three claims about a smoother with two axes; at row `swap` one is exchanged for the other."""
    raw = mean(results, "raw")
    errors = [r[1] for r in raw]
    folded = sorted(raw, key=lambda r: r[2])
    up, down, fold = falls(errors[: swap + 1]), falls(errors[swap:]), falls([r[1] for r in folded])
    along = {axis: falls([r[1] for r in mean(results, "axes", axis)]) for axis in next(iter(results.values()))["axes"]}
    both, top = (
        falls(errors),
        max(range(len(raw)), key=lambda k: min(errors[k] / min(errors[: k + 1]), errors[k] / min(errors[k:]))),
    )
    good = [both >= PEAK, max(up, down, *along.values()) < FALL, fold < FALL]
    flat = ", ".join(f"{axis}: {value:.2f}" for axis, value in along.items())
    wrong = [
        f"the second rise or descent is a factor of {both:.3g} only",
        f"a factor of {max(up, down, *along.values()):.3g} along one axis",
        f"a factor of {fold:.3g}",
    ]
    claims = [
        Claim(
            "double",
            f"over raw parameters the test error of {first} and {second} descends twice",
            verdict(good[0]),
            f"It rises, and falls again, by a factor of {both:.3g} or more, about {raw[top][0]:g} raw parameters; the "
            f"line is {PEAK:g}.",
            "" if good[0] else wrong[0],
        ),
        Claim(
            "axes",
            f"along {first} alone and along {second} alone the test error descends once",
            verdict(good[1]),
            f"Factors by which it falls after it rose: {first} {up:.2f}, {second} {down:.2f}; {first} at other values "
            f"of the second axis: {flat}. The line is {FALL}.",
            "" if good[1] else wrong[1],
        ),
        Claim(
            "folded",
            f"over effective parameters on test inputs the curve of {first} and {second} folds back into a U",
            verdict(good[2]) if good[0] else UNTESTED,
            f"In the order of its effective parameters it falls by a factor of {fold:.3g} after it rose; the line is "
            f"{FALL}. Lowest error at {min(raw, key=lambda r: r[1])[2]:.0f} effective of "
            f"{min(raw, key=lambda r: r[1])[0]:.0f} raw parameters."
            + ("" if good[0] else " Over raw parameters there is no double descent to fold."),
            "" if good[2] or not good[0] else wrong[2],
        ),
    ]
    return Report({}, claims)


def _axes_draw(place: SubFigure, results: Results, swap: int, first: str, second: str, log: bool) -> None:
    raw = mean(results, "raw")
    left, right = place.subplots(1, 2, sharey=True)
    for ax, column in ((left, 0), (right, 2)):
        for rows, colour, label in ((raw[: swap + 1], BLUE, first), (raw[swap:], ORANGE, second)):
            ax.plot([r[column] for r in rows], [r[1] for r in rows], "o-", color=colour, label=label)
        ax.set_xscale("log")
        if log:
            ax.set_yscale("log")
    left.set(xlabel="raw parameters", ylabel="test error (mean square)")
    right.set(xlabel="effective parameters (test inputs)")
    left.legend(fontsize=6.5)


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


FEATURES, TREE = ("components", "excess features"), ("leaves", "trees")

PAPER = Paper(
    "curth2023",
    "A U-turn on double descent",
    (
        Part(
            "features",
            "Random Fourier features",
            f"Digits of scikit-learn, {EXAMPLES} for training and 1197 for the test; targets one-hot, all classes from "
            f"one least-norm regression on cosines of frequencies of deviation {SCALE}; 25 to {EXAMPLES + EXCESS[-1]} "
            f"features; principal components at {', '.join(map(str, AXES))} excess features. The mean of {SEEDS} "
            "splits, one in the quick run. The paper: MNIST, 10,000 examples, up to 60,000 features.",
            tuple(range(SEEDS)),
            _features,
            lambda r: _axes_report(r, len(KEPT) - 1, *FEATURES),
            lambda p, r: _axes_draw(p, r, len(KEPT) - 1, *FEATURES, log=True),
            1.5,
        ),
        Part(
            "trees",
            "Trees",
            f"The same digits; forests without bootstrap, the root of the pixels tried at every node; leaves 2 to all "
            f"of one tree, then up to {TREES[-1]} full trees; leaves in forests of 10 and 50 too. The mean of {SEEDS} "
            "splits, one in the quick run. The paper: MNIST, 10,000 examples, up to 100 trees.",
            tuple(range(SEEDS)),
            _trees,
            lambda r: _axes_report(r, len(LEAVES) - 1, *TREE),
            lambda p, r: _axes_draw(p, r, len(LEAVES) - 1, *TREE, log=False),
            1.5,
        ),
        Part(
            "networks",
            "Networks: raw parameters and functions",
            "Two layers of widths 3-h-2 without biases, h from 1 to 8 (to 4 in the quick run), counted by "
            "lw.parameter_count. The paper counts no networks.",
            (0,),
            _networks,
            _networks_report,
            _networks_draw,
        ),
    ),
)
