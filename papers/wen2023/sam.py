"""What a step of SAM does to a quadratic law."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.questions.derive import derive

from ..figure import COLOURS, GREY, MARKS
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import RADIUS, SEEDS
from .parity import parity

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


RADII = (1e-3, 5e-4, 2.5e-4, 1.25e-4)


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
            found.append([row.verdict, row.relative, dict(row.causes)])
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
    rows = results["step"]["rows"]
    for seed, ((_, errors), colour, mark) in enumerate(zip(rows, COLOURS, MARKS, strict=False)):
        ax.loglog(RADII, errors, mark + "-", color=colour, label=f"seed {seed}")
    above = 2 * max(errors[0] for _, errors in rows)
    ax.loglog(RADII, [above * (r / RADII[0]) ** 2 for r in RADII], color=GREY, ls="--", label="slope of ρ²")
    ax.set(xlabel="radius ρ of SAM", ylabel="rate of the law − 2ρ Q(g)/‖g‖ (norm)")
    ax.set_xticks(RADII, [f"{r:g}" for r in RADII])
    ax.set_xticks([], minor=True)
    ax.legend(ncols=2)


PART = Part(
    "laws",
    "What SAM does to the laws",
    "Two-layer ReLU networks without bias on parity data (8 random signs, the product of the first two), "
    "squared loss. One step of rate 0.01 at four radii; and 1000 steps of SAM on the whole set, radius 0.1, "
    "100 in the quick run. The laws of SAM are this library's; the paper has none.",
    tuple(range(5)),
    _lawful,
    _lawful_report,
    _lawful_draw,
)
