"""Counts that floats leave in doubt are decided in 120 digits, and what cannot be decided there stays in doubt."""

import math
from itertools import pairwise

import networks
import numpy as np
import pytest
import torch
from flint import arb
from hypothesis import find, given, settings
from hypothesis import strategies as st
from nights import at_night
from torch import nn
from torch.func import grad

from lawful.graph.questions.count import count
from lawful.graph.questions.fields import fields_of
from lawful.theory.oracle.counting import CLEAR_GAP, DOUBTFUL_GAP, Count, count_fields, count_span
from lawful.theory.oracle.precise.counting import Ranks, count_precisely
from lawful.theory.oracle.precise.jets import Jet, UnknownError, Work
from lawful.theory.oracle.precise.numbers import constant, digits, entries, middles
from lawful.theory.oracle.precise.operations import SERIES
from lawful.theory.oracle.precise.rank import eliminate
from lawful.theory.verdict import Verdict


class Nearly(nn.Module):
    """The identity and a little of something else."""

    def __init__(self, little, other):
        super().__init__()
        self.little, self.other = little, other

    def forward(self, x):
        return x + self.little * self.other(x)


class Gated(nn.Module):
    """A gated unit whose gate is nearly linear: the laws of up against down are true, those of the gate nearly."""

    def __init__(self, little, other=torch.sin):
        super().__init__()
        self.other = other
        self.up, self.gate, self.down = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.register_buffer("little", torch.tensor(little, dtype=torch.float64))

    def forward(self, x):
        gate = self.gate(x)
        return self.down(self.up(x) * (gate + self.little * self.other(gate)))


class Cancelling(nn.Module):
    """The square, as a difference of large numbers."""

    def forward(self, x):
        c = 2.0**16
        return (x + c) ** 2 - c**2 - 2 * c * x


def chain(act, *widths, bias=False):
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    return nn.Sequential(*[m for layer in layers[:-1] for m in (layer, act)], layers[-1])


def refuse(*args, **options):
    raise UnknownError("not asked for")


def both(network, loss="mse", seed=0, **options) -> tuple[Count, Ranks]:
    """The count in floats alone, and that in 120 digits."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(seed)
    potential, theta, sample = fields_of(network, loss, generator, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lawful.theory.oracle.counting.count_precisely", refuse)
        floats = count_fields(potential, theta, sample)
    return floats, count_precisely(grad(potential), theta, sample)


def seeded(make):
    torch.manual_seed(0)
    return make()


class Looked(nn.Module):
    """Reads its features through places in a buffer of whole numbers, as relative positions are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(4, 1, bias=False)
        self.register_buffer("places", torch.tensor([0, 1, 1, 0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x))[:, self.places])


ORDINARY = {
    "places in a buffer": (Looked, (1, 2)),
    "tanh": (lambda: chain(nn.Tanh(), 2, 2, 2), (1, 2)),
    "GELU": (lambda: chain(nn.GELU(), 2, 2, 2, bias=True), (1, 2)),
    "GELU by tanh": (lambda: chain(nn.GELU("tanh"), 2, 2, 1), (1, 2)),
    "ELU, softplus, sigmoid": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ELU(), nn.Softplus(), nn.Linear(2, 2), nn.Sigmoid()),
        (1, 2),
    ),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 2, 2, 1, bias=False)),
        (1, 1, 3, 3),
    ),
    "pooling": (
        lambda: nn.Sequential(nn.Conv1d(2, 2, 2, bias=False), nn.AvgPool1d(3), nn.Flatten(), nn.Linear(2, 2)),
        (1, 2, 4),
    ),
    "LayerNorm, GroupNorm": (
        lambda: nn.Sequential(nn.Linear(2, 4), nn.GroupNorm(1, 4), nn.Linear(4, 3), nn.LayerNorm(3)),
        (1, 2),
    ),
}


@pytest.mark.parametrize("name", at_night(ORDINARY, "LayerNorm, GroupNorm"))
def test_ordinary_modules_count_the_same(name):
    make, shape = ORDINARY[name]
    floats, precise = both(seeded(make), args=(torch.randn(*shape),))
    assert floats.verdict is Verdict.HOLDS
    assert precise.clear and precise.closed
    assert precise.ranks == floats.ranks


NAMES = ("two heads of 1", "rotary, one frequency", "SwiGLU", "LayerNorm core, first bias", "BatchNorm", "conv 1-2-1")


