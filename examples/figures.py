"""The pictures of README.md and docs/: `python examples/figures.py [FOLDER]` draws them again (two minutes).

That of the demo is drawn by `lawful demo --output docs/demo.png`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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


def main(folder: Path) -> None:
    """Draws all of them into a folder."""
    network(folder / "network.png")
    ledger(folder / "ledger.png")
    ledger(folder / "ledger-fault.png", lambda g: 1.1 * g)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs")
