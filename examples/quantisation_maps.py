"""What lawful derives for the language models of transformers, and what quantisation tools have written by hand.

`python examples/quantisation_maps.py [TYPE ...]` builds a tiny model of every type with random
weights and prints, for each: how many symmetries, the largest change of an output under a random element of all of
them, the maps for AWQ and SmoothQuant with the norms, values and hidden units that they cover, the rotations after
folds, and an audit of maps that are right and of maps that were made wrong.  The tables of packages are audited on the
same models by `quantisation_registries.py`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

import lawful as lw
from lawful.atlas.models import build
from lawful.symmetry.symmetries import Symmetries
from lawful.theory.verdict import Verdict

DENSE = (
    "llama mistral qwen2 qwen3 granite gemma2 gemma3_text olmo cohere gpt2 gpt_neox phi3 bloom opt falcon mpt".split()
)
EXPERTS = "mixtral qwen2_moe deepseek_v3 glm4_moe ernie4_5_moe".split()
TRIED = 12  # symmetries of a model that are verified


@dataclass(frozen=True)
class Row:
    """What was found for one model."""

    type: str
    symmetries: int
    error: float
    maps: tuple[int, int, int, int]
    rotations: str
    right: str
    wrong: str
    seconds: float
    complaints: tuple[str, ...]

    def __str__(self) -> str:
        norms, values, hidden, smooth = self.maps
        return (
            f"{self.type:14} {self.symmetries:4} {self.error:9.0e} {norms:6} {values:7} {hidden:7} {smooth:5}  "
            f"{self.rotations:12} {self.right:>7} {self.wrong:>7} {self.seconds:6.1f} s"
        )


HEAD = (
    f"{'model':14} {'all':>4} {'error':>9} {'norms':>6} {'values':>7} {'hidden':>7} {'SQ':>5}  "
    f"{'R1, R2':12} {'right':>7} {'wrong':>7}"
)


def row(kind: str) -> Row:
    """Symmetries of a tiny model of a type, their exports, and audits."""
    start = time.perf_counter()
    torch.manual_seed(0)
    built = build(f"hf:{kind}", full=False)
    model, given = built.module, {"args": built.args, "kwargs": built.kwargs}
    found = lw.symmetries(model, **given)
    step = max(1, len(found) // TRIED)
    error = max(s.verify().error for s in list(found)[::step])
    maps, smooth = lw.export.awq(found), lw.export.smoothquant(found)
    names = {id(m): n for n, m in model.named_modules()}
    heads = {n for n in names.values() if "attn" in n or "attention" in n}
    norms = {entry[1] for entry in smooth}
    values = [m for m in maps if m["smooth_layer"] not in norms and m["smooth_layer"] in heads]
    hidden = len(maps) - len(norms) - len(values)
    turned = lw.symmetries(lw.fold(model, remove=True, **given).model, **given)
    rotations = lw.export.rotation_maps(turned)
    stream = rotations["R1"]["size"] if rotations["R1"] else "-"
    complaints = [] if rotations["R1"] else [rotations["why"]]
    right = lw.audit(maps + smooth, found).findings
    complaints += [str(f) for f in right if f.verdict is not Verdict.HOLDS]
    wrong = list(broken(maps, found))
    caught = 0
    refused = lw.audit([entry for entry, _ in wrong], found).findings
    for (entry, meant), finding in zip(wrong, refused, strict=True):
        named = meant in finding.missing or meant in finding.wrong or meant in finding.reason
        caught += finding.verdict is Verdict.VIOLATED and named
        if finding.verdict is not Verdict.VIOLATED or not named:
            complaints.append(f"{entry} should name {meant}: {finding}")
    exact = sum(f.verdict is Verdict.HOLDS for f in right)
    return Row(
        kind,
        len(found),
        error,
        (len(norms), len(values), hidden, len(smooth)),
        f"{stream}, {len(rotations['R2'])}",
        f"{exact}/{len(right)}",
        f"{caught}/{len(wrong)}",
        time.perf_counter() - start,
        tuple(complaints),
    )


def broken(maps: Sequence[dict[str, Any]], found: Symmetries) -> list[tuple[dict[str, Any], str]]:
    """Wrong maps, each with the module that an audit has to name: a consumer forgotten, another norm, transposed."""
    out = []
    norms = [e[1] for e in lw.export.smoothquant(found)]
    for i, entry in enumerate(maps):
        smooth, balance = entry["smooth_layer"], entry["balance_layers"]
        if len(balance) > 1:
            out += [({**entry, "balance_layers": [b for b in balance if b != lost]}, lost) for lost in balance]
        size = found.sizes.get(f"{smooth}.weight")
        alike = [n for n in norms if n != smooth and found.sizes.get(f"{n}.weight") == size]
        other = next((n for n in alike if not _same(maps, n, balance)), None)
        if smooth in norms and other is not None and i < 2:
            out.append(({"smooth_layer": other, "balance_layers": balance}, balance[0]))
        if smooth not in norms and smooth not in balance and i < 4:
            out.append(({"smooth_layer": balance[0], "balance_layers": [smooth]}, smooth))
    return out


def _same(maps: Sequence[dict[str, Any]], smooth: str, balance: Sequence[str]) -> bool:
    return any(m["smooth_layer"] == smooth and set(m["balance_layers"]) & set(balance) for m in maps)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*", default=[*DENSE, *EXPERTS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD, flush=True)
    for kind in options.types:
        one = row(kind)
        print(one, flush=True)
        for said in one.complaints:
            print(f"    {said}", flush=True)


if __name__ == "__main__":
    main()
