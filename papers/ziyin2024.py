"""Ziyin et al. 2024: what the noise of minibatches does to a law, and how it wears an imbalance down."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from lawful import blocks as b
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions import flows as f
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law

from . import data
from .figure import BLUE, COLOURS, GREY, MARKS, RED
from .paper import Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Tensors = dict[str, Tensor]
RATES = (0.08, 0.04, 0.02, 0.01)
SEEDS = 32


def network(kind: str) -> Architecture:
    """The networks of one step and of training."""
    return families.mlp([64, 12, 10], "relu" if kind == "ReLU" else "linear", kind == "ReLU")


def digits(many: int) -> tuple[Tensor, Tensor]:
    """Digits of scikit-learn as rows of 64 pixels, and one-hot classes."""
    x, y = data.digits()
    return x[:many].flatten(1) / 4, torch.nn.functional.one_hot(y[:many], 10).double()


class Gradients:
    """Gradients of the squared loss of a network, by single examples."""

    def __init__(self, arch: Architecture) -> None:
        self.module = arch.to_torch(torch.float64, 0)
        self.start = {n: p.detach() for n, p in self.module.named_parameters()}

    def __call__(self, at: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """Each `(examples, *shape)`."""

        def loss(theta: Tensors, u: Tensor, v: Tensor) -> Tensor:
            return (functional_call(self.module, theta, (u[None],))[0] - v).square().sum() / 2

        return vmap(grad(loss), (None, 0, 0))(at, x, y)


def stepped(at: Tensors, slope: Tensors, rate: float) -> Tensors:
    """One step of SGD."""
    return {n: p - rate * slope[n] for n, p in at.items()}


def expected(law: Law, at: Tensors, gradients: Tensors, rate: float, size: int = 1) -> Tensor:
    """What noise adds to a law in one step on batches of `size`: `2 σ² tr(ΣA)` for the time `rate`, `σ² = rate / 2`."""
    noise = f.Noise.of_examples({n: g / math.sqrt(size) for n, g in gradients.items()})
    return rate * f.noise_drift(law, at, noise, math.sqrt(rate / 2))


def _step(quick: bool) -> Units:
    def one(kind: str) -> Plain:
        x, y = digits(40 if quick else 200)
        arch = network(kind)
        (law,) = derive(arch)
        gradients = Gradients(arch)
        at = gradients.start
        each = gradients(at, x, y)
        rows = []
        for rate in RATES:
            mean = law.value(stepped(at, {n: g.mean(0) for n, g in each.items()}, rate))
            steps = [law.value(stepped(at, {n: g[i] for n, g in each.items()}, rate)) for i in range(len(x))]
            measured, said = torch.stack(steps).mean(0) - mean, expected(law, at, each, rate)
            rows.append(
                [rate, float(measured.norm()), float(said.norm()), float((measured - said).norm() / said.norm())]
            )
        return {"rows": rows}

    return {kind: partial(one, kind) for kind in ("ReLU", "linear")}


def _step_report(results: Results) -> Report:
    worst = {name: max(row[3] for row in found["rows"]) for name, found in results.items()}
    good = max(worst.values()) < 1e-8
    told = ", ".join(f"{x:.0e} ({name})" for name, x in worst.items())
    claim = Claim(
        "trace",
        "the noise of gradients moves a law θᵀAθ at the rate 2 σ² tr(ΣA), with σ² = η/2 for SGD of rate η",
        verdict(good),
        "The mean over all single examples of one step of SGD, beyond the step of the mean gradient, against "
        f"lawful.flows.noise_drift: relative error {told}.",
        "" if good else told,
    )
    return Report({f"noise drift, relative error, {n}": x for n, x in worst.items()}, [claim])


def _step_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        rates, measured, said, _ = zip(*found["rows"], strict=True)
        ax.loglog(rates, said, "-", color=colour, label=f"{name}, η 2σ² tr(ΣA)")
        ax.loglog(rates, measured, mark, color=colour, label=f"{name}, measured")
    ax.set_xticks(list(RATES), [f"{rate:g}" for rate in RATES])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="learning rate η", ylabel="mean drift by noise in a step (norm)")
    ax.legend()


def _training(quick: bool) -> Units:
    seeds, steps, size, rate = (8, 40, 4, 0.02) if quick else (SEEDS, 150, 4, 0.02)

    def one(kind: str) -> Plain:
        x, y = digits(60)
        arch = network(kind)
        (law,) = derive(arch)
        gradients = Gradients(arch)

        def total(at: Tensors) -> float:
            value = law.value(at)
            return float(value.trace() if value.ndim == 2 else value.sum())

        runs = []
        for seed in range(seeds):
            at, first, said = gradients.start, total(gradients.start), 0.0
            noise = 0.0
            draw = torch.Generator().manual_seed(seed)
            line = [[0, 0.0, 0.0, 0.0]]
            for k in range(steps):
                each = gradients(at, x, y)
                mean = stepped(at, {n: g.mean(0) for n, g in each.items()}, rate)
                added = expected(law, at, each, rate, size)
                more = float(added.trace() if added.ndim == 2 else added.sum())
                said, noise = said + total(mean) - total(at) + more, noise + more
                rows = torch.randint(len(x), (size,), generator=draw)
                at = stepped(at, {n: g[rows].mean(0) for n, g in each.items()}, rate)
                line.append([k + 1, total(at) - first, said, noise])
            runs.append(line)
        every = torch.tensor(runs, dtype=torch.float64)
        middle, spread = every.mean(0), every[:, :, 1].std(0) / math.sqrt(seeds)
        curve = torch.cat([middle[:, :3], spread[:, None]], 1)[:: steps // 40 + 1]
        return {"ends": every[:, -1].tolist(), "curve": curve.tolist()}

    return {kind: partial(one, kind) for kind in ("ReLU", "linear")}


def _training_report(results: Results) -> Report:
    numbers, claims = {}, []
    for name, found in results.items():
        ends = torch.tensor(found["ends"], dtype=torch.float64)
        error = ends[:, 1] - ends[:, 2]
        mean, spread = float(error.mean()), float(error.std() / math.sqrt(len(error)))
        said, noise = float(ends[:, 2].mean()), float(ends[:, 3].mean())
        numbers[f"drift in training, measured over expected, {name}"] = float(ends[:, 1].mean()) / said
        good = abs(mean) < 3 * spread and spread < 0.2 * abs(noise)
        told = (
            f"The sum of the laws moves by {float(ends[:, 1].mean()):.4g} on the mean of {len(error)} runs, expected "
            f"{said:.4g}, of which noise {noise:.4g}; they differ by {abs(mean) / spread:.1f} standard errors, and one "
            f"is {spread / abs(noise):.1%} of the noise's share."
        )
        claims.append(
            Claim(
                f"drift-{name.lower()}",
                f"in training a {name} network by SGD the laws move on the mean as 2 σ² tr(ΣA) and the finite step say",
                verdict(good),
                told,
                "" if good else told,
            )
        )
    return Report(numbers, claims)


def _training_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour in zip(results.items(), COLOURS, strict=False):
        k, measured, said, spread = torch.tensor(found["curve"], dtype=torch.float64).T
        ax.fill_between(
            k.tolist(), *((measured + s * spread).tolist() for s in (-1, 1)), color=colour, alpha=0.25, lw=0
        )
        ax.plot(k.tolist(), measured.tolist(), color=colour, label=f"{name}, mean of {len(found['ends'])} runs")
        ax.plot(k.tolist(), said.tolist(), "--", color=colour, label=f"{name}, expected")
    ax.set(xlabel="step", ylabel="drift of the sum of the laws")
    ax.legend()


def _balance(quick: bool) -> Units:
    steps = 1000 if quick else 5000

    def one(size: int) -> Plain:
        """`u v x` on noisy targets; `size` 0 is the full gradient."""
        arch = Architecture(b.Linear(1, 1, bias=False) >> b.Linear(1, 1, bias=False))
        (law,) = derive(arch)
        gradients = Gradients(arch)
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(64, 1, generator=draw, dtype=torch.float64)
        y = x + torch.randn(64, 1, generator=draw, dtype=torch.float64)
        names = list(gradients.start)
        at = {n: torch.full((1, 1), s, dtype=torch.float64) for n, s in zip(names, (2.0, 0.2), strict=True)}
        first, rate, said, line = float(law.value(at)), 0.02, 0.0, []
        for k in range(steps):
            rows = torch.randint(64, (size,), generator=draw) if size else torch.arange(64)
            slope = {n: g.mean(0) for n, g in gradients(at, x[rows], y[rows]).items()}
            # One step multiplies u² - v² by 1 - η² r², with r the mean of (u v x - y) x.
            residual = float(slope[names[0]] / at[names[1]])
            said += math.log(abs(1 - rate**2 * residual**2))
            at = stepped(at, slope, rate)
            if (k + 1) % (steps // 50) == 0:
                line.append([k + 1, float(law.value(at)) / first, math.exp(said)])
        return {"line": line, "product": float(at[names[0]] * at[names[1]])}

    return {"full gradient": lambda: one(0), "batches of 1": lambda: one(1)}


def _balance_report(results: Results) -> Report:
    full, noisy = (results[n]["line"][-1] for n in ("full gradient", "batches of 1"))
    off = max(abs(row[1] / row[2] - 1) for found in results.values() for row in found["line"])
    good = abs(noisy[1]) < 0.9 * abs(full[1]) and full[1] > 0.9 and off < 1e-6
    told = (
        f"u² - v² is left at {noisy[1]:.3g} of its start after {noisy[0]} steps with noise, at {full[1]:.4g} without; "
        f"the product of the factors 1 - η² r² says so to {off:.0e}."
    )
    return Report(
        {"law left with noise": noisy[1], "law left without noise": full[1]},
        [
            Claim(
                "balance",
                "the noise of minibatches makes u² - v² of the product u v decay, where full gradients keep it",
                verdict(good),
                told,
                "" if good else told,
            )
        ],
    )


def _balance_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour in zip(results.items(), (BLUE, RED), strict=True):
        k, left, said = zip(*found["line"], strict=True)
        ax.semilogy(k, left, "o", ms=3, color=colour, label=name)
        ax.semilogy(k, said, color=GREY, lw=0.9, label="product of 1 - η² r²" if name == "batches of 1" else None)
    ax.set(xlabel="step", ylabel="u² - v², over its start")
    ax.legend()


PAPER = Paper(
    "ziyin2024",
    "Parameter symmetry and noise equilibrium of SGD",
    (
        Part(
            "step",
            "One step: noise against 2 σ² tr(ΣA)",
            "Networks 64-12-10, ReLU with biases and linear, squared loss, digits of scikit-learn (200, in the quick "
            "run 40); every single example is a batch, so the mean is exact. Four rates.",
            (0,),
            _step,
            _step_report,
            _step_draw,
        ),
        Part(
            "training",
            "Training on batches of four",
            "The same networks on 60 digits at the rate 0.02: 32 runs of 150 steps, in the quick run 8 of 40. Expected "
            "is the change by the full gradient and the drift by noise at every point that a run meets.",
            tuple(range(SEEDS)),
            _training,
            _training_report,
            _training_draw,
        ),
        Part(
            "balance",
            "Noise and the balance of two factors",
            "u v x on 64 examples y = x + noise, from u = 2 and v = 0.2, rate 0.02, 5000 steps "
            "(1000 in the quick run).",
            (0,),
            _balance,
            _balance_report,
            _balance_draw,
        ),
    ),
)
