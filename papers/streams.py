"""What no paper has: the laws of whole residual streams, followed through training by the ledger."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.dynamics.ledger import Ledger
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law

from . import data
from .figure import COLOURS, GREY
from .paper import Claim, Paper, Part, Plain, Report, Results, Units, verdict

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

Batches = list[tuple[Tensor, Tensor]]
PRECISE = 1e-10  # what no cause explains, over the size of the law
RATE, MOMENTUM, DECAY = 0.02, 0.9, 0.01
TITLES = {
    "resnet": "ResNet without norms",
    "resnet-bn": "ResNet with BatchNorm",
    "gpt2": "GPT-2",
    "llama": "Llama",
    "vit": "ViT",
}


def _images(quick: bool, steps: int) -> Batches:
    return data.batches(*data.digits(), 4 if quick else 16, steps, 0)


def _text(quick: bool, steps: int) -> Batches:
    text = data.characters(64)
    runs = text[: len(text) // 17 * 17].reshape(-1, 17)
    return data.batches(runs[:, :-1], runs[:, 1:], 4 if quick else 16, steps, 0)


def _resnet(norm: str, quick: bool) -> Architecture:
    width = 4 if quick else 8
    return families.resnet((2, 2), classes=10, width=width, stem="cifar", space=(8, 8), channels=1, norm=norm)


def _model(name: str, quick: bool) -> Architecture:
    layers, width = (2, 16) if quick else (4, 32)
    if name.startswith("resnet"):
        return _resnet("batch" if name == "resnet-bn" else "none", quick)
    if name == "gpt2":
        return families.gpt2(layers, width, 4, 64, 16)
    if name == "llama":
        return families.llama(layers, width, 4, 2, 2 * width, 64, 16)
    return families.vit(10, layers, width, 4, 2 * width, patch=2, space=(8, 8), channels=1)


def block(parameter: str) -> str:
    """The layer or residual block that a parameter belongs to."""
    parts = parameter.split(".")
    return ".".join(parts[:2]) if parts[0].startswith("layer") else parts[0]


def streams(arch: Architecture) -> list[Law]:
    """The laws of whole streams: balances of three or more layers or residual blocks at once."""
    laws = derive(arch, "cross_entropy")
    return [law for law in laws if law.kind == "balance" and len({block(p) for p in law.parameters}) >= 3]


def without_last(law: Law) -> Law | None:
    """The control: a stream law without what the last residual block adds to it."""
    last = max((block(p) for p in law.parameters if p.startswith("layer")), default="")
    kept = tuple(t for t in law.terms if last not in {block(p) for p in replace(law, terms=(t,)).parameters})
    return replace(law, name=f"{law.name} without {last}", terms=kept) if len(kept) < len(law.terms) else None


def _trained(arch: Architecture, laws: list[Law], batches: Batches) -> tuple[Ledger, list[float]]:
    model = arch.to_torch(torch.float64, 0)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    losses = []
    with Ledger(model, optimizer, laws, every=1) as ledger:
        for x, y in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return ledger, losses


def _batches(name: str, quick: bool) -> Batches:
    steps = 20 if quick else 300
    return (_text if name in ("gpt2", "llama") else _images)(quick, steps)


def _training(quick: bool) -> Units:
    def one(name: str) -> Plain:
        arch = _model(name, quick)
        laws = streams(arch)
        ledger, losses = _trained(arch, laws, _batches(name, quick))
        rows = []
        for law, row in zip(laws, ledger.rows(), strict=True):
            account = ledger.accounts[law.name]
            rows.append(
                {
                    "law": law.name,
                    "scalars": law.count,
                    "blocks": len({block(p) for p in law.parameters}),
                    "exact": law.exact,
                    "verdict": row.verdict,
                    "relative": row.relative,
                    "size": account.norm,
                    "change": row.change,
                    "causes": row.causes,
                    "curve": [[h[0], h[2]] for h in account.history],
                }
            )
        tenth = max(1, len(losses) // 10)
        return {
            "rows": rows,
            "losses": [sum(part) / tenth for part in (losses[:tenth], losses[-tenth:])],
            "steps": len(losses),
            "parameters": sum(p.numel() for p in arch.to_torch().parameters()),
        }

    return {name: partial(one, name) for name in TITLES}


def _training_report(results: Results) -> Report:
    numbers: dict[str, float] = {}
    claims: list[Claim] = []
    for name, found in results.items():
        rows = found["rows"]
        exact = all(r["exact"] for r in rows)
        bad = [r for r in rows if r["verdict"] != ("ok" if r["exact"] else "epsilon") or r["relative"] > PRECISE]
        left = max((r["relative"] for r in rows), default=0.0)
        moved = max((r["change"] / r["size"] for r in rows), default=0.0)
        numbers |= {f"moved_{name}": moved, f"left_over_{name}": left}
        kept = "" if exact else ", and the epsilon of its norms"
        first, last = found["losses"]
        told = "; ".join(
            f"{r['law']}: {r['scalars']} scalar{'s' * (r['scalars'] > 1)} of {r['blocks']} layers and blocks, moved by "
            f"{r['change'] / r['size']:.1e} of its size, of it "
            + ", ".join(f"{c} {x / r['size']:+.1e}" for c, x in r["causes"].items())
            for r in rows
        )
        claims.append(
            Claim(
                name,
                f"only decay, step size and momentum{kept} move the laws of the stream of a {TITLES[name]} in training",
                verdict(bool(rows) and not bad),
                f"{found['steps']} steps, loss {first:.2f} to {last:.2f}. {told}. No cause explains {left:.0e}; to "
                f"hold, the ledger's verdict is ok (epsilon for a law up to epsilon) and that is below {PRECISE:.0e}.",
                f"{bad[0]['law']}: {bad[0]['verdict']}, {bad[0]['relative']:.1e}" if bad else "",
            )
        )
    return Report(numbers, claims)


def _label(model: str, law: str) -> str:
    return f"{TITLES[model]},\n{block(law.split()[2])}"


def _training_draw(place: SubFigure, results: Results) -> None:
    curves, causes = place.subplots(1, 2)
    shown = [(_label(n, r["law"]), r) for n, f in results.items() for r in f["rows"]]
    for i, ((name, row), colour) in enumerate(zip(shown, (*COLOURS, "#000000"), strict=False)):
        curves.plot(
            *zip(*row["curve"], strict=True), color=colour, ls=("-", "--")[i % 2], label=name.replace("\n", " ")
        )
    curves.set(xlabel="step", ylabel="change of the law, of its size")
    curves.set_title("what training does to it")
    curves.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.45, -0.17))
    names = list(dict.fromkeys(c for _, r in shown for c in r["causes"]))
    for j, (cause, colour) in enumerate(zip(names, COLOURS, strict=False)):
        at = [i + 0.8 * (j + 0.5) / len(names) for i in range(len(shown))]
        sizes = [abs(r["causes"].get(cause, 0.0)) / r["size"] for _, r in shown]
        causes.barh(at, sizes, 0.8 / len(names), color=colour, label=cause)
    causes.barh(
        [i + 0.87 for i in range(len(shown))], [r["relative"] for _, r in shown], 0.13, color=GREY, label="no cause"
    )
    causes.set_yticks([i + 0.45 for i in range(len(shown))], [name for name, _ in shown], fontsize=6.5)
    causes.set_xscale("log")
    causes.set(xlabel="change by cause, of the law's size")
    causes.legend(fontsize=6.5, ncols=3, loc="upper center", bbox_to_anchor=(0.4, -0.17))


def _control(quick: bool) -> Units:
    def one(name: str) -> Plain:
        arch = _model(name, quick)
        pairs = [(law, w) for law in streams(arch) if (w := without_last(law)) is not None]
        ledger, _ = _trained(arch, [law for pair in pairs for law in pair], _batches(name, True))
        rows, accounts = {r.law: r for r in ledger.rows()}, ledger.accounts
        return {
            "rows": [[w.name, rows[w.name].verdict, *(accounts[x.name].leak for x in (w, law))] for law, w in pairs]
        }

    return {name: partial(one, name) for name in TITLES}


def _control_report(results: Results) -> Report:
    rows = [(n, *row) for n, found in results.items() for row in found["rows"]]
    seen = [r for r in rows if r[2] == "unexplained"]
    missed = next((r for r in rows if r[2] != "unexplained"), None)
    every = bool(rows) and all(results[n]["rows"] for n in TITLES)
    near = min(rows, key=lambda r: r[3] / max(r[4], 1e-300))
    claims = [
        Claim(
            "ledger",
            "without what the last block writes and reads the ledger finds every stream law broken",
            verdict(every and missed is None),
            f"{len(seen)} of {len(rows)} such combinations are unexplained after 20 steps."
            + (" Where a law holds up to the epsilon of norms, the ledger grants more for it." if missed else ""),
            f"{TITLES[missed[0]]}, {missed[1]}: {missed[2]}" if missed else "",
        ),
        Claim(
            "first-order",
            "a stream law needs every block: without the last one it slopes along the gradient",
            verdict(every and near[3] > 100 * near[4]),
            "The slope over the largest it could be, at the worst of 20 steps, without the last block and with it: "
            + "; ".join(f"{TITLES[r[0]]} {r[3]:.0e} and {r[4]:.0e}" for r in rows)
            + ". To hold, the first is more than 100 times the second.",
            "" if near[3] > 100 * near[4] else f"{TITLES[near[0]]}, {near[1]}: {near[3]:.0e} and {near[4]:.0e}",
        ),
    ]
    return Report({"controls_found_broken": len(seen) / max(1, len(rows))}, claims)


def _control_draw(place: SubFigure, results: Results) -> None:
    ax = place.subplots()
    rows = [(n, row) for n, found in results.items() for row in found["rows"]]
    at = range(len(rows))
    ax.barh([i + 0.2 for i in at], [r[2] for _, r in rows], 0.38, color=COLOURS[1], label="without the last block")
    ax.barh([i - 0.2 for i in at], [r[3] for _, r in rows], 0.38, color=COLOURS[0], label="the law")
    ax.set_yticks(list(at), [_label(n, r[0]) for n, r in rows], fontsize=6.5)
    ax.set_xscale("log")
    ax.set(xlabel="slope along the gradient")
    ax.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.4, -0.17))


_SETTING = (
    "SGD with momentum 0.9, weight decay 0.01, rate 0.02, float64, cross-entropy. Characters of Python's "
    "documentation (GPT-2: LayerNorm, GELU; Llama: RMSNorm, rotary attention with grouped queries, SwiGLU) and "
    "digits of scikit-learn (ResNet, ViT). Full: four layers of width 32, a ResNet of 4 blocks from width 8, "
    "batches of 16, 300 steps; quick: two layers of width 16, the ResNet from width 4, batches of 4, 20 steps. "
)

PAPER = Paper(
    "streams",
    "The laws of whole residual streams",
    (
        Part(
            "training",
            "Laws of whole streams through training",
            _SETTING + "A law of a stream is a balance of three or more layers and residual blocks at once.",
            (0,),
            _training,
            _training_report,
            _training_draw,
            2.0,
        ),
        Part(
            "control",
            "Without the last block it is no law",
            _SETTING + "The laws of the streams without the terms of the last block; batches of 4, 20 steps.",
            (0,),
            _control,
            _control_report,
            _control_draw,
        ),
    ),
)
