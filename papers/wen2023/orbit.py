"""Sharpness along an orbit of the symmetry of ReLU, on which the function is one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.graph import families
from lawful.symmetry.balance import balance
from lawful.symmetry.symmetries import symmetries

from ..figure import COLOURS, GREY
from ..paper import UNTESTED, Claim, Part, Plain, Report, Results, Units, verdict
from .networks import SEEDS
from .parity import parity

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


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


PART = Part(
    "orbit",
    "Sharpness along an orbit",
    "A two-layer ReLU network without bias, 6 features, 16 hidden units, trained by L-BFGS to fit 20 examples "
    "of parity; the trace of the Hessian of the mean of (f - y)²/2, by autograd. The paper has no orbits.",
    tuple(range(SEEDS)),
    _orbit,
    _orbit_report,
    _orbit_draw,
)
