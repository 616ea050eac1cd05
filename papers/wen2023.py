"""Wen, Li, Ma 2023: what SAM does to the laws, sharpness along an orbit, and flatness against generalisation.

This file is long because a paper is one file, and this one has an orbit, four scenarios and two written networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.questions.derive import derive
from lawful.symmetry.balance import balance
from lawful.symmetry.symmetries import symmetries

from .figure import BLUE, COLOURS, GREEN, GREY, MARKS, ORANGE, RED
from .paper import UNTESTED, Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

SEEDS = 3
RADII = (1e-3, 5e-4, 2.5e-4, 1.25e-4)
FEATURES, EXAMPLES, HIDDEN, BATCH, RATE, RADIUS, NOISE = 20, 80, 48, 8, 0.05, 0.1, 1.0
GENERALISES, FITS = 0.95, 0.02  # share of signs of unseen examples; mean squared error on the training set
KINDS = {"plain": "no bias", "bias": "bias", "batch": "BatchNorm", "layer": "LayerNorm"}
ALGORITHMS = {"sgd": "SGD", "sam": "SAM", "noise": "label noise"}
_LONG = {"sam": "SAM", "noise": "SGD with noise on the labels"}
STEPS = 10000
LEAST = {"plain": 2 * FEATURES**0.5, "bias": 2 * (FEATURES + 1) ** 0.5, "layer": 1.0}  # no minimiser has a lower trace
FLAT = 1.05  # times the least trace: a run with more has not come to the flattest
SMALL = 1e-6  # a norm is not divided by less


def parity(features: int, many: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Uniform signs, shape `(many, features)`, and the product of the first two."""
    x = torch.randint(0, 2, (many, features), generator=generator).double() * 2 - 1
    return x, x[:, 0] * x[:, 1]


def _lawful(quick: bool) -> Units:
    def one_step() -> Plain:
        arch = families.mlp([8, 6, 1], "relu", False)
        (law,) = derive(arch)
        rows = []
        for seed in range(5):
            model = arch.to_torch(torch.float64, seed)
            x, y = parity(8, 16, torch.Generator().manual_seed(seed))
            start = {n: p.detach() for n, p in model.named_parameters()}

            def slope(
                at: dict[str, Tensor], x: Tensor = x, y: Tensor = y, m: torch.nn.Module = model
            ) -> dict[str, Tensor]:
                leaves = {n: p.clone().requires_grad_() for n, p in at.items()}
                loss = (torch.func.functional_call(m, leaves, (x,))[:, 0] - y).square().mean() / 2
                return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

            def moved(a: dict[str, Tensor], b: dict[str, Tensor], step: float) -> dict[str, Tensor]:
                return {n: a[n] + step * b[n] for n in a}

            g = slope(start)
            size = float(sum(t.square().sum() for t in g.values())) ** 0.5
            up = {n: t / size for n, t in g.items()}
            exact, errors, eta = [], [], 0.01
            for radius in RADII:
                there = slope(moved(start, up, radius))
                mixed = (law.value(moved(up, there, 1)) - law.value(moved(up, there, -1))) / 4
                told = 2 * eta * radius * mixed + eta**2 * law.value(there)
                step = law.value(moved(start, there, -eta)) - law.value(start)
                exact.append(float((step - told).abs().max() / law.value(start, magnitude=True).max()))
                errors.append(float((2 * radius * (mixed - law.value(g) / size)).norm()))
            rows.append([max(exact), errors])
        return {"rows": rows}

    def training() -> Plain:
        found = []
        for seed in range(SEEDS):
            model = families.mlp([8, 12, 1], "relu", False).to_torch(torch.float64, seed)
            x, y = parity(8, 32, torch.Generator().manual_seed(seed))
            optimizer = torch.optim.SGD(model.parameters(), 0.05)
            laws = list(derive(families.mlp([8, 12, 1], "relu", False)))
            with Ledger(model, optimizer, laws) as ledger:
                for _ in range(100 if quick else 1000):
                    optimizer.zero_grad()
                    (model(x)[:, 0] - y).square().mean().backward()
                    _climb(model, optimizer, x, y)
            row = ledger.rows()[0]
            found.append([ledger.verdict, row.relative, dict(row.causes)])
        return {"rows": found}

    return {"step": one_step, "training": training}


