"""Numbers that are computed of fewer: noted where the network sees their relation, and only there."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive

FEATURES, TOKENS, PAIR = (
    torch.randn(*s, generator=torch.Generator().manual_seed(0)) for s in ((2, 3), (2, 3, 3), (2, 2, 3))
)
WHOLE = torch.tensor([[0, 1, 2], [2, 1, 0]])


class Read(nn.Module):
    """Linear maps by the names of their shapes, without a bias where the name is a capital letter."""

    def __init__(self, function: Callable[["Read", Tensor], Tensor], shapes: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        self.function = function
        for name, (fan_in, width) in shapes.items():
            setattr(self, name, nn.Linear(fan_in, width, bias=name.islower()))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def spread(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).expand_as(x)


UNSEEN = {
    "a branch beside a multiple": (lambda m, x: 2 * x + m.b(leaky(m.a(x))), dict(a=(3, 2), b=(2, 3)), FEATURES, 2),
    "another order": (lambda m, x: x.flip(-1) + m.b(leaky(m.a(x))), dict(a=(3, 2), b=(2, 3)), FEATURES, 2),
    "read again": (
        lambda m, x: m.c(x.flip(-1) + m.b(leaky(m.a(x)))), dict(a=(3, 2), b=(2, 3), c=(3, 3)), FEATURES, 2),
    "a linear branch": (lambda m, x: m.B(x + m.A(x)), dict(A=(3, 3), B=(3, 3)), FEATURES, 6),
    "switched": (lambda m, x: m.C(leaky(m.A(x.flip(-1)))) + m.B(x), dict(A=(3, 2), B=(3, 3), C=(2, 3)), FEATURES, 2),
    "centred tokens": (
        lambda m, x: m.B(leaky(m.A(x - spread(x))).flatten(1)), dict(A=(3, 2), B=(6, 3)), TOKENS, 2),
    "the mean beside": (
        lambda m, x: m.B(leaky(m.A(x) + m.C(spread(x))).flatten(1)), dict(A=(3, 2), C=(3, 2), B=(6, 2)), TOKENS, 2),
    "patterns that are averaged": (
        lambda m, x: m.B(torch.relu(m.A(torch.cat([x, -x], 1))).mean(1)), dict(A=(3, 2), B=(2, 3)), PAIR, 2),
    "norm beside": (lambda m, x: m.A(x) + m.B(F.layer_norm(x, (3,))), dict(A=(3, 3), B=(3, 3)), FEATURES, 3),
}  # fmt: skip
SEEN = {
    "two orders": (lambda m, x: m.A(x.flip(-1)) + m.B(x), dict(A=(3, 3), B=(3, 3)), FEATURES, 9),
    "one map twice": (
        lambda m, x: m.C(leaky(m.A(x))) + m.D(leaky(m.A(2 * x))), dict(A=(3, 2), C=(2, 3), D=(2, 3)), FEATURES, 8),
    "equal patterns": (
        lambda m, x: m.B(leaky(m.A(torch.cat([x, x], 1))).flatten(1)), dict(A=(3, 2), B=(8, 3)), PAIR, 14),
    "equal curves": (
        lambda m, x: m.B(F.gelu(m.A(torch.cat([x, x], 1))).flatten(1)), dict(A=(3, 2), B=(8, 3)), PAIR, 12),
    "centred tokens": (lambda m, x: m.B(m.A(x - spread(x)).flatten(1)), dict(A=(3, 2), B=(6, 3)), TOKENS, 9),
    "padded": (
        lambda m, x: m.B(leaky(m.A(F.pad(x, (0, 0, 1, 0)))).flatten(1)), dict(A=(3, 2), B=(6, 3)), PAIR, 8),
    "equal positions": (lambda m, x: m.B(leaky(m.C(spread(x))).flatten(1)), dict(C=(3, 2), B=(6, 3)), TOKENS, 14),
    "pieces": (lambda m, x: m.A(x) + m.C(x.relu()) + m.B(x.abs()), dict(A=(3, 2), C=(3, 2), B=(3, 2)), FEATURES, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSEEN)
def test_no_note_where_no_law_is_missing(name):
    function, shapes, x, expected = UNSEEN[name]
    module = Read(function, shapes)
    laws = derive(module, args=(x,))
    assert not laws.notes
    assert laws.independent == count(module, args=(x,)).laws == expected


@pytest.mark.parametrize("name", SEEN)
def test_a_note_where_laws_are_missing(name):
    function, shapes, x, expected = SEEN[name]
    module = Read(function, shapes)
    laws = derive(module, args=(x,))
    assert any("only because of that are not listed" in n for n in laws.notes)
    assert laws.independent < count(module, args=(x,)).laws == expected


@pytest.mark.parametrize(
    ("net", "given"),
    [
        (b.residual(b.Linear(40, 8) >> b.ReLU() >> b.Linear(8, 40)), b.Signal(40, (9,))),
        (b.GraphSAGE(100, 4) >> b.ReLU() >> b.GraphSAGE(4, 3), b.Signal(100, (8,))),
        (b.Dropout() >> b.GCN(300, 4) >> b.ReLU() >> b.GCN(4, 3), b.Signal(300, (6,))),
        (b.Positions("pad", (1, 1)) >> b.Linear(700, 3), b.Signal(700, (3,))),
        (b.ReLU() >> b.Linear(2000, 3), b.Signal(2000, (5,))),
    ],
)
def test_large_inputs_whose_features_are_treated_alike(net, given):
    assert not derive(lw.Architecture(net, input=given)).notes


def test_large_inputs_that_are_measured_on_no_copy():
    laws = derive(lw.Architecture(b.LayerNormCore(2000) >> b.Linear(2000, 3), input=b.Signal(2000)))
    assert any("too large to be measured" in n for n in laws.notes)


class Hot(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, tokens):
        return self.head(F.one_hot(tokens, 3).float())


def test_one_hot_tokens_are_counted():
    laws, found = derive(Hot(), args=(WHOLE,)), count(Hot(), args=(WHOLE,))
    assert not laws.notes
    assert laws.independent == found.laws == 3
