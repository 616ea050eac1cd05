"""Momentum itself, and not the size of its steps, breaks ReLU laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lawful.graph import families
from lawful.graph.questions.derive import derive

from ..figure import curves, named_rates
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import small_digits, squared

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


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
    curves(ax.loglog, results, "drifts")
    named_rates(ax, [dt for dt, _ in results["momentum"]["drifts"]])
    ax.set(xlabel="step dt, at equal time", ylabel="drift of the ReLU laws (norm)")
    ax.legend()


PART = Part(
    "limit",
    "Smaller steps do not mend it",
    "A ReLU network 64-16-10 by full gradients of the squared loss on digits of scikit-learn, with damping 1 "
    "and without momentum, at four steps dt to the same time.",
    (0,),
    _limit,
    _limit_report,
    _limit_draw,
)
