"""Do the flattest minimisers generalise, and the algorithms that look for them?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..figure import BLUE, GREEN, GREY, MARKS, ORANGE, RED
from ..paper import UNTESTED, Claim, Part, Report, Results, Units, verdict
from .networks import BATCH, EXAMPLES, FEATURES, HIDDEN, KINDS, RADIUS, RATE, SEEDS, STEPS, trained, written

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


GENERALISES, FITS = 0.95, 0.02  # share of signs of unseen examples; mean squared error on the training set
ALGORITHMS = {"sgd": "SGD", "sam": "SAM", "noise": "label noise"}
_LONG = {"sam": "SAM", "noise": "SGD with noise on the labels"}
LEAST = {"plain": 2 * FEATURES**0.5, "bias": 2 * (FEATURES + 1) ** 0.5, "layer": 1.0}  # no minimiser has a lower trace
FLAT = 1.05  # times the least trace: a run with more has not come to the flattest


def _scenarios(quick: bool) -> Units:
    units: Units = {"written": written}
    for kind in KINDS:
        for algorithm in ALGORITHMS:
            if not quick or (kind, algorithm) == ("plain", "sam"):
                units[f"{kind} {algorithm}"] = partial(trained, kind, algorithm)
    return units


def _told(rows: list[list[float]]) -> str:
    shares, traces = (", ".join(f"{r[i]:.{3 if i == 1 else 1}f}" for r in rows) for i in (1, 2))
    return f"{shares} of the signs of unseen examples are right, by seed; traces {traces}"


def _judged(kind: str, algorithm: str, results: Results) -> Claim | None:
    """What the paper says of one algorithm, if it has run; a run that does not fit the examples decides nothing."""
    if f"{kind} {algorithm}" not in results or algorithm == "sgd":
        return None
    rows = results[f"{kind} {algorithm}"]["rows"]
    shares = [r[1] for r in rows]
    fits = max(r[0] for r in rows)
    good = max(shares) < GENERALISES if kind == "bias" else min(shares) >= GENERALISES
    wrong = max(shares) if kind == "bias" else min(shares)
    flattest = max(r[2] for r in rows) <= FLAT * LEAST.get(kind, 0)
    evidence = f"{_told(rows)}; the line is {GENERALISES}."
    if f"{kind} sgd" in results:
        evidence += f" Plain SGD: {_told(results[f'{kind} sgd']['rows'])}."
    if fits > FITS:
        evidence += f" One run has the training error {fits:.2g} and is at no minimiser."
    elif not flattest and (kind == "bias" or not good):
        least = f"the least trace is {LEAST[kind]:.3g}" if kind in LEAST else "the least trace is not known"
        evidence += f" The runs have not come to the flattest ({least}), so they decide nothing."
    # A failure to generalise says something only of runs that have come to the flattest.
    decided = fits <= FITS and (flattest or (good and kind != "bias"))
    seen = f"{FEATURES} features, {EXAMPLES} examples, a seed with {wrong:.3f} right"
    return Claim(
        f"{algorithm}-{kind}",
        f"a two-layer ReLU network with {KINDS[kind]}, trained by {_LONG[algorithm]}, "
        + ("does not generalise" if kind == "bias" else "generalises"),
        verdict(good) if decided else UNTESTED,
        evidence,
        seen if decided and not good else "",
    )


def _scenarios_report(results: Results) -> Report:
    known = results["written"]
    claims = [c for kind in KINDS for a in ALGORITHMS if (c := _judged(kind, a, results))]
    numbers = {
        f"accuracy_{name.replace(' ', '_')}": sum(r[1] for r in found["rows"]) / len(found["rows"])
        for name, found in results.items()
        if name != "written"
    }
    for kind in ("bias", "layer"):
        error, right, flat = known[f"memory {kind}"]
        good = error < 1e-20 and abs(flat / LEAST[kind] - 1) < 1e-5 and right < GENERALISES
        claims.append(
            Claim(
                f"flattest-{kind}",
                f"two-layer ReLU networks, {KINDS[kind]}: a flattest minimiser exists that does not generalise",
                verdict(good),
                f"One unit for every training example, on there alone: trace {flat:.4g}, where no minimiser has less "
                f"than {LEAST[kind]:.4g}; {right:.3f} of the signs of unseen examples are right.",
                "" if good else f"trace {flat:.4g}, right {right:.3f}",
            )
        )
    error, right, flat = known["rule plain"]
    claims.append(
        Claim(
            "flattest-plain",
            "two-layer ReLU networks without bias: every flattest minimiser generalises",
            UNTESTED,
            f"It is about all minimisers. Four units that know the rule ({right:.3f} right) have the trace {flat:.4g}, "
            f"and none has less than {LEAST['plain']:.4g}.",
        )
    )
    rule, memory = known["rule batch"], known["memory batch"]
    claims.append(
        Claim(
            "flattest-batch",
            "two-layer ReLU networks with BatchNorm: every flattest minimiser generalises",
            UNTESTED,
            f"It is about all minimisers. Four units that know the rule have the trace {rule[2]:.4g}, one unit for "
            f"every example {memory[2]:.4g}: memory is not flattest here.",
        )
    )
    return Report(numbers, claims)


def _scenarios_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for i, ((algorithm, label), colour) in enumerate(zip(ALGORITHMS.items(), (BLUE, GREEN, ORANGE), strict=True)):
        for k, kind in enumerate(KINDS):
            found = results.get(f"{kind} {algorithm}")
            if found:
                shares = [r[1] for r in found["rows"]]
                ax.plot([k + 0.2 * (i - 1)] * len(shares), shares, MARKS[i], color=colour, alpha=0.8)
        ax.plot([], [], MARKS[i], color=colour, label=label)
    for k, kind in enumerate(KINDS):
        if f"memory {kind}" in results["written"]:
            ax.plot([k], [results["written"][f"memory {kind}"][1]], "x", color=RED)
    ax.plot([], [], "x", color=RED, label="a unit for every example")
    ax.axhline(GENERALISES, color=GREY, ls="--", lw=0.9)
    ax.set(ylabel="right signs on unseen examples", xticks=range(len(KINDS)), xticklabels=list(KINDS.values()))
    ax.set(xlim=(-0.5, 3.5), ylim=(-0.05, 1.05))
    ax.legend(loc="center right", fontsize=6.5)


PART = Part(
    "scenarios",
    "Flatness and generalisation",
    f"Parity on {FEATURES} signs, {EXAMPLES} training and 1000 unseen examples, {HIDDEN} hidden units, batches "
    f"of {BATCH}, rate {RATE}, {SEEDS} "
    f"initialisations, {STEPS} steps (the quick run: SAM without bias only). "
    f"SAM has radius {RADIUS} and a point of its own for each example; the noise on the labels "
    "has deviation 1 and ends at 90 % of the steps. The norms divide what ReLU gives, without centring, gain "
    "or shift; the paper's own sizes and forms of the norms are not known here. That runs are judged by how near they "
    f"come to the least trace, within {FLAT:g} of it, was decided after the first runs.",
    tuple(range(SEEDS)),
    _scenarios,
    _scenarios_report,
    _scenarios_draw,
)
