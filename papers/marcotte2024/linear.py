"""The law of two linear layers that survives momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.graph.questions import flows as f
from lawful.graph.questions.derive import derive

from .. import data
from ..figure import COLOURS
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import linear, small_digits, squared

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


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


PART = Part(
    "linear",
    "The linear law under momentum",
    "Two linear layers 64-8-10, squared loss, batches of 32 digits of scikit-learn, from a random velocity "
    "(from rest the law is zero).",
    (0,),
    _linear,
    _linear_report,
    _linear_draw,
)