def _climb(model: torch.nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The second half of a step of SAM: up the gradient, the gradient there, back, and the step."""
    ps = list(model.parameters())
    size = sum(p.grad.square().sum() for p in ps if p.grad is not None) ** 0.5
    ups = [RADIUS * p.grad / (size + 1e-12) for p in ps if p.grad is not None]
    with torch.no_grad():
        for p, up in zip(ps, ups, strict=True):
            p.add_(up)
    optimizer.zero_grad()
    (model(x)[:, 0] - y).square().mean().backward()
    with torch.no_grad():
        for p, up in zip(ps, ups, strict=True):
            p.sub_(up)
    optimizer.step()


def _power(x: list[float], y: list[float]) -> float:
    a, b = (torch.tensor(v, dtype=torch.float64).log() for v in (x, y))
    return float(((a - a.mean()) * b).sum() / (a - a.mean()).square().sum())


def _lawful_report(results: Results) -> Report:
    rows, runs = results["step"]["rows"], results["training"]["rows"]
    powers = [_power(list(RADII), errors) for _, errors in rows]
    worst, left = max(r[0] for r in rows), max(r[1] for r in runs)
    claims = [
        Claim(
            "exact",
            "a step of SAM moves a quadratic law by exactly 2ηρ ⟨ĝ, A g'⟩ + η² Q(g'), with g' the gradient at θ + ρĝ",
            verdict(worst < 1e-12),
            f"Largest difference {worst:.0e} of the law, over {len(rows)} networks and {len(RADII)} radii.",
        ),
        Claim(
            "rate",
            "SAM moves a quadratic law at the rate 2ρ Q(g)/‖g‖ + O(ρ²)",
            verdict(all(p > 1.9 for p in powers)),
            f"What is beside that rate goes as ρ to the power {min(powers):.3f} to {max(powers):.3f}.",
        ),
        Claim(
            "ledger",
            "in training with SAM its sharpness and the step size account for all that the laws of a ReLU network do",
            verdict(all(r[0] == "ok" for r in runs) and all("sharpness" in r[2] for r in runs)),
            f"The ledger of {len(runs)} runs says ok; {left:.0e} of a law is left over at most.",
        ),
    ]
    return Report({"power_of_radius": sum(powers) / len(powers)}, claims)


def _lawful_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (_, errors), colour, mark in zip(results["step"]["rows"], COLOURS, MARKS, strict=False):
        ax.loglog(RADII, errors, mark + "-", color=colour)
    first = results["step"]["rows"][0][1][0]
    ax.loglog(RADII, [first * (r / RADII[0]) ** 2 for r in RADII], color=GREY, ls="--", label="ρ²")
    ax.set(xlabel="radius ρ of SAM", ylabel="rate of the law − 2ρ Q(g)/‖g‖ (norm)")
    ax.set_xticks(RADII, [f"{r:g}" for r in RADII])
    ax.set_xticks([], minor=True)
    ax.legend()


def hessian_trace(model: torch.nn.Module, x: Tensor, y: Tensor) -> float:
    """Trace of the Hessian of the mean of `(f - y)²/2`, second derivatives by autograd."""
    names = {n: p.shape for n, p in model.named_parameters()}
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([s.numel() for s in names.values()])
        whole = {n: t.reshape(s) for (n, s), t in zip(names.items(), parts, strict=True)}
        return (torch.func.functional_call(model, whole, (x,))[:, 0] - y).square().mean() / 2

    return float(torch.autograd.functional.hessian(loss, flat).trace())


def _orbit(quick: bool) -> Units:
    def one(seed: int) -> Plain:
        arch = families.mlp([6, 16, 1], "relu", False)
        model = arch.to_torch(torch.float64, seed)
        x, y = parity(6, 20, torch.Generator().manual_seed(seed))
        fresh, _ = parity(6, 64, torch.Generator().manual_seed(seed + 100))
        optimizer = torch.optim.LBFGS(
            model.parameters(), max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (model(x)[:, 0] - y).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        (scale,) = symmetries(arch).where(group="positive diagonal")
        before = model(fresh).detach()

        def at(t: Tensor) -> list[float]:
            there = scale.apply(model, scale.exp(t))
            change = float((there(fresh).detach() - before).abs().max() / before.abs().max())
            return [hessian_trace(there, x, y), change]

        ts = [k / 10 for k in range(-10, 11)]
        ones = torch.ones(scale.shape, dtype=torch.float64)
        w, a = (p.detach() for p in model.parameters())
        h = (x @ w.T).relu()
        heard, said = h.square().mean(0), ((h > 0).double().mean(0) * 6 * a[0] ** 2)  # |df/da|², |df/dw|² of a unit
        best = torch.where(heard > 0, (said / heard.clamp(min=1e-300)).clamp(min=1e-300).log() / 4, 0.0)
        even = balance(model, network=arch)
        change = float((even(fresh).detach() - before).abs().max() / before.abs().max())
        return {
            "loss": float((model(x).detach()[:, 0] - y).square().mean()),
            "curve": [[t, *at(t * ones)] for t in ts],
            "balanced": [hessian_trace(even, x, y), change],
            "flattest": at(best),
        }

    return {f"seed {seed}": partial(one, seed) for seed in range(SEEDS)}


def _orbit_report(results: Results) -> Report:
    found = list(results.values())
    changes = [c for r in found for c in [*(row[2] for row in r["curve"]), r["balanced"][1], r["flattest"][1]]]
    spread = [max(row[1] for row in r["curve"]) / min(row[1] for row in r["curve"]) for r in found]
    start = [next(row[1] for row in r["curve"] if row[0] == 0) for r in found]
    told = "; ".join(
        f"{s:.3g} as found, {r['balanced'][0]:.3g} balanced, {r['flattest'][0]:.3g} at the flattest"
        for s, r in zip(start, found, strict=True)
    )
    fits = max(r["loss"] for r in found)
    good = max(changes) < 1e-9 and min(spread) > 2
    claim = Claim(
        "orbit",
        "sharpness changes along an orbit of the symmetry of ReLU, on which the function is one",
        verdict(good) if fits < 1e-12 else UNTESTED,
        f"Training losses up to {fits:.0e}; outputs on fresh inputs change by {max(changes):.0e}, the trace by a "
        f"factor of {min(spread):.2f} at least from one end of the orbits to the other. Traces: {told}. So the point "
        "where every law is zero is not the flattest of its orbit.",
        "" if good or fits >= 1e-12 else f"factor {min(spread):.2f}, outputs change by {max(changes):.0e}",
    )
    many = len(found)
    numbers = {
        "trace_found": sum(start) / many,
        "trace_balanced": sum(r["balanced"][0] for r in found) / many,
        "trace_flattest": sum(r["flattest"][0] for r in found) / many,
    }
    return Report(numbers, [claim])


def _orbit_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, r), colour in zip(results.items(), COLOURS, strict=False):
        ax.plot([row[0] for row in r["curve"]], [row[1] for row in r["curve"]], color=colour, label=name)
        ax.axhline(r["balanced"][0], color=colour, ls="--", lw=0.9)
        ax.axhline(r["flattest"][0], color=colour, ls=":", lw=0.9)
    ax.plot([], [], color=GREY, ls="--", label="all units balanced")
    ax.plot([], [], color=GREY, ls=":", label="flattest of the orbit")
    ax.set(xlabel="t: first layer times exp(t), second exp(−t)", ylabel="trace of the Hessian", ylim=(0, None))
    ax.legend(ncols=2)


def output(kind: str, net: Sequence[Tensor], x: Tensor, all_x: Tensor) -> Tensor:
    """Two layers of ReLU, one output.

    Args:
        kind: a key of `KINDS`; the norms divide what ReLU gives, by its length (`layer`) or by the root of the mean
            square of every unit over the training set (`batch`), without centring, gain or shift.
        net: outer weights `(..., m)`, inner weights `(..., m, d)` and inner biases `(..., m)`.
        x: shape `(..., d)`.
        all_x: the training set, shape `(n, d)`.
    """
    a, w, b = net
    shift = 0.0 if kind == "plain" else b
    h = ((w @ x[..., None])[..., 0] + shift).relu()
    if kind == "layer":
        h = h / h.norm(dim=-1, keepdim=True).clamp(min=SMALL)
    if kind == "batch":
        of_all = (torch.einsum("...md,nd->...nm", w, all_x) + b[..., None, :]).relu()
        h = h / of_all.square().mean(-2).sqrt().clamp(min=SMALL)
    return (a * h).sum(-1)


def slopes(score: Callable[..., Tensor], points: list[Tensor]) -> list[Tensor]:
    """Gradients of the sum of `score` at copies of the parameters."""
    leaves = [p.detach().requires_grad_() for p in points]
    found = torch.autograd.grad(score(*leaves).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]


def trace(kind: str, net: list[Tensor], x: Tensor) -> float:
    """Trace of the Hessian of the mean of `(f - y)²/2` where `f = y`: the mean square of the gradients of `f`."""
    copies = [p.expand(len(x), *p.shape) for p in net]
    found = slopes(lambda *q: output(kind, q, x, x), copies)
    return float(torch.stack([g.square().sum() for g in found]).sum() / len(x))


def _accuracy(kind: str, net: list[Tensor], x: Tensor, seen: Tensor) -> float:
    y = x[:, 0] * x[:, 1]
    right = output(kind, [p[None] for p in net], x, seen) * y > 0
    return float(right.double().mean())


def trained(kind: str, algorithm: str) -> Plain:
    """`SEEDS` networks trained side by side; SAM has a radius of its own for every example, as the paper's 1-SAM."""
    draw = torch.Generator().manual_seed(0)
    x, y = parity(FEATURES, EXAMPLES, draw)
    unseen, _ = parity(FEATURES, 1000, draw)
    net = [
        torch.randn(SEEDS, HIDDEN, generator=draw, dtype=torch.float64) / HIDDEN**0.5,
        torch.randn(SEEDS, HIDDEN, FEATURES, generator=draw, dtype=torch.float64) / FEATURES**0.5,
        torch.zeros(SEEDS, HIDDEN, dtype=torch.float64),
    ]
    for k in range(STEPS):
        rows = torch.randint(0, EXAMPLES, (SEEDS, BATCH), generator=draw)
        target = y[rows]
        if algorithm == "noise" and k < 0.9 * STEPS:  # the last steps settle in a minimiser
            target = target + NOISE * torch.randn(target.shape, generator=draw, dtype=torch.float64)

        def loss(*q: Tensor, rows: Tensor = rows, target: Tensor = target) -> Tensor:
            return (output(kind, q, x[rows], x) - target).square() / 2

        here = [p[:, None].expand(SEEDS, BATCH, *p.shape[1:]) for p in net]
        g = slopes(loss, here)
        if algorithm == "sam":
            size = sum(t.flatten(2).square().sum(-1) for t in g) ** 0.5 + 1e-12
            g = slopes(
                loss,
                [p + RADIUS * t / size.reshape(size.shape + (1,) * (t.ndim - 2)) for p, t in zip(here, g, strict=True)],
            )
        net = [p - RATE * t.mean(1) for p, t in zip(net, g, strict=True)]
    out = []
    for seed in range(SEEDS):
        one = [p[seed] for p in net]
        error = float((output(kind, [p[None] for p in one], x, x) - y).square().mean())
        out.append([error, _accuracy(kind, one, unseen, x), trace(kind, one, x)])
    return {"rows": out}


def _written() -> Plain:
    """Two networks written down: one that knows the rule, and one with a unit for every example of its training set."""
    draw = torch.Generator().manual_seed(0)
    x, y = parity(FEATURES, EXAMPLES, draw)
    unseen, _ = parity(FEATURES, 1000, draw)
    pairs = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]], dtype=torch.float64)
    rule = torch.zeros(4, FEATURES, dtype=torch.float64)
    rule[:, :2] = pairs / 2
    nets = {
        "rule": [pairs.prod(1), rule, torch.zeros(4, dtype=torch.float64)],
        "memory": [y.clone(), x.clone(), torch.full((EXAMPLES,), 1.0 - FEATURES, dtype=torch.float64)],
    }
    out = {}
    for name, (a, w, b) in nets.items():
        for kind in KINDS:
            if (kind, name) == ("plain", "memory"):
                continue
            scale = (FEATURES + (kind == "bias")) ** 0.25  # the flattest of its orbit; a unit says 1 where it is on
            net = [a / scale, w * scale, b * scale] if kind in ("plain", "bias") else [a, w, b]
            if kind == "batch":
                net = [a * (x @ w.T + b).relu().square().mean(0).sqrt(), w, b]
            error = float((output(kind, [p[None] for p in net], x, x) - y).square().mean())
            out[f"{name} {kind}"] = [error, _accuracy(kind, net, unseen, x), trace(kind, net, x)]
    return out


