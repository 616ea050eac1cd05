"""Channels move more simply than weights: figure 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lawful.graph import families
from lawful.graph.questions.derive import derive

from .. import data
from ..figure import BLUE, GREEN, ORANGE
from ..paper import Claim, Part, Plain, Report, Results, Units, verdict
from .vgg import stages

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

SAMPLE, DRAWN = 50, 8  # weights that are measured, and curves that are drawn, of every layer
SIMPLER = 2.0  # how many times as far as a channel a weight has to go, each over the range that it covers
DECAY = 0.005
LAYERS = ("features.3", "features.17", "features.34")  # that are drawn: early, in the middle, late


def _units(quick: bool) -> Units:
    width, size, steps = (2, 8, 60) if quick else (4, 32, 200)

    def run() -> Plain:
        x, y = data.digits()
        arch = families.vgg(stages(width), 10, True, 32, (32, 32), 0.0, 1)
        model = arch.to_torch(torch.float64, 0)
        parameters = dict(model.named_parameters())
        layers = [name.removesuffix(".weight") for name, p in parameters.items() if p.ndim == 4]
        laws = {law.wire: law for law in derive(arch, "cross_entropy") if law.kind == "balance"}
        optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=DECAY)

        def now() -> dict[str, tuple[Tensor, Tensor]]:
            found = {}
            for layer in layers:
                flat = parameters[f"{layer}.weight"].detach().flatten()
                some = flat[:: max(1, len(flat) // SAMPLE)][:SAMPLE].clone()
                found[layer] = some, laws[layer].value(parameters).detach().flatten().clone()
            return found

        seen = [now()]
        for images, classes in data.batches(data.enlarged(x, 32), y, size, steps, 0):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), classes).backward()
            optimizer.step()
            seen.append(now())
        return {
            layer: {
                name: _curves(torch.stack([step[layer][side] for step in seen]), layer in LAYERS)
                for side, name in enumerate(("weights", "channels"))
            }
            for layer in layers
        }

    return {"normed": run}


def _curves(values: Tensor, drawn: bool) -> Plain:
    """The median of how far the curves go, each over the range that it covers: 1 for one that never turns back."""
    way = values.diff(dim=0).abs().sum(0) / (values.amax(0) - values.amin(0))
    out: Plain = {"way": float(way.median())}
    if drawn:
        out["curves"] = values[:: max(1, (len(values) - 1) // 50), :DRAWN].T.tolist()
        out["steps"] = len(values) - 1
    return out


def _report(results: Results) -> Report:
    ways = {layer: [found[n]["way"] for n in ("weights", "channels")] for layer, found in results["normed"].items()}
    ratio = {layer: weight / channel for layer, (weight, channel) in ways.items()}
    good = min(ratio.values()) > SIMPLER
    least = min(ratio, key=ratio.__getitem__)
    spread = [(min(w[i] for w in ways.values()), max(w[i] for w in ways.values())) for i in (0, 1)]
    (low, high), (calm, most) = spread
    claim = Claim(
        "simpler",
        "the squared norms of channels move smoothly in training, where single weights wander",
        verdict(good),
        f"The way that a curve goes over the range that it covers, medians of the {len(ways)} convolutions: {low:.3g} "
        f"to {high:.3g} for weights, {calm:.3g} to {most:.3g} for channels; in a layer weights go "
        f"{min(ratio.values()):.3g} to {max(ratio.values()):.3g} times as far. To hold, more than "
        f"{SIMPLER:g} times in every layer.",
        "" if good else f"{least}: {ways[least][0]:.3g} for weights, {ways[least][1]:.3g} for channels",
    )
    return Report({"way of weights over that of channels, least layer": min(ratio.values())}, [claim])


def _draw(place: SubFigure, results: Results) -> None:
    found = results["normed"]
    titles = ("single weights, from their start", "channels: ‖θ‖², over its start")
    for ax, name, title in zip(place.subplots(1, 2), ("weights", "channels"), titles, strict=True):
        for layer, colour in zip(LAYERS, (BLUE, ORANGE, GREEN), strict=True):
            curves = torch.tensor(found[layer][name]["curves"], dtype=torch.float64)
            curves = curves - curves[:, :1] if name == "weights" else curves / curves[:, :1]
            steps = torch.linspace(0, found[layer][name]["steps"], curves.shape[1]).tolist()
            for i, curve in enumerate(curves.tolist()):
                ax.plot(steps, curve, color=colour, lw=0.8, label=layer if i == 0 else None)
        ax.set(xlabel="step", title=title, ylabel="change" if name == "weights" else "ratio")
    ax.legend()


PART = Part(
    "neurons",
    "Channels move more simply than weights",
    "A VGG-16 with BatchNorm, hidden width 32, on the digits of scikit-learn at 32 x 32, by SGD without momentum, "
    f"η = 0.1, λ = {DECAY:g}. Full: width 4, batches of 32, 200 steps; quick: width 2, batches of 8, 60 steps. "
    f"{SAMPLE} weights and all channels of every convolution, at every step. The paper shows figure 1 "
    "and measures nothing; the way over the range is ours. The paper: width 64, Tiny ImageNet, batches of 256, "
    "λ = 0.0001, 100 epochs.",
    (0,),
    _units,
    _report,
    _draw,
    2.0,
)
