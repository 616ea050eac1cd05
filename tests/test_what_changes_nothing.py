"""Activations and moves that change nothing for those who read them: the networks without them, with their laws."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.derive import by_rules

IMAGE, FEATURES = b.Signal(2, (4,), channels_first=True), b.Signal(4)
LEAKY = b.ReLU(0.25)


def around(*branch: b.Block) -> b.Net:
    """A skip around a convolution, averaged over all positions."""
    begin = b.Conv1d(2, 2, 1, bias=False) >> b.ReLU()
    inner = functools.reduce(lambda net, part: net >> part, branch)
    return begin >> b.residual(inner) >> b.GlobalAveragePool() >> b.Linear(2, 3, False)


CONV = b.Conv1d(2, 2, 1, bias=False)
IDLE = {
    "leaky in a branch": (lambda: b.residual(LEAKY >> b.Linear(3, 3, False)), 9),
    "elu in a branch": (lambda: b.residual(b.ELU() >> b.Linear(3, 3, False)), 9),
    "leaky beside a map": (lambda: b.parallel(LEAKY >> b.Linear(3, 3, False), b.Linear(3, 3, False)), 18),
    "tanh is not idle": (lambda: b.residual(b.Pointwise("tanh") >> b.Linear(3, 3, False)), 0),
}


@pytest.mark.parametrize("name", IDLE)
def test_activations_of_what_is_never_negative(name: str) -> None:
    """They were noted beside other readers, and their laws were not listed."""
    make, number = IDLE[name]
    arch = lw.Architecture(b.Linear(4, 3) >> b.ReLU() >> make() >> b.Linear(3, 2, False), input=FEATURES)
    laws = lw.derive(arch)
    assert laws.independent == lw.count(arch).laws == number and not laws.gaps
    assert not number or lw.verify(arch, laws).verdict is lw.Verdict.HOLDS


MOVES = {
    "there and back": (around(b.ChannelsLast(), LEAKY, b.ChannelsFirst(), CONV), 5),  # found by the nightly search: 2
    "there, a map, and back": (around(b.ChannelsLast(), b.Linear(2, 2, False), b.ChannelsFirst()), 5),
    "a smooth map behind": (around(b.ChannelsLast(), b.ChannelsFirst(), CONV, b.Pointwise("tanh"), CONV), 0),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_before_a_mean(name: str) -> None:
    net, number = MOVES[name]
    arch = lw.Architecture(net, input=IMAGE)
    laws = lw.derive(arch)
    assert laws.independent == lw.count(arch).laws == number and not laws.gaps
    assert not number or lw.verify(arch, laws).verdict is lw.Verdict.HOLDS


class Rolled(nn.Module):
    """Each token and the one before it, through a map, and their mean."""

    def __init__(self, behind) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 3)
        self.behind = behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.a(x))
        return self.c(self.behind(h + self.b(h.roll(1, 1))).mean(1))


@pytest.mark.parametrize("behind", [lambda h: 2 * h, torch.relu, lambda h: h.flip(1)])
def test_tokens_that_are_rolled_before_a_mean(behind) -> None:
    module, x = Rolled(behind), torch.randn(5, 4, 3)
    laws, found = lw.derive(lw.trace(module, x)), lw.count(module, args=x)
    assert laws.independent == found.laws == (2 if behind is torch.relu else 5) and not laws.gaps
    assert laws.verify(module, args=x).verdict is lw.Verdict.HOLDS


def test_a_gate_of_what_is_computed_of_the_inputs_and_shifted_is_named() -> None:
    """Found by the nightly search: a unit that is off for every input has laws of its own."""
    net = b.Softmax() >> b.Pointwise("tanh") >> b.FrozenBatchNorm(4) >> b.ReLU() >> b.Linear(4, 3, False)
    laws = lw.derive(lw.Architecture(net, input=b.Signal(4, (3,))), "cross_entropy")
    assert any("on, or off, for every input" in note for note in laws.gaps), laws.notes


def test_a_relu_of_a_sigmoid_is_the_sigmoid() -> None:
    """It was named, as one of the places behind which laws were missing."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Linear(3, 3, bias=False)
            self.a, self.b = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.sigmoid(self.w(x))
            return self.a(h) + self.b(torch.relu(h))

    laws, found = lw.derive(lw.trace(Both(), torch.randn(5, 3))), lw.count(Both(), args=torch.randn(5, 3))
    assert laws.independent == found.laws == 6 and not laws.gaps, laws.notes


STEP = torch.tensor([[2.0, -1.0, 0.0, 0.0], [0.0, 2.0, -1.0, 0.0], [0.0, 0.0, 2.0, -1.0], [-1.0, 0.0, 0.0, 2.0]])
SIGNED = {
    "a fixed matrix": lambda h: torch.einsum("st,btf->bsf", STEP, h),
    "differences": lambda h: torch.diff(h, dim=1),
    "bicubic": lambda h: F.interpolate(h.mT[..., None], scale_factor=(2, 1), mode="bicubic")[..., 0].mT,
    "a square with a sign": lambda h: -h.square(),
}


@pytest.mark.parametrize("name", SIGNED)
def test_combinations_of_what_is_never_negative_may_be_negative(name: str) -> None:
    """Found by reading: without the ReLU `b - c` is a law, and with it none."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 4)
            self.b, self.c = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = SIGNED[name](torch.relu(self.a(x)))
            return self.b(torch.relu(h)) + self.c(h)

    module, x = Both(), torch.randn(5, 4, 3)
    laws = by_rules(lw.trace(module, x), "mse")
    assert lw.verify(module, laws, args=x).verdict is not lw.Verdict.VIOLATED
    assert laws.independent <= lw.count(module, args=x).laws


def test_a_slope_below_zero_that_nothing_reaches_is_named():
    """Found by the night's search: 14 laws were counted, and 12 derived."""
    arch = lw.Architecture(b.Linear(3, 2, False) >> b.Abs() >> b.Tanh() >> b.PReLU(2) >> b.Linear(2, 3))
    laws = lw.derive(arch)
    assert lw.count(arch).laws == laws.independent + 2
    assert any("never changes" in g for g in laws.gaps), laws
