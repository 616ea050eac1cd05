"""The entries of published families: which laws each has, and the count that says whether they are all.

`python -m lawful.catalog.families [PATH]` writes them; each is derived at its published size, some are counted.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check

from .build import to_text
from .entry import Entry
from .match import Match, for_network
from .record import Certificate
from .wording import field_text

CLASSES = "cross_entropy"
NAMES = (
    "bert clip convnext_tiny deepseek_moe deit densenet121 efficientnet_b0 gemma2 gpt2 gpt_neox gptj llama lstm_lm "
    "mamba mixtral mlp_mixer mobilenet_v2 mobilenet_v3_large pythia qwen3 resnet18 resnet50 resnext50_32x4d swin_t t5 "
    "unet vgg16 vit whisper wide_resnet50_2"
).split()
REGRESSES = ("clip", "unet")  # one output number, or one for every pixel
COUNTED = ("mamba", "mixtral", "qwen3")  # those that are counted in a minute
LONGEST = 160  # characters of a statement that are shown
GIVEN: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (784, 128, 10)},
    "deep_linear": {"widths": (8, 6, 4)},
    "autoencoder": {"widths": (784, 128, 32)},
}


def network(name: str) -> Architecture:
    """A family at its published size."""
    made: Architecture = getattr(families, name)(**GIVEN.get(name, {}))
    return made


def small(name: str) -> Architecture:
    """A copy that is small enough to draw: every kind of layer, few of each."""
    if name == "densenet121":  # a layer reads all before it, so no repetition of its layers can be cut
        return families.densenet((2, 2, 2, 2)).shrink()
    return network(name).shrink()


def entry(name: str) -> Entry:
    """The entry of a family: its laws with the entries that state them, and the count of a copy."""
    arch = network(name)
    loss = "mse" if len(arch.outputs) > 1 or name in REGRESSES else CLASSES
    matches = for_network(arch, loss)
    laws = matches.laws
    said = inspect.getdoc(getattr(families, name)) or name
    title = re.split(r"[:;.]\s", said.splitlines()[0] + " ")[0]
    first = f"{title}: {laws.count:,} scalar laws, {laws.independent:,} independent"
    return Entry(
        id=f"family/{name}",
        kind="family",
        title=title,
        statement_text="\n".join([first, *lines(matches)]),
        statement_latex=rf"\text{{{laws.independent:,} independent laws}}",
        source="lawful",
        group="Published families",
        network=f"family:{name}",
        blocks=tuple(sorted({arch.block(n).kind for n in arch.nodes})),
        loss=loss,
        hypotheses=("gradient flow on any data set", f"loss {loss}", *matches.notes),
        count_formula=f"{laws.count:,} at the published size",
        independent_formula=f"{laws.independent:,} at the published size",
        certificate=_certificate(check(arch, loss)) if name in COUNTED else None,
        related=tuple(sorted({m.entry.id for m in matches if m.entry is not None})),
        names=(name.replace("_", " "),),
        also=" ".join(sorted({m.entry.setting for m in matches if m.entry is not None})),
    )


def lines(matches: list[Match]) -> list[str]:
    """One line for the same law of every layer: how often, its name, what it says, which entry states it."""
    runs: dict[str, list[Match]] = {}
    for m in matches:
        runs.setdefault(re.sub(r"(?<![A-Za-z])\d+(?![A-Za-z])", "*", m.law.name), []).append(m)
    out = []
    for name, same in runs.items():
        m = same[0]
        times = f", {len(same)} times" if len(same) > 1 else ""
        text = field_text(m.law.short, m.law.parameters)
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
        out.append(f"{name}{times}: {text}" + (f" [{m.entry.id}]" if m.entry else ""))
    return out


def _certificate(found: Any) -> Certificate | None:
    c = found.count
    if c is None or found.complete is not True:
        return None
    residuals = [r.residual for r in found.report.laws]
    controls = [r.control for r in found.report.laws]
    return Certificate(
        sizes={},
        parameters=c.parameters,
        seed=0,
        samples=0,
        residual=float(f"{max(residuals, default=0.0):.1e}"),
        control=float(f"{min(controls, default=0.0):.1e}"),
        engine=found.small_laws.independent,
        oracle=c.laws,
        ranks=tuple(c.ranks),
        gap=float(f"{c.gap:.0e}"),
        verdict=str(found.verdict),
        version=version("lawful"),
    )


def main(arguments: list[str] | None = None) -> None:
    """Writes the entries of all families."""
    parser = argparse.ArgumentParser(
        prog="python -m lawful.catalog.families", description="Generate the entries of the published families."
    )
    default = Path(str(files("lawful.catalog"))) / "data" / "texts" / "families.json"
    parser.add_argument("path", nargs="?", type=Path, default=default, help="the file to write")
    path = parser.parse_args(arguments).path
    torch.set_num_threads(1)
    made = []
    for name in NAMES:
        print(name, file=sys.stderr, flush=True)
        made.append(entry(name))
        path.write_text(to_text(made), encoding="utf-8")
    print(json.dumps({e.id: e.certificate is not None for e in made}))


if __name__ == "__main__":
    main()
