"""One step moves laws as η² and controls as η."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lawful import blocks as b
from lawful.dynamics.train import drift_slope, train
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law

from ..figure import COLOURS, MARKS, named_rates
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .networks import experts

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


SEEDS = 10
RATES = (0.008, 0.004, 0.002, 0.001)


BLOCKS: dict[str, Callable[[], Architecture]] = {
    "SwiGLU": lambda: Architecture(b.SwiGLU(6, 8), input=b.Signal(6)),
    "rotary": lambda: Architecture(b.SelfAttention(6, 2, 0, 4, rotary=10.0), input=b.Signal(6, (5,))),
    "GELU": lambda: _mlp(b.GELU()),
    "experts": lambda: experts(b.Router()),
}


def _mlp(activation: b.Block) -> Architecture:
    return Architecture(b.chain(up=b.Linear(6, 8, False), act=activation, down=b.Linear(8, 6, False)))


def wrong(law: Law) -> Law:
    """The control: the same squares, added where the law subtracts."""
    return replace(law, terms=tuple(replace(t, coefficient=abs(t.coefficient)) for t in law.terms))


def _slopes(quick: bool) -> Units:
    def one(name: str, make: Callable[[], Architecture]) -> Plain:
        arch = make()
        laws = [law for law in derive(arch) if law.kind == "balance"]
        controls = [wrong(law) for law in laws] or list(derive(_mlp(b.ReLU())))
        rows = []
        for seed in range(SEEDS):
            draw = torch.Generator().manual_seed(seed)
            (x,) = arch.random_inputs(16, draw)
            y = torch.randn(arch.to_torch(torch.float64, seed)(x).shape, generator=draw, dtype=torch.float64)
            pair: list[list[Any]] = []
            for chosen in (laws, controls):
                if not chosen:
                    pair.append([None, []])
                    continue
                runs = [train(arch.to_torch(torch.float64, seed), chosen, [(x, y)], rate, "mse") for rate in RATES]
                pair.append([drift_slope(runs), [r.total_drift() for r in runs]])
            rows.append(pair)
        return {"rows": rows}

    return {name: partial(one, name, make) for name, make in BLOCKS.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _slopes_report(results: Results) -> Report:
    laws = {n: [r[0][0] for r in found["rows"] if r[0][0] is not None] for n, found in results.items()}
    controls = {n: [r[1][0] for r in found["rows"]] for n, found in results.items()}
    all_laws, all_controls = ([s for found in x.values() for s in found] for x in (laws, controls))
    numbers = {"slope_laws": _mean(all_laws), "slope_controls": _mean(all_controls)}
    numbers |= {f"slope_{n}": _mean(v) for n, v in laws.items() if v}
    numbers |= {f"slope_control_{n}": _mean(v) for n, v in controls.items()}

    def told(values: list[float]) -> str:
        return f"{min(values):.4f} to {max(values):.4f} over {SEEDS} seeds and {len(RATES)} rates"

    claims = [
        Claim(
            "laws",
            "one step moves every law of SwiGLU, rotary attention and experts as η²",
            verdict(all(abs(s - 2) < 1e-3 for s in all_laws)),
            f"Slopes {told(all_laws)}.",
        ),
        Claim(
            "controls",
            "one step moves a combination that is no law as η",
            verdict(all(abs(s - 1) < 0.1 for s in all_controls)),
            f"Slopes {told(all_controls)}.",
        ),
        Claim(
            "gelu",
            "a GELU network has no law of the ReLU form ‖in‖² - ‖out‖²",
            verdict(all(abs(s - 1) < 0.1 for s in controls["GELU"])),
            f"That combination moves at first order: slopes {told(controls['GELU'])}.",
        ),
    ]
    return Report(numbers, claims)


def _slopes_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        for i, dashes in enumerate(("-", ":")):
            drifts = [row[i][1] for row in found["rows"] if row[i][1]]
            if drifts:
                mean = [_mean(list(at)) for at in zip(*drifts, strict=True)]
                ax.loglog(RATES, mean, mark + dashes, color=colour, label=f"{name}, {('law', 'control')[i]}")
    ax.set(xlabel="learning rate η", ylabel="drift in one step (norm)")
    named_rates(ax, RATES)
    ax.legend(ncols=3, fontsize=6.5, loc="upper center", bbox_to_anchor=(0.45, -0.17))


PART = Part(
    "slopes",
    "One step: laws as η², controls as η",
    "Blocks of 4 to 8 features, random inputs and targets, squared loss, one step of SGD at four rates; the "
    "control adds the squares that the law subtracts.",
    tuple(range(SEEDS)),
    _slopes,
    _slopes_report,
    _slopes_draw,
)