@pytest.mark.parametrize("known", [k for k in networks.known_counts() if k.name in NAMES], ids=lambda k: k.name)
def test_known_counts(known):
    floats, precise = both(known.arch, known.loss)
    assert (precise.ranks, precise.clear, precise.closed) == (floats.ranks, True, True)
    assert floats.laws == known.laws
    assert precise.gap > 1e100


def test_floats_are_wrong_where_signal_and_rounding_meet():
    """The gates break their laws by 1e-7 and 1e-12; floats take the second for rounding and count a law too many."""
    network, x = seeded(lambda: Gated([1e-7, 1e-12])), torch.randn(1, 2)
    floats, precise = both(network, args=(x,))
    assert (floats.laws, floats.verdict) == (3, Verdict.UNDECIDED)  # without the digits
    assert CLEAR_GAP < floats.gap < DOUBTFUL_GAP
    assert (12 - precise.ranks[-1], precise.clear) == (2, True)
    assert precise.gap > 1e90
    found = count(network, args=(x,))
    assert (found.laws, found.verdict, found.method) == (2, Verdict.HOLDS, "lie algebra, 120 digits")
    assert found.gap > 1e90
    assert len(found.singular_values) == 10 and bool((found.singular_values.diff() <= 0).all())


def test_a_nearly_linear_network_has_no_laws():
    lines: list[str] = []
    network = seeded(lambda: chain(Nearly(1e-7, torch.sin), 2, 2, 2))
    floats, precise = both(network, args=(torch.randn(1, 2),))
    assert (floats.verdict, floats.laws, floats.gap) == (Verdict.UNDECIDED, 0, math.inf)
    assert (precise.ranks[-1], precise.gap) == (8, math.inf)
    found = count(network, args=(torch.randn(1, 2),), progress=lines.append)
    assert (found.laws, found.verdict) == (0, Verdict.HOLDS)
    assert any("in 120 digits" in line for line in lines)


def test_rounding_that_looks_like_a_dimension_is_dropped():
    """Floats find no law and see no gap at all; the network is that of the square, which has one law per neuron."""
    network = seeded(lambda: chain(Cancelling(), 2, 2, 2))
    floats, precise = both(network, args=(torch.randn(1, 2),))
    assert (floats.laws, floats.gap) == (0, math.inf)
    assert precise.ranks == (6, 6)
    assert precise.gap > 1e90
    found = count(network, args=(torch.randn(1, 2),))
    assert (found.laws, found.verdict, found.method) == (2, Verdict.HOLDS, "lie algebra, 120 digits")


@pytest.mark.parametrize("point", range(4, 9))
def test_rounding_that_looks_like_a_dimension_is_measured_far_from_zero_too(point):
    """At point 7 the spectrum falls by 8e5 only: less than what asked for digits before rounding was measured."""
    network = seeded(lambda: chain(Cancelling(), 2, 2, 2))
    generator = torch.Generator().manual_seed(1000 * point)
    found = count_fields(*fields_of(network, "mse", generator, args=(torch.randn(1, 2),), far=True))
    assert found.laws == 2 or found.verdict is not Verdict.HOLDS


def test_an_unknown_operation_leaves_the_count_undecided():
    network = seeded(lambda: Gated([1e-6, 1e-10], lambda x: torch.sin(x) + torch.erfinv(0.5 * torch.tanh(x))))
    found = count(network, args=(torch.randn(1, 2),))
    assert found.verdict is Verdict.UNDECIDED
    assert found.method == "lie algebra, float64; not in 120 digits: erfinv"


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (lambda t, w: t.float().double() * w, "float32"),
        (lambda t, w: t * (t.sin() ** 2 + t.cos() ** 2 > 1) * w, "agree in all digits"),
        (lambda t, w: t / (t - t) * w, "no number"),
        (lambda t, w: torch.where(t.sum().item() > 0, t, w), "cannot be traced"),
        (lambda t, w: t.gather(0, t.argsort()) * w, "sort|int64"),
    ],
)
def test_what_cannot_be_told_is_refused(field, says):
    with pytest.raises(UnknownError, match=says):
        count_precisely(
            field, torch.tensor([0.3, 0.7], dtype=torch.float64), lambda n: torch.randn(n, 2, dtype=torch.float64)
        )


