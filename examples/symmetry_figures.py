"""The pictures of the pages on symmetries: `python examples/symmetry_figures.py [FOLDER]` draws them (two minutes).

That of docs/quantisation.md is drawn by `python examples/quantise.py docs/quantisation.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.parts import read

STEPS = 300


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Handwritten digits of scikit-learn and what they show."""
    found = load_digits()
    return torch.tensor(found.data / 16).float(), torch.tensor(found.target)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> list[float]:
    """Trains on minibatches of digits; the norm of the first weight after every step."""
    x, y = digits()
    order = torch.Generator().manual_seed(seed)
    first = next(p for p in model.parameters() if p.ndim > 1)
    norms = []
    for _ in range(STEPS):
        picked = torch.randint(len(x), (128,), generator=order)
        optimizer.zero_grad()
        F.cross_entropy(model(x[picked]), y[picked]).backward()
        optimizer.step()
        norms.append(float(first.detach().norm()))
    return norms


def merging(path: Path) -> tuple[float, float]:
    """The loss on the line between two networks of other seeds, before and after alignment."""
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        trained(model, torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05), seed)
        models.append(model)
    x, y = digits()
    found = lw.barriers(*models, lambda m: float(F.cross_entropy(m(x), y).detach()), args=(x[:3],), points=21)
    found.plot(str(path), "cross entropy on digits")
    return found.heights


def interpretability(path: Path) -> None:
    """What of a head is its own: its values and outputs are not, their product is."""
    torch.manual_seed(0)
    arch = lw.families.gpt2(layers=1, width=16, heads=2, vocabulary=11, context=5)
    model, found = arch.to_torch(torch.float64), lw.symmetries(arch)
    values = next(s for s in found.where(group="general linear") if {found.writes(m) for m in s.moves} == {True, False})
    moved = values.apply(model, values.random(torch.Generator().manual_seed(1)))
    writer, reader = (next(m for m in values.moves if found.writes(m) == side).part for side in (True, False))
    figure = Figure(figsize=(8.6, 5), layout="constrained")
    axes = figure.subplots(2, 3)
    head, ends = "feature of the head", ("feature of the stream, read", "feature of the stream, written")
    for row, (name, net) in zip(axes, (("as it is", model), ("moved", moved)), strict=True):
        tensors = {n: p.detach() for n, p in net.named_parameters()}
        v, o = (p.read(read(p.parameter, tensors)).flatten(-2)[0] for p in (writer, reader))
        shown = (
            ("values", v, ends[0], head),
            ("outputs", o.T, head, ends[1]),
            ("outputs × values", o.T @ v, *ends),
        )
        for ax, (title, matrix, across, down) in zip(row, shown, strict=True):
            largest = float(matrix.abs().max())
            image = ax.imshow(matrix, cmap="RdBu", vmin=-largest, vmax=largest)
            ax.set_title(f"{title}, {name}", fontsize=9)
            ax.set_xlabel(across, fontsize=8)
            ax.set_ylabel(down, fontsize=8)
            ax.set(xticks=[], yticks=[])
            figure.colorbar(image, ax=ax, shrink=0.7).ax.tick_params(labelsize=7)
    figure.savefig(path, dpi=110)


def optimizers(path: Path) -> None:
    """The norm of a weight before BatchNorm under SGD, with decay for everything and with parameter groups."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    norms, rates = figure.subplots(1, 2)
    for name in ("decay for everything", "lw.param_groups"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        groups = lw.param_groups(model, args=(digits()[0][:4],), weight_decay=0.02)
        given = groups if name == "lw.param_groups" else [{"params": list(model.parameters()), "weight_decay": 0.02}]
        found = trained(model, torch.optim.SGD(given, lr=0.5), 0)
        norms.plot(found, label=name)
        rates.plot([0.5 / n**2 for n in found], label=name)
    norms.set(xlabel="step", ylabel="norm of the weight")
    rates.set(xlabel="step", ylabel="effective learning rate, lr / norm²")
    norms.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(folder: Path) -> None:
    """Draws all of them into a folder."""
    before, after = merging(folder / "merging.png")
    print(f"barrier {before:.3f} as trained, {after:.3f} aligned")
    interpretability(folder / "interpretability.png")
    optimizers(folder / "optimizers.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
