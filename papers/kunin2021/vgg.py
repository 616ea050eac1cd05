"""A VGG-16 on the closed forms of translation, scale and rescale."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.dynamics import predict
from lawful.dynamics.predict import Setting
from lawful.graph import families
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law

from .. import data
from ..figure import COLOURS, GREY
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .forms import CLOSE, error

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


DECAYS = (0.0, 0.005, 0.025, 0.05)
KINDS = ("translation", "scale", "rescale")


def stages(width: int) -> list[list[int]]:
    """The channels of the 13 convolutions, by stage."""
    return [[width * m] * n for m, n in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))]


def _watched(laws: dict[str, Law], normed: bool) -> dict[str, Law]:
    """Translation of the last layer; channels of the second convolution, or of the fifth against the fourth."""
    last = laws["shift classifier.4.weight"]
    if normed:
        return {"translation": last, "scale": laws["balance of features.3"]}
    return {"translation": last, "rescale": laws["balance of features.7"]}


def _vgg(momentum: float) -> Callable[[bool], Units]:
    def units(quick: bool) -> Units:
        width, size, steps, decays = (2, 8, 100, DECAYS[::3]) if quick else (4, 32, 200, DECAYS)

        def one(normed: bool, decay: float) -> Plain:
            x, y = data.digits()
            arch = families.vgg(stages(width), 10, normed, 32, (32, 32), 0.0, 1)
            laws = _watched({law.name: law for law in derive(arch, "cross_entropy")}, normed)
            model = arch.to_torch(torch.float64, 0)
            if not normed:  # as He et al. draw weights for ReLU: else the signal dies in 16 layers
                torch.manual_seed(0)
                for p in model.parameters():
                    if p.ndim > 1:
                        torch.nn.init.kaiming_normal_(p)
            setting = Setting(0.01 if momentum else 0.1, decay, momentum)
            batches = data.batches(data.enlarged(x, 32), y, size, steps, 0)
            found = _followed(model, laws, setting, batches)
            return {name: _drawn(*found[name], name, setting) for name in laws}

        return {
            f"{name} {decay:g}": partial(one, name == "normed", decay)
            for name in ("normed", "plain")
            for decay in decays
        }

    return units


def _followed(
    model: torch.nn.Module, laws: dict[str, Law], setting: Setting, batches: list[tuple[Tensor, Tensor]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Every law before the first step and after each, and its form on gradients, or on velocities with momentum."""
    weights = dict(model.named_parameters())
    optimizer = torch.optim.SGD(
        model.parameters(), setting.rate, setting.momentum, setting.dampening, weight_decay=setting.decay
    )

    def now() -> dict[str, Tensor]:
        return {n: p.detach().clone() for n, p in weights.items()}

    before, values, forms = now(), {n: [law.value(now())] for n, law in laws.items()}, {n: list[Tensor]() for n in laws}
    for x, y in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        push = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in weights.items()}
        optimizer.step()
        after = now()
        if setting.momentum:
            push = {n: (after[n] - before[n]) / setting.unit for n in after}
        for name, law in laws.items():
            values[name].append(law.value(after))
            forms[name].append(law.value(push))
        before = after
    return {n: (torch.stack(values[n]).flatten(1), torch.stack(forms[n]).flatten(1)) for n in laws}


def _drawn(values: Tensor, forms: Tensor, name: str, setting: Setting) -> Plain:
    if name == "translation":
        expected = predict.translation(setting, values[0], torch.arange(len(values)))
    else:  # the form of a rescale law is a difference, and the closed form of a scale is linear in it
        expected = predict.scale(setting, values[0], forms)
    thin = max(1, (len(values) - 1) // 25)
    steps = list(range(0, len(values), thin))
    mean = [x[steps].abs().mean(1) if name == "translation" else x[steps].mean(1) for x in (values, expected)]
    return {"error": error(values, expected), "steps": steps, "curves": [m.tolist() for m in mean]}


def _vgg_report(results: Results, run: str) -> Report:
    numbers: dict[str, float] = {}
    claims: list[Claim] = []
    some = next(iter(next(iter(results.values())).values()))["steps"][-1]
    for kind in KINDS:
        errors = {k: found[kind]["error"] for k, found in results.items() if kind in found}
        worst = max(errors, key=lambda k: errors[k])
        good = errors[worst] < CLOSE
        numbers |= {f"error_{run}_{kind}_{k.replace(' ', '_')}": e for k, e in errors.items()}
        told = "; ".join(f"{k}: {e:.1e}" for k, e in errors.items())
        claims.append(
            Claim(
                kind,
                f"measured {kind} laws lie on their closed forms",
                verdict(good),
                f"{some} steps; largest distance over the largest movement, by network and decay: {told}; "
                f"to hold, each is below {CLOSE:g}.",
                "" if good else f"{worst}: {errors[worst]:.2g} after {some} steps",
            )
        )
    return Report(numbers, claims)


def _vgg_draw(place: SubFigure, results: Results) -> None:
    titles = ("translation: |sums| of the last layer", "scale: channels of conv2", "rescale: conv4 against conv5")
    for ax, kind, title in zip(place.subplots(1, 3), KINDS, titles, strict=True):
        net = "plain" if kind == "rescale" else "normed"
        shown = [(k, found[kind]) for k, found in results.items() if k.startswith(net)]
        for (name, found), colour in zip(shown, COLOURS, strict=False):
            measured, expected = found["curves"]
            ax.plot(found["steps"], measured, color=colour, lw=3, alpha=0.35)
            ax.plot(found["steps"], expected, "--", color=colour, label=f"λ = {name.split()[1]}")
        ax.plot([], [], color=GREY, lw=3, alpha=0.5, label="measured")
        ax.plot([], [], "--", color=GREY, label="closed form")
        ax.set(xlabel="step", ylabel="mean of the law's scalars")
        ax.set_title(title)
        ax.legend(fontsize=6.5)


NETWORK = (
    "All 16 layers of a VGG-16, with BatchNorm (normed) and without (plain, weights drawn as He et al. do), "
    "hidden width 32, cross-entropy on the digits of scikit-learn at 32 x 32. Full: width 4, batches of 32, 200 "
    "steps, four decays; quick: width 2, batches of 8, 100 steps, the least and the largest decay. The paper: "
    "width 64, Tiny ImageNet, batches of 256, 100 epochs, η = 0.1, decays 50 times smaller. "
)


PARTS = (
    Part(
        "vgg",
        "A VGG-16 by SGD on the closed forms",
        NETWORK + "No momentum, η = 0.1.",
        (0,),
        _vgg(0.0),
        lambda r: _vgg_report(r, "sgd"),
        _vgg_draw,
        3.0,
    ),
    Part(
        "vgg-momentum",
        "A VGG-16 with momentum 0.9 on the closed forms",
        NETWORK + "Momentum 0.9, η = 0.01.",
        (0,),
        _vgg(0.9),
        lambda r: _vgg_report(r, "momentum"),
        _vgg_draw,
        3.0,
    ),
)
