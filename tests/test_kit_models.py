"""Correct modules are not accused: a list that a rule chose before any of them was run.

Of the published models the first of every family in the order of docs/atlas.csv that has fewer than `SMALL` parameters,
as many of each source as `OF_SOURCE` says; whether the atlas could read it does not matter.  Of networks with dead
units those of the first seeds.
"""

import csv
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from lawful.atlas.models import build
from lawful.testing.examine import examine
from lawful.theory.verdict import Verdict

ATLAS = Path(__file__).parent.parent / "docs" / "atlas.csv"
SMALL = 6_000_000
OF_SOURCE = {"torchvision": 7, "timm": 42, "hf": 71}


def chosen() -> list[str]:
    """The published models, by the rule above."""
    found: dict[tuple[str, str], str] = {}
    with ATLAS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            source = row["name"].partition(":")[0]
            if source in OF_SOURCE and row["parameters"] and 0 < int(row["parameters"]) < SMALL:
                found.setdefault((source, row["family"]), row["name"])
    return [n for s, most in OF_SOURCE.items() for n in [v for (t, _), v in found.items() if t == s][:most]]


def mlp(seed: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    sizes = (4, 8, 8, 8, 3) if seed % 2 else (16, 64, 64, 64, 10)
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]), torch.randn(16, sizes[0])


def cnn(seed: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)]
    return nn.Sequential(*body), torch.randn(4, 3, 8, 8)


@pytest.mark.nightly
@pytest.mark.parametrize("name", chosen())
def test_a_published_model_is_not_accused(name: str) -> None:
    built = build(name, full=False)
    found = examine(built.module, built.args, built.kwargs, samples=1)
    assert found.verdict is not Verdict.VIOLATED, str(found)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("make", [mlp, cnn])
def test_a_network_with_dead_units_passes(make: object, seed: int) -> None:
    assert callable(make)
    net, x = make(seed)
    found = examine(net, (x,), loss="cross_entropy")
    assert found.verdict.passed, str(found)
