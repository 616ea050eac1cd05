"""What is said of a network depends on the network alone: not on Python's hash seed, not on what was drawn before."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.derive import by_rules
from lawful.testing.strategies import architectures

ASK = """
import json, sys
import lawful as lw
from lawful.graph.questions.derive import by_rules
for text in json.load(sys.stdin):
    for loss in ("mse", "cross_entropy"):
        laws = by_rules(lw.Architecture.from_json(text), loss)
        print(json.dumps([[law.text for law in laws], laws.independent, list(laws.notes)]))
"""


def absolute_skip() -> lw.Architecture:
    """`x + V [x, |x|]`: one process in five said nothing of the laws that join the skip and the maps."""
    inner = b.Parallel((("a", b.Identity()), ("b", b.ReLU(-1.0))), b.Concat()) >> b.Conv3d(4, 2, 1, bias=False)
    net = b.Conv3d(2, 2, 1, bias=False) >> b.Affine(2, gain=False) >> b.residual(inner)
    return lw.Architecture(
        net >> b.GlobalAveragePool() >> b.Linear(2, 3, False), input=b.Signal(2, (2, 2, 2), channels_first=True)
    )


def said(texts: list[str], hash_seed: int) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(texts),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()


def test_the_order_of_sets_decides_nothing() -> None:
    one, other = (said([absolute_skip().to_json()], seed) for seed in (1, 3))
    assert one == other and "adds unlike layers" in one[0]


@pytest.mark.nightly
def test_the_order_of_sets_decides_nothing_of_random_networks() -> None:
    texts: list[str] = []

    @seed(int(os.environ.get("LAWFUL_SEED", "0")))
    @given(architectures())
    @settings(max_examples=600, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def draw(arch: lw.Architecture) -> None:
        texts.append(arch.to_json())

    draw()
    texts = list(dict.fromkeys(texts))
    first = said(texts, 1)
    assert len(first) == 2 * len(texts)
    for hash_seed in (2, 3):
        for i, (one, other) in enumerate(zip(first, said(texts, hash_seed), strict=True)):
            assert one == other, texts[i // 2]


def test_numbers_that_were_drawn_before_decide_nothing() -> None:
    """What a dropout of the inputs can give is measured: on the same draws, whatever was drawn before."""
    net = b.Dropout(0.5) >> b.SwiGLU(4, 3) >> b.Linear(4, 2)
    found = set()
    for number in range(6):
        torch.manual_seed(number)
        before = torch.random.get_rng_state()
        found.add(by_rules(lw.Architecture(net, input=b.Signal(4)), "mse").notes)
        assert torch.equal(before, torch.random.get_rng_state())
    assert len(found) == 1
