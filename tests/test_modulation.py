"""Products with `1 + g`, skips around products, biases behind fixed numbers: `b + c` takes part as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.graph.tracing.steps.entrywise import seen

Tensor = torch.Tensor


class Joined(nn.Module):
    """Two maps of one input, one of one feature, joined and read."""

    def __init__(self, join: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c, self.o = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(3, 2)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.join(self.a(x), self.b(x), self.c(x)))


JOINS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], int]] = {
    "one plus": (lambda a, b, c: a * (1 + b), 6 + 4),
    "film": (lambda a, b, c: F.layer_norm(a, (3,), eps=0.0) * (1 + b), 0),
    "skip": (lambda a, b, c: a + a * b, 6 + 4),
    "half of a product taken away": (lambda a, b, c: a - 0.5 * b * a, 6 + 4),
    "number behind a bias": (lambda a, b, c: torch.relu(2 * a - 0.5), 3 + 16),
    "one minus": (lambda a, b, c: 1 - a, 6 + 16),
    "one factor": (lambda a, b, c: c * a, 6 + 1 + 12),
    "one plus one factor": (lambda a, b, c: a + c * a, 6 + 1 + 12),
    "one factor and a gate": (lambda a, b, c: torch.relu(c * a), 3 + 1 + 12),
    "larger": (lambda a, b, c: torch.maximum(a, b), 3 + 4),
    "smaller": (lambda a, b, c: torch.minimum(a, b.relu()), 3 + 4),
    "largest feature": (lambda a, b, c: a * b.amax(-1, keepdim=True), 0),
    "no scale": (lambda a, b, c: F.softshrink(a), 16),
    "no scale, by a number": (lambda a, b, c: F.softplus(a, 2.0) + a.clamp(min=0.2).atan(), 16),
    "random slope, at rest": (lambda a, b, c: F.rrelu(a), 3 + 16),
}


@pytest.mark.parametrize(
    "name",
    at_night(
        JOINS,
        "larger",
        "half of a product taken away",
        "one plus one factor",
        "one minus",
        "number behind a bias",
        "no scale, by a number",
        "one factor",
    ),
)
def test_what_is_derived_is_what_is_counted(name: str) -> None:
    join, wanted = JOINS[name]
    torch.manual_seed(0)
    model, x = Joined(join), torch.randn(5, 3)
    laws = lw.derive(model, args=x)
    counted = lw.count(model, args=x)
    assert not laws.gaps and laws.exact_independent == counted.laws
    assert not wanted or laws.exact_independent == wanted
    assert laws.verify(model, args=x).verdict is lw.Verdict.HOLDS


def test_the_number_stands_with_the_bias() -> None:
    laws = lw.derive(Joined(JOINS["film"][0]), args=torch.randn(5, 3))
    texts = " ".join(law.text for law in laws)
    assert "(1 + b.bias)[i]²" in texts
    assert any(r"\left(1 + b_{\mathrm{b}}\right)" in law.latex for law in laws)


def test_what_obeys_a_power_between_jumps_is_named() -> None:
    """Gradients of `hardshrink` scale, its values do not: laws of sizes hold, with no symmetry behind them."""
    laws = lw.derive(Joined(lambda a, b, c: F.hardshrink(a)), args=torch.randn(5, 3))
    assert "hardshrink" in laws.gaps[0]


class Channels(nn.Module):
    """A signal whose channels are cut and put side by side again."""

    def __init__(self, join: Callable[[Tensor], Tensor], width: int = 3) -> None:
        super().__init__()
        self.a, self.o, self.join = nn.Conv1d(2, 3, 1), nn.Conv1d(width, 2, 1), join

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.join(self.a(x)))


class Folded(nn.Module):
    """A function as a layer."""

    def __init__(self, fold: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fold = fold

    def forward(self, h: Tensor) -> Tensor:
        return self.fold(h)


def test_one_channel_by_itself_is_a_feature() -> None:
    x = torch.randn(5, 2, 4)
    for join in (lambda h: torch.cat([h[:, :1], h[:, 1:].relu()], 1), lambda h: torch.cat([h[:, :2], h[:, 2:]], 1)):
        model = Channels(join)
        laws = lw.derive(model, args=x)
        assert not laws.gaps and laws.exact_independent == lw.count(model, args=x).laws


def test_channels_in_another_order_one_by_one_are_noted() -> None:
    model, x = Channels(lambda h: torch.cat([h[:, i : i + 1] for i in (2, 0, 1)], 1)), torch.randn(5, 2, 4)
    laws = lw.derive(model, args=x)
    assert lw.count(model, args=x).laws == 6 > laws.exact_independent
    assert any("splits the output of one layer" in note for note in laws.gaps)


@pytest.mark.parametrize("fold", [lambda h: h.mean(1), lambda h: h.max(1).values, lambda h: h.sum(1)])
def test_one_feature_by_itself_is_no_position(fold: Callable[[Tensor], Tensor]) -> None:
    model, x = nn.Sequential(nn.Linear(3, 1), Folded(fold), nn.Linear(1, 2)), torch.randn(5, 4, 3)
    laws = lw.derive(model, args=x)
    assert not laws.gaps and laws.exact_independent == lw.count(model, args=x).laws


def test_means_of_features_stay_exact() -> None:
    laws = lw.derive(Channels(lambda h: torch.cat([h, h.mean(1, keepdim=True)], 1), 4), args=torch.randn(5, 2, 4))
    assert any("- 3 " in law.text for law in laws)


def test_batch_norms_that_count_their_batches_are_read() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 2)), torch.randn(9, 3)
    counting = [law.text for law in lw.derive(model, args=x)]
    assert model[1].momentum is None
    model[1].momentum = 0.1
    assert counting == [law.text for law in lw.derive(model, args=x)] != []


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (torch.sinh, "keeps 0, odd"),
        (torch.exp2, "exponential, positive"),
        (lambda h: torch.clamp(h, min=-50.0) + 0 * h, "keeps 0, far"),  # between -4 and 4 it is the identity
        (lambda h: F.softshrink(h, 5.0), "keeps 0, odd"),  # and this is 0 there
        (torch.atanh, "keeps 0, odd"),  # numbers beyond 1 are none
        (torch.acosh, "positive"),
    ],
)
def test_functions_are_looked_at_far_out_too(function: Callable[[Tensor], Tensor], wanted: str) -> None:
    of = seen(function)
    found = {"exponential": of.exponential, "keeps 0": of.keeps_zero, "positive": of.positive, "odd": of.parity == -1}
    found["far"] = of.far
    assert ", ".join(word for word, true in found.items() if true) == wanted
    assert of.pieces or "lambda" not in repr(function)


def test_what_two_sums_hold_is_joined_once() -> None:
    """`x + g x + f x` and a chain of such: as many laws as are counted."""
    torch.manual_seed(0)
    for join in (
        lambda a, b, c: a + a * b + a * torch.sigmoid(b),
        lambda a, b, c: (h := a + a * b) + h * torch.tanh(b),
    ):
        model, x = Joined(join), torch.randn(5, 3)
        laws = lw.derive(lw.trace(model, x))
        assert laws.exact_independent == lw.count(model, args=x).laws or laws.gaps
        assert laws.verify(model, args=x).verdict is lw.Verdict.HOLDS