def test_what_is_too_large_is_left_to_floats():
    """Directions of very different size, in too many dimensions: floats see no gap, and nothing else is tried."""
    scales = torch.logspace(0, -16, 130, dtype=torch.float64)
    found = count_span(
        lambda t, w: scales * w,
        torch.ones(130, dtype=torch.float64),
        lambda n: torch.randn(n, 130, dtype=torch.float64),
        moves=lambda: True,
    )
    assert found.verdict is Verdict.UNDECIDED
    assert "130 parameters, more than 120" in found.method


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (1 / 3, lambda: arb(1) / 3),
        (-0.1, lambda: -arb(1) / 10),
        (0.044715, lambda: arb(44715) / 10**6),
        (math.sqrt(0.5), lambda: (arb(1) / 2).sqrt()),
        (math.sqrt(2 / math.pi), lambda: (2 / arb.pi()).sqrt()),
        (2 / math.sqrt(math.pi), lambda: 2 / arb.pi().sqrt()),
        (2.0**-52, lambda: arb(2) ** -52),
        (-math.inf, lambda: arb(-math.inf)),
    ],
)
def test_constants_are_what_was_meant(value, meant):
    with digits():
        found, told = constant(value)
        assert told
        assert found.overlaps(meant())
        assert float(found) == pytest.approx(value, rel=1e-15)


def test_a_constant_that_means_nothing_stays_the_float_that_it_is():
    value = float(np.random.default_rng(0).random())
    with digits():
        found, told = constant(value)
        assert not told
        assert found == arb(value)


@given(st.fractions(0, 100, max_denominator=900), st.booleans())
@settings(max_examples=50)
def test_fractions_and_their_roots_are_told(fraction, root):
    with digits():
        found, told = constant(math.sqrt(fraction) if root else float(fraction))
        assert told
        assert (found * found if root else found).overlaps(arb(fraction.numerator) / fraction.denominator)


@pytest.mark.parametrize("name", sorted(SERIES))
def test_series_against_torch(name):
    """Values and two derivatives of every function that is known, against `torch.func`."""
    x = torch.tensor([0.3, 0.8], dtype=torch.float64)
    function = {"rsqrt": torch.rsqrt}.get(name) or getattr(torch, name)
    first = lambda t: torch.func.jvp(function, (t,), (torch.ones_like(t),))[1]  # noqa: E731
    second = torch.func.jvp(first, (x,), (torch.ones_like(x),))[1]
    with digits():
        ones = entries(torch.ones_like(x))
        jet = Jet({0: entries(x), 1: ones, 2: ones}, Work()).map(SERIES[name])
        for mask, expected in ((0, function(x)), (1, first(x)), (2, first(x)), (3, second)):
            assert np.allclose(middles(jet.parts[mask]), expected.numpy(), rtol=1e-12)


def test_elimination_keeps_what_is_proved_and_drops_what_is_within_the_error():
    with digits():
        rows = entries(torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1e-30, 0.0]], dtype=torch.float64))
        rows = rows * (arb(1) / 3)
        found = eliminate(rows)
        assert (found.rank, found.clear) == (2, True)
        assert found.gap > 1e70
        # a pivot of the size of a rounded constant is no signal where constants were rounded
        blurred = eliminate(rows, rounded=True)
        assert (blurred.rank, blurred.clear) == (1, True)
        near = entries(torch.tensor([[1.0, 0.0], [0.0, 1e-9]], dtype=torch.float64))
        faint = entries(torch.tensor([[1.0, 0, 0], [0, 1e-9, 0], [0, 0, 1e-17]], dtype=torch.float64))
        assert (eliminate(near, True).rank, eliminate(faint, True).rank, eliminate(faint, True).clear) == (2, 2, False)
        assert eliminate(faint).rank == 3


ACTS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU, "softplus": nn.Softplus}


@st.composite
def smooth(draw) -> tuple[list[int], str, bool, str]:
    widths = draw(st.lists(st.integers(1, 2), min_size=3, max_size=3))
    last = draw(st.sampled_from(["mse", "cross_entropy"]))
    return (
        [*widths[:2], 3 if last == "cross_entropy" else widths[2]],
        draw(st.sampled_from(sorted(ACTS))),
        draw(st.booleans()),
        last,
    )


@given(smooth(), st.integers(0, 99))
@settings(max_examples=6)
def test_smooth_networks_count_the_same_where_floats_are_sure(drawn, seed):
    widths, act, bias, loss = drawn
    torch.manual_seed(seed)
    network = chain(ACTS[act](), *widths, bias=bias)
    floats, precise = both(network, loss, seed, args=(torch.randn(1, widths[0]),))
    assert precise.clear
    if floats.verdict is Verdict.HOLDS and floats.gap > 1e9:
        assert precise.ranks[-1] == floats.parameters - floats.laws


def test_the_strategy_reaches_networks_with_laws():
    found = find(smooth(), lambda drawn: drawn[3] == "cross_entropy" and drawn[2])
    assert found[0][-1] == 3
