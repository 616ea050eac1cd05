"""The pictures of README.md and docs/: `python examples/figures.py [FOLDER]` draws them again (two minutes).

That of the demo is drawn by `lawful demo --output docs/demo.png`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import resources
from itertools import pairwise
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b

STEPS = 200
FAULT_AT = 100


def network(path: Path) -> None:
    """A residual block with its laws."""
    block = b.residual(b.LayerNorm(8) >> b.Linear(8, 32) >> b.ReLU() >> b.Linear(32, 8))
    arch = lw.Architecture(b.Linear(4, 8) >> block >> b.LayerNorm(8) >> b.Linear(8, 3))
    arch.draw(path, lw.derive(arch, "cross_entropy"))


def ledger(path: Path, fault: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
    """AdamW on handwritten digits (scikit-learn's), all at once; from a step on with a wrong gradient."""
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16), torch.tensor(digits.target)
    widths = [64, 32, 32, 32, 10]
    layers = {f"fc{i + 1}": nn.Linear(n, m) for i, (n, m) in enumerate(pairwise(widths))}
    model = nn.Sequential()
    for i, (name, layer) in enumerate(layers.items()):
        model.add_module(name, layer)
        if i < len(layers) - 1:
            model.add_module(f"act{i + 1}", nn.ReLU())
    model.double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    laws = lw.derive(model, "cross_entropy", args=x[:4])
    account = lw.Ledger(model, optimizer, laws)
    for step in range(STEPS):
        if step == FAULT_AT and fault is not None:
            model.get_submodule("fc2").weight.register_hook(fault)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    account.plot(path)


KINDS = {
    "translation": ("normed", "translation: sums of the last layer"),
    "scale": ("normed", "scale: channels before a BatchNorm"),
    "rescale": ("plain", "rescale: two convolutions and ReLU"),
}


def predicted(path: Path) -> str:
    """Measured and predicted laws of a VGG-16, from the full run of `lawful reproduce kunin2021`; gives the errors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    stored = json.loads(resources.files("lawful.papers").joinpath("results/kunin2021.json").read_text(encoding="utf-8"))
    runs = {part["name"]: part["results"] for part in stored["parts"]}
    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    rows = []
    for line, (run, said) in zip(
        axes, (("vgg", "no momentum, η = 0.1"), ("vgg-momentum", "momentum 0.9, η = 0.01")), strict=True
    ):
        for ax, (kind, (net, title)) in zip(line, KINDS.items(), strict=True):
            shown = [(name.split()[1], found[kind]) for name, found in runs[run].items() if name.startswith(net)]
            for i, (decay, found) in enumerate(shown):
                measured, closed = found["curves"]
                ax.plot(found["steps"], measured, color=f"C{i}", lw=4, alpha=0.35)
                ax.plot(found["steps"], closed, "--", color=f"C{i}", label=f"λ = {decay}")
            ax.set(title=f"{title}\n{said}", xlabel="step", ylabel="mean of the law's scalars")
            rows.append(f"| {kind} | {said} | " + " | ".join(f"{f['error']:.1e}" for _, f in shown) + " |")
    handles = [
        *axes[0, 0].get_legend_handles_labels()[0],
        pyplot.Line2D([], [], color="grey", lw=4, alpha=0.35, label="measured"),
        pyplot.Line2D([], [], color="grey", ls="--", label="closed form"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(path, dpi=110)
    head = ["| law | run | " + " | ".join(f"λ = {d}" for d, _ in shown) + " |", "| --- | --- |" + " --- |" * len(shown)]
    return "\n".join(head + rows)


def main(folder: Path) -> None:
    """Draws all of them into a folder."""
    network(folder / "network.png")
    ledger(folder / "ledger.png")
    ledger(folder / "ledger-fault.png", lambda g: 1.1 * g)
    print(predicted(folder / "ledger-predictions.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs")
