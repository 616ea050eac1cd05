"""Qwen3- and ViT-shaped models in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive

from .. import data
from ..figure import COLOURS, GREY, MARKS, named_rates
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def _models(quick: bool) -> Units:
    steps, size = (6, 4) if quick else (100, 16)

    def qwen() -> tuple[Architecture, list[tuple[torch.Tensor, torch.Tensor]]]:
        text = data.characters(64)
        runs = text[: len(text) // 17 * 17].reshape(-1, 17)
        arch = families.qwen3(2, 16, 4, 2, 4, 32, vocabulary=64, context=16, tied=False)
        return arch, data.batches(runs[:, :-1], runs[:, 1:], size, steps, 0)

    def vit() -> tuple[Architecture, list[tuple[torch.Tensor, torch.Tensor]]]:
        x, y = data.digits()
        arch = families.vit(10, 2, 16, 4, 32, patch=2, space=(8, 8), channels=1)
        return arch, data.batches(x, y, size, steps, 0)

    def one(make: Callable[[], tuple[Architecture, list[tuple[torch.Tensor, torch.Tensor]]]]) -> Plain:
        arch, batches = make()
        laws = [law for law in derive(arch, "cross_entropy") if law.exact and law.kind == "balance"]
        rows = []
        for rate in (0.004, 0.002, 0.001):
            model = arch.to_torch(torch.float64, 0)
            optimizer = torch.optim.SGD(model.parameters(), lr=rate)
            with Ledger(model, optimizer, laws) as ledger:
                for x, y in batches:
                    optimizer.zero_grad()
                    z = model(x)
                    torch.nn.functional.cross_entropy(z.flatten(0, -2), y.flatten()).backward()
                    optimizer.step()
            found = ledger.rows()
            others = sum(abs(x) for r in found for cause, x in r.causes.items() if cause != "step size")
            drift = sum(r.change**2 for r in found) ** 0.5
            books = "ok" if all(r.verdict == "ok" for r in found) else ledger.verdict  # of what laws read
            rows.append([rate, drift, max(r.relative for r in found), books, others])
        return {"rows": rows, "laws": sum(law.count for law in laws)}

    return {"qwen3": lambda: one(qwen), "vit": lambda: one(vit)}


def _models_report(results: Results) -> Report:
    numbers, claims = {}, []
    for name, found in results.items():
        rows = found["rows"]
        x, y = (torch.tensor([r[i] for r in rows], dtype=torch.float64).log() for i in (0, 1))
        slope = float(((x - x.mean()) * y).sum() / (x - x.mean()).square().sum())
        numbers[f"slope_{name}"] = slope
        good = all(r[3] == "ok" and not r[4] for r in rows)  # the exponent decides nothing: see the evidence
        shape = "Qwen3" if name == "qwen3" else "ViT"
        claims.append(
            Claim(
                name,
                f"in training a {shape} by SGD every step moves the laws at second order in the learning rate only",
                verdict(good),
                f"{found['laws']} scalar laws: the ledger books η² Q(g) for every step and nothing else; "
                f"{max(r[2] for r in rows):.0e} of a law is left over at most. After equally many steps the drift "
                f"goes as η^{slope:.2f}: runs of different rates meet different gradients, so this need not be 2.",
            )
        )
    return Report(numbers, claims)


def _models_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    for (name, found), colour, mark in zip(results.items(), COLOURS, MARKS, strict=False):
        ax.loglog(*zip(*(r[:2] for r in found["rows"]), strict=True), mark + "-", color=colour, label=name)
        rate, drift = found["rows"][0][:2]
        guide = [drift * (r[0] / rate) ** 2 for r in found["rows"]]
        ax.loglog([r[0] for r in found["rows"]], guide, color=GREY, ls="--", lw=0.8, label="η²" * (name == "vit"))
        named_rates(ax, [r[0] for r in found["rows"]])
    ax.set(xlabel="learning rate η", ylabel="drift of all exact laws (norm)")
    ax.legend()


PART = Part(
    "models",
    "Qwen3- and ViT-shaped models in training",
    "Two layers of width 16 (rotary attention with grouped queries, RMSNorm on heads, SwiGLU; patches, "
    "LayerNorm, GELU), cross-entropy by SGD on characters of Python's documentation and on digits of "
    "scikit-learn; the paper's models have their published sizes. 100 steps, 6 in the quick run.",
    (0,),
    _models,
    _models_report,
    _models_draw,
)
