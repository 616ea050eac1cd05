"""Laws that a night of 1,800 random networks found unnamed: gates on one side, one number normalised, centred means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.derive import by_rules

POSITIONS = b.Signal(4, (3, 3))

NAMED = {
    "a bias and a mean behind a norm of the input": (
        b.LayerNormCore(4) >> b.Affine(4, False) >> b.GlobalAveragePool() >> b.Linear(4, 3),
        POSITIONS,
        "by constants",
    ),
    "BatchNorm of multiples of one number": (
        b.Linear(3, 1) >> b.Pointwise("tanh") >> b.Linear(1, 2) >> b.BatchNormCore(2, 0.0) >> b.Linear(2, 3, False),
        b.Signal(3),
        "one number",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_the_rules_do_not_see_is_named(name: str) -> None:
    net, signal, words = NAMED[name]
    arch = lw.Architecture(net, signal)
    laws = lw.derive(arch)
    assert lw.count(arch).laws > laws.exact_independent and any(words in note for note in laws.gaps)


ONE = {
    "one channel": (b.Conv1d(1, 3, 1, bias=False), b.Signal(1, (4,), channels_first=True)),
    "two groups": (b.Conv1d(2, 4, 1, groups=2, bias=False), b.Signal(2, (4,), channels_first=True)),
    "groups behind a ReLU": (
        b.Conv1d(2, 2, 2, 2, bias=False) >> b.ReLU() >> b.Conv1d(2, 4, 1, groups=2, bias=False),
        b.Signal(2, (8,), channels_first=True),
    ),
    "each by itself": (b.Conv1d(2, 2, 1, groups=2, bias=False), b.Signal(2, (4,), channels_first=True)),
    "a kernel": (b.Conv1d(1, 3, 2, bias=False), b.Signal(1, (5,), channels_first=True)),
}


@pytest.mark.parametrize("norm", [b.BatchNormCore, b.InstanceNormCore])
@pytest.mark.parametrize("name", ONE)
def test_multiples_of_one_number_are_one_number_behind_a_norm(norm: Callable[..., b.Net], name: str) -> None:
    """A night found it: grouped convolutions of one input each; only a dense map from one feature was named."""
    net, signal = ONE[name]
    width = 4 if "groups" in name else 2 if "itself" in name else 3
    arch = lw.Architecture(net >> norm(width, epsilon=0.0) >> b.Flatten() >> b.Linear(4 * width, 2, False), signal)
    laws = lw.derive(arch)
    named = any("multiples of one number" in note for note in laws.gaps)
    assert named == (lw.count(arch).laws > laws.independent) == (name not in ("each by itself", "a kernel"))


GATES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], bool]] = {
    "a clamp below what is never negative": (lambda h: torch.clamp(h.relu(), min=-1), True),
    "off for every input": (lambda h: (torch.tanh(h) - 2).relu(), True),
    "on for every input": (lambda h: F.leaky_relu(torch.sigmoid(h) + 1), True),
    "turned round": (lambda h: (-h.relu()).relu(), True),
    "a layer reaches both sides": (lambda h: (h + 1).relu(), False),
    "a positive factor": (lambda h: (2 * torch.tanh(h)).relu(), False),
    "a clamp of a layer": (lambda h: F.hardtanh(h), False),
}


class Gated(nn.Module):
    """Two layers with a gate between."""

    def __init__(self, gate: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.up, self.down, self.gate = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False), gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down(self.gate(self.up(x)))
        return out


@pytest.mark.parametrize("name", GATES)
def test_gates_that_may_stand_on_one_side_are_named(name: str) -> None:
    gate, named = GATES[name]
    laws = by_rules(lw.trace(Gated(gate), (torch.randn(5, 3),)), "mse")
    assert any("or off, for every input" in note for note in laws.gaps) == named


@pytest.mark.parametrize("index", [slice(None, None, 2), slice(0, 2), [0, 2], slice(1, None)], ids=str)
def test_some_of_the_features_that_are_centred_together_are_named(index: slice | list[int]) -> None:
    def some(h: torch.Tensor) -> torch.Tensor:
        part = (h - h.mean(-1, keepdim=True))[..., index]
        return F.linear(part, torch.ones(4, part.shape[-1]))

    laws = lw.derive(Gated(some), args=(torch.randn(5, 3),))
    assert any("subtracts one mean" in note for note in laws.gaps)


def test_all_features_that_are_centred_need_no_word() -> None:
    module, args = Gated(lambda h: h - h.mean(-1, keepdim=True)), (torch.randn(5, 3),)
    laws = lw.derive(module, args=args)
    assert not laws.gaps and laws.exact_independent == lw.count(module, args=args).laws