def _scenarios(quick: bool) -> Units:
    units: Units = {"written": _written}
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
    elif not good and not flattest:
        least = f"the least trace is {LEAST[kind]:.3g}" if kind in LEAST else "the least trace is not known"
        evidence += f" The runs have not come to the flattest ({least}), so they decide nothing against the paper."
    decided = fits <= FITS and (good or flattest)
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


PAPER = Paper(
    "wen2023",
    "Sharpness minimization algorithms do not only minimize sharpness",
    (
        Part(
            "laws",
            "What SAM does to the laws",
            "Two-layer ReLU networks without bias on parity data (8 random signs, the product of the first two), "
            "squared loss. One step of rate 0.01 at four radii; and 1000 steps of SAM on the whole set, radius 0.1, "
            "100 in the quick run. The laws of SAM are this library's; the paper has none.",
            tuple(range(5)),
            _lawful,
            _lawful_report,
            _lawful_draw,
        ),
        Part(
            "orbit",
            "Sharpness along an orbit",
            "A two-layer ReLU network without bias, 6 features, 16 hidden units, trained by L-BFGS to fit 20 examples "
            "of parity; the trace of the Hessian of the mean of (f - y)²/2, by autograd. The paper has no orbits.",
            tuple(range(SEEDS)),
            _orbit,
            _orbit_report,
            _orbit_draw,
        ),
        Part(
            "scenarios",
            "Flatness and generalisation",
            f"Parity on {FEATURES} signs, {EXAMPLES} training and 1000 unseen examples, {HIDDEN} hidden units, batches "
            f"of {BATCH}, rate {RATE}, {SEEDS} "
            f"initialisations, {STEPS} steps (the quick run: SAM without bias only). "
            f"SAM has radius {RADIUS} and a point of its own for each example; the noise on the labels "
            "has deviation 1 and ends at 90 % of the steps. The norms divide what ReLU gives, without centring, gain "
            "or shift; the paper's own sizes and forms of the norms are not known here.",
            tuple(range(SEEDS)),
            _scenarios,
            _scenarios_report,
            _scenarios_draw,
        ),
    ),
)
