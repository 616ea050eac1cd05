"""The flow that steps of finite size follow: figure 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.dynamics import predict
from lawful.dynamics.predict import Setting

from ..figure import BLUE, GREY, ORANGE, RED, named_rates
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


RATES = (0.1, 0.05, 0.025, 0.0125)
CURVATURES = (1.0, 5.0)


def _flow(quick: bool) -> Units:
    def one(momentum: float) -> Plain:
        curve = torch.tensor(CURVATURES, dtype=torch.float64)
        first = torch.tensor([2.0, 1.5], dtype=torch.float64)

        def loss(x: Tensor) -> Tensor:
            return (curve * x.square()).sum() / 2

        rows, paths = [], []
        for base in RATES:
            setting = Setting(base * (1 - momentum), momentum=momentum)
            steps = round(2 / base)
            x = torch.nn.Parameter(first.clone())
            optimizer, points = torch.optim.SGD([x], setting.rate, momentum), [first]
            for _ in range(steps):
                optimizer.zero_grad()
                loss(x).backward()
                optimizer.step()
                points.append(x.detach().clone())
            run = torch.stack(points)
            time = base * torch.arange(steps + 1, dtype=torch.float64)[:, None]
            flow = first * torch.exp(-curve * time)
            modified = predict.modified_flow(loss, first, setting, steps, fine=4)
            rows.append([base, *(float((run - p).norm(dim=1).max()) for p in (flow, modified))])
            paths.append([p.T.tolist() for p in (run, flow, modified)])
        return {"rows": rows, "paths": paths[0]}

    return {"SGD": lambda: one(0.0), "momentum": lambda: one(0.9)}


def _power(rows: list[list[float]], column: int) -> float:
    x, y = torch.tensor([[r[0], r[column]] for r in rows], dtype=torch.float64).log().T
    return float(((x - x.mean()) * y).sum() / (x - x.mean()).square().sum())


def _flow_report(results: Results) -> Report:
    numbers: dict[str, float] = {}
    claims: list[Claim] = []
    for name, found in results.items():
        powers, rows = [_power(found["rows"], i) for i in (1, 2)], found["rows"]
        numbers |= {f"flow_order_{name}": powers[0], f"modified_order_{name}": powers[1]}
        told = (
            f"Distance at most along the path, as a power of η: flow {powers[0]:.2f}, modified flow {powers[1]:.2f}; "
        )
        told += f"at η = {rows[-1][0] * (0.1 if name == 'momentum' else 1):g}: {rows[-1][1]:.1e} and {rows[-1][2]:.1e}."
        nearer = all(r[2] < r[1] for r in rows)
        second = abs(powers[1] - 2) < 0.2
        claims.append(
            Claim(
                f"nearer-{name}",
                f"{name}: the modified flow is nearer to the run than gradient flow is, at every rate",
                verdict(nearer),
                told,
                "" if nearer else f"rate, distance of the flow, of the modified flow: {rows[0]}",
            )
        )
        claims.append(
            Claim(
                f"second-order-{name}",
                f"{name}: the modified flow from the same start, at rest, follows the run to second order in η",
                verdict(second),
                told + " To hold, its power is 2 within 0.2.",
                ""
                if second
                else "a constant gradient g: after k steps the run is η g (k - β (1 - β^k) / (1 - β)) / (1 - β) away, "
                "its lag β / (1 - β) steps; that of the flow (1 + β) / (2 (1 - β)), half a step more for every η",
            )
        )
    return Report(numbers, claims)


def _flow_draw(place: SubFigure, results: Results) -> None:
    axes = place.subplots(1, 3)
    for ax, (name, found) in zip(axes, results.items(), strict=False):
        run, flow, modified = found["paths"]
        ax.plot(*flow, color=GREY, ls="--", label="gradient flow")
        ax.plot(*modified, color=BLUE, label="modified flow")
        ax.plot(*run, "o", color=RED, ms=3, label="run")
        ax.set(xlabel="θ₁", ylabel="θ₂")
        ax.set_title("SGD, η = 0.1" if name == "SGD" else "momentum 0.9, η = 0.01")
        ax.legend()
    for (name, found), colour in zip(results.items(), (BLUE, ORANGE), strict=True):
        rates = [r[0] for r in found["rows"]]
        axes[2].loglog(rates, [r[1] for r in found["rows"]], "s--", color=colour, label=f"{name}, flow")
        axes[2].loglog(rates, [r[2] for r in found["rows"]], "o-", color=colour, label=f"{name}, modified flow")
    named_rates(axes[2], RATES)
    axes[2].set(xlabel="η / (1 - β)", ylabel="largest distance from the run")
    axes[2].set_ylim(bottom=5e-5)
    axes[2].legend(fontsize=6.5, loc="lower right")


PART = Part(
    "flow",
    "The flow that a run follows",
    "A quadratic loss of two parameters, curvatures 1 and 5, up to the time 2 in η k / (1 - β), four rates.",
    (0,),
    _flow,
    _flow_report,
    _flow_draw,
    2.0,
)
