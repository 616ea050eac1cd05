"""Tran et al. 2026: one-step slopes of modern blocks, the refuted router law, and the models nobody could run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import sympy as sp
import torch

from lawful import blocks as b
from lawful.dynamics.ledger import Ledger
from lawful.dynamics.train import drift_slope, train
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law

from . import data
from .figure import COLOURS, GREY, MARKS, named_rates
from .paper import HOLDS, REFUTED, Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

SEEDS = 10
RATES = (0.008, 0.004, 0.002, 0.001)


def experts(router: b.Router, many: int = 3, hidden: int = 4) -> Architecture:
    """ReLU experts behind a router."""
    one = [b.chain(up=b.Linear(6, hidden, False), act=b.ReLU(), down=b.Linear(hidden, 6, False)) for _ in range(many)]
    return Architecture(b.MixtureOfExperts(6, one, router=router, bias=False), input=b.Signal(6))


def _mlp(activation: b.Block) -> Architecture:
    return Architecture(b.chain(up=b.Linear(6, 8, False), act=activation, down=b.Linear(8, 6, False)))


BLOCKS: dict[str, Callable[[], Architecture]] = {
    "SwiGLU": lambda: Architecture(b.SwiGLU(6, 8), input=b.Signal(6)),
    "rotary": lambda: Architecture(b.SelfAttention(6, 2, 0, 4, rotary=10.0), input=b.Signal(6, (5,))),
    "GELU": lambda: _mlp(b.GELU()),
    "experts": lambda: experts(b.Router()),
}


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


def _router(quick: bool) -> Units:
    def exact() -> Plain:
        z = sp.symbols("z1:3", real=True)
        gates = [1 / (1 + sp.exp(-t)) for t in z]
        loss = (sum(g * f for g, f in zip(gates, (0, 1), strict=True)) / sum(gates)) ** 2 / 2
        at = {z[0]: 0, z[1]: sp.log(3)}
        slope = sp.nsimplify(sp.simplify(-sum(sp.diff(loss, t).subs(at) for t in z)))
        return {"derivative": str(abs(Fraction(int(slope.p), int(slope.q))))}

    def measured() -> Plain:
        rows = {}
        for name in ("softmax", "normalised_sigmoid"):
            arch = experts(b.Router() if name == "softmax" else b.Router(name), 2, 2)
            sums = derive(experts(b.Router(), 2, 2)).where(kind="shift")
            rows[name] = [str(verify(arch, sums).verdict), count(arch).laws, derive(arch).independent]
        return rows

    return {"exact": exact, "measured": measured}


def _router_report(results: Results) -> Report:
    soft, sigmoid = results["measured"]["softmax"], results["measured"]["normalised_sigmoid"]
    claims = [
        Claim(
            "softmax",
            "the column sums of a softmax router are conserved (theorem 4.5)",
            verdict(soft[0] == "holds" and soft[1] == soft[2]),
            f"On gradients: {soft[0]}; brute force counts {soft[1]} laws of 2 experts of width 2, the rules {soft[2]}.",
        ),
        Claim(
            "normalised-sigmoid",
            "the column sums of a router of normalised sigmoids are conserved (theorem 4.7)",
            REFUTED if sigmoid[0] == "violated" and results["exact"]["derivative"] != "0" else HOLDS,
            f"On gradients: {sigmoid[0]}; brute force counts {sigmoid[1]} laws, those of the experts alone.",
            "two experts that give 0 and 1, x = e1, logits 0 and ln 3, target 0, loss (f - y)²/2: the column sum moves "
            f"at the rate {results['exact']['derivative']}, by exact arithmetic",
        ),
    ]
    return Report({"laws_softmax": float(soft[1]), "laws_normalised_sigmoid": float(sigmoid[1])}, claims)


def _router_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    found = results["measured"]
    for i, (label, colour) in enumerate(zip(("brute force", "rules of lawful"), COLOURS, strict=False)):
        ax.bar([k + 0.3 * i for k in range(2)], [found[n][1 + i] for n in found], 0.28, color=colour, label=label)
    ax.plot([0.75, 1.6], [10, 10], color=GREY, ls="--", label="as theorem 4.7 claims: 4 + 6")
    ax.set(ylabel="independent laws", xticks=[0.15, 1.15], xticklabels=["softmax", "normalised sigmoid"], ylim=(0, 14))
    ax.legend(loc="upper right")


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
            rows.append([rate, drift, max(r.relative for r in found), ledger.verdict, others])
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


PAPER = Paper(
    "tran2026",
    "Conservation laws for modern neural architectures",
    (
        Part(
            "slopes",
            "One step: laws as η², controls as η",
            "Blocks of 4 to 8 features, random inputs and targets, squared loss, one step of SGD at four rates; the "
            "control adds the squares that the law subtracts.",
            tuple(range(SEEDS)),
            _slopes,
            _slopes_report,
            _slopes_draw,
        ),
        Part(
            "router",
            "The router law of theorem 4.7",
            "Two ReLU experts of width 2 on 6 features, random data; and exact arithmetic on one example.",
            (0,),
            _router,
            _router_report,
            _router_draw,
        ),
        Part(
            "models",
            "Qwen3- and ViT-shaped models in training",
            "Two layers of width 16 (rotary attention with grouped queries, RMSNorm on heads, SwiGLU; patches, "
            "LayerNorm, GELU), cross-entropy by SGD on characters of Python's documentation and on digits of "
            "scikit-learn; the paper's models have their published sizes. 100 steps, 6 in the quick run.",
            (0,),
            _models,
            _models_report,
            _models_draw,
        ),
    ),
)
