"""Weights that only act through sums, cuts, copies and masks of one wire: derived, or named in the notes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from nights import at_night

import lawful as lw
from lawful.graph.questions.derive import by_rules
from lawful.theory.verdict import Verdict

Forward = Callable[["Plain", torch.Tensor], object]


class Plain(torch.nn.Module):
    """A forward over bare parameters."""

    def __init__(self, forward: Forward, shapes: str) -> None:
        super().__init__()
        self._forward = [forward]
        for name, _, shape in (part.partition(":") for part in shapes.split()):
            self.register_parameter(name, torch.nn.Parameter(torch.randn([int(n) for n in shape.split(",")])))

    def forward(self, x: torch.Tensor) -> object:
        return self._forward[0](self, x)


def hidden(m: Plain, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, m.w)


def relu(m: Plain, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(F.linear(x, m.w))


def of(function: Callable[[Plain, torch.Tensor], object], inner: Forward = hidden) -> Forward:
    return lambda m, x: function(m, inner(m, x))


def mask(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)


HALVES = of(lambda m, h: F.linear(h[:, :2] + h[:, 2:4], m.v))
# name: (forward, parameters, laws); the counts are those of brute force on the module
DERIVED: dict[str, tuple[Forward, str, int]] = {
    "units nobody reads": (of(lambda m, h: F.linear(h[:, :3], m.v), relu), "w:5,3 v:2,3", 9),
    "units nobody reads of a linear wire": (of(lambda m, h: F.linear(h[:, :3], m.v)), "w:5,3 v:2,3", 12),
    "gains nobody reads": (of(lambda m, h: F.linear(torch.relu(h * m.g)[:, 1:3], m.v)), "w:4,3 g:4 v:2,2", 12),
    "parts added": (HALVES, "w:4,3 v:2,2", 9),
    "parts added, few vectors": (of(lambda m, h: F.linear(h[:, :6] + h[:, 6:], m.v)), "w:12,2 v:2,6", 30),
    "parts of activations added": (
        of(lambda m, h: F.linear(h[:, :2] + h[:, 2:4], m.v), relu),
        "w:5,3 v:2,2",
        5,
    ),
    "parts multiplied": (of(lambda m, h: F.linear(h[:, :2] * h[:, 2:4], m.v)), "w:5,3 v:2,2", 7),
    "a weighted sum": (of(lambda m, h: F.linear(h, m.a) + 0.5 * F.linear(h, m.b), relu), "w:4,3 a:2,4 b:2,4", 12),
    "a difference": (
        of(lambda m, h: F.linear(h, m.a, m.c) - F.linear(h, m.b, m.d), relu),
        "w:4,3 a:2,4 b:2,4 c:2 d:2",
        14,
    ),
    "slices in a sum": (
        of(lambda m, h: F.linear(h[:, :2], m.a) - 2 * F.linear(h, m.b), relu),
        "w:4,3 a:2,2 b:2,4",
        8,
    ),
    "a skip in a weighted sum": (
        of(lambda m, h: F.linear(2 * h - 0.5 * F.linear(h, m.a, m.b), m.v)),
        "w:3,3 a:3,3 b:3 v:2,3",
        12,
    ),
    "a low-rank branch subtracted": (
        of(lambda m, h: F.linear(F.linear(h, m.a), m.b) - F.linear(F.linear(h, m.c), m.d), relu),
        "w:4,3 a:2,4 b:2,2 c:2,4 d:2,2",
        14,
    ),
    "half a low-rank branch": (
        of(lambda m, h: F.linear(F.linear(h, m.a), m.b) - 0.5 * F.linear(F.linear(h, m.c), m.d), relu),
        "w:4,3 a:2,4 b:2,2 c:2,4 d:2,2",
        10,
    ),
    "copies": (of(lambda m, h: F.linear(torch.cat([h, h], 1), m.v)), "w:2,3 v:2,4", 7),
    "copies of many features": (of(lambda m, h: F.linear(torch.cat([h, h], 1), m.v)), "w:6,2 v:2,12", 30),
    "multiples under a quotient": (of(lambda m, h: F.linear(1 / torch.cat([h, 2 * h], 1), m.v)), "w:3,3 v:2,6", 9),
    "activations of one wire": (
        of(lambda m, h: F.linear(torch.relu(h), m.a) + F.linear(h.abs(), m.b) + F.linear(h, m.c)),
        "w:3,3 a:2,3 b:2,3 c:2,3",
        9,
    ),
    "activations of one wire side by side": (
        of(lambda m, h: F.linear(torch.cat([torch.relu(h), h, -h.abs()], 1), m.v)),
        "w:2,3 v:2,6",
        6,
    ),
    "an activation of a part": (
        of(lambda m, h: F.linear(torch.relu(h[:, :2]), m.a) + F.linear(torch.relu(h)[:, :2], m.b) + F.linear(h, m.c)),
        "w:4,3 a:2,2 b:2,2 c:2,4",
        9,
    ),
    "a mask with zeros": (of(lambda m, h: F.linear(h * mask(1, 0, 1, 1), m.v), relu), "w:4,3 v:2,4", 8),
    "a mask before an activation": (
        of(lambda m, h: F.linear(torch.tanh(h * mask(1, 3, 0, 0)), m.v)),
        "w:4,3 v:2,4",
        10,
    ),
    "factors of a norm": (
        of(lambda m, h: F.linear(F.layer_norm(h, (4,), eps=0.0) * mask(1, 2, -2, 1), m.v)),
        "w:4,3 v:3,4",
        7,
    ),
    "a mask behind a norm": (
        of(lambda m, h: F.linear(F.layer_norm(h, (4,), eps=0.0) * mask(1, 0, 1, 1), m.v)),
        "w:4,3 v:3,4",
        7,
    ),
    "parts of a norm added": (
        of(lambda m, h: F.linear((lambda z: z[:, :2] + z[:, 2:])(F.layer_norm(h, (4,), eps=0.0)), m.v)),
        "w:4,3 v:3,2",
        7,
    ),
    "a quotient": (of(lambda m, h: F.linear(1 / h, m.v)), "w:4,3 v:2,4", 4),
    "a root": (of(lambda m, h: F.linear(h.abs().sqrt(), m.v)), "w:4,3 v:2,4", 4),
    "an inverse root": (of(lambda m, h: F.linear((h**2).rsqrt(), m.v)), "w:4,3 v:2,4", 4),
    "a broken power": (of(lambda m, h: F.linear(h.abs() ** -1.5, m.v)), "w:4,3 v:2,4", 4),
}


@pytest.mark.parametrize("name", DERIVED)
def test_laws_of_sums_cuts_and_copies(name: str) -> None:
    forward, shapes, number = DERIVED[name]
    torch.manual_seed(0)
    module, x = Plain(forward, shapes), torch.randn(5, 3 if "w:12" not in shapes and "w:6" not in shapes else 2)
    laws = lw.derive(module, args=(x,))
    assert laws.independent == number
    assert not laws.notes
    assert laws.verify(module, args=(x,)).verdict is Verdict.HOLDS


def test_one_map_under_two_losses() -> None:
    torch.manual_seed(0)
    module = Plain(of(lambda m, h: (F.linear(h, m.c), F.linear(h, m.c) + F.linear(h, m.d)), relu), "w:4,3 c:3,4 d:3,4")
    x = torch.randn(5, 3)
    laws = lw.derive(module, ("cross_entropy", "mse"), args=(x,))
    assert laws.independent == 8  # four units, and the column sums of c, which d takes back
    assert laws.verify(module, args=(x,)).verdict is Verdict.HOLDS


# name: (forward, parameters, shape of the input, what the note says)
NOTED: dict[str, tuple[Forward, str, tuple[int, ...], str]] = {
    "a norm wider than what it reads": (
        of(lambda m, h: F.linear(F.layer_norm(h, (7,), eps=0.0), m.v)),
        "w:7,3 v:2,7",
        (5, 3),
        "span only",
    ),
    "taps on padding": (
        lambda m, x: F.conv1d(torch.relu(F.conv1d(x, m.w, padding=2)), m.v),
        "w:3,2,5 v:2,3,1",
        (4, 2, 1),
        "entries of its kernel that meet padding only",
    ),
    "parts that overlap": (
        of(lambda m, h: F.linear(h[:, :3] + h[:, 1:4], m.v)),
        "w:4,3 v:2,3",
        (5, 3),
        "overlap",
    ),
    "opposite signs": (of(lambda m, h: F.linear(h * mask(1, -1, 1), m.v)), "w:3,3 v:2,3", (5, 3), "lie apart"),
    "activations that cancel": (
        of(lambda m, h: F.linear(torch.relu(h) - torch.relu(-h), m.v)),
        "w:3,3 v:2,3",
        (5, 3),
        "cancel",
    ),
    "a skip of a part of activations": (
        of(lambda m, h: F.linear(h, m.v) + h[:, :2], relu),
        "w:5,4 v:2,5",
        (5, 4),
        "unlike layers",
    ),
    "a bilinear form of one wire": (
        of(lambda m, h: F.bilinear(h, 2 * h, m.v)),
        "w:3,3 v:2,3,3",
        (5, 3),
        "antisymmetric part",
    ),
    "a skip of a part": (
        of(lambda m, h: h + F.linear(torch.cat([h, h.abs()], 1), m.a)),
        "w:3,3 a:3,6",
        (5, 3),
        "unlike layers",
    ),
    "kernels of two sizes": (
        lambda m, x: (lambda h: F.conv1d(h, m.a, padding=1) + 2 * F.conv1d(h, m.b))(F.conv1d(x, m.w)),
        "w:3,2,2 a:2,3,3 b:2,3,1",
        (4, 2, 5),
        "unlike layers",
    ),
    "gains of one map": (
        of(lambda m, h: F.linear((lambda z: z[:, :2] + z[:, 2:])(h * m.g), m.v)),
        "w:4,3 g:4 v:2,2",
        (5, 3),
        "each with a gain",
    ),
    "padding told apart": (
        lambda m, x: F.linear(torch.tanh(F.pad(F.conv1d(x, m.w), (1, 1))).flatten(1), m.v),
        "w:2,2,1 v:2,8",
        (4, 2, 2),
        "treats copies",
    ),
    "copies with constants of their own": (
        of(lambda m, h: F.linear(torch.cat([h, 2 * h], 1) + m.b, m.v)),
        "w:3,3 b:6 v:2,6",
        (5, 3),
        "by constants",
    ),
    "a bias that is rolled": (lambda m, x: F.linear(x, m.w, m.b.roll(1)), "w:4,3 b:4", (5, 3), "degrees only"),
}


@pytest.mark.parametrize(
    "name", at_night(NOTED, "a bilinear form of one wire", "parts that overlap", "kernels of two sizes")
)
def test_laws_that_are_not_listed_are_named(name: str) -> None:
    forward, shapes, shape, words = NOTED[name]
    torch.manual_seed(0)
    module, x = Plain(forward, shapes), torch.randn(shape)
    laws = by_rules(lw.trace(module, (x,)), "mse")
    assert any(words in note for note in laws.notes)
    assert laws.independent <= lw.count(module, args=(x,)).laws
    assert laws.verify(module, args=(x,)).verdict in (Verdict.HOLDS, Verdict.VACUOUS)


@pytest.mark.parametrize(("norm", "number"), [(F.instance_norm, 12), (lambda x, eps: F.group_norm(x, 1, eps=eps), 4)])
def test_centred_positions_that_become_features(norm: Callable[..., torch.Tensor], number: int) -> None:
    torch.manual_seed(0)
    module = Plain(lambda m, x: F.linear(norm(F.conv1d(x, m.w, m.b), eps=0.0).flatten(1), m.v), "w:3,2,2 b:3 v:2,12")
    x = torch.randn(4, 2, 5)
    laws = lw.derive(module, args=(x,))
    assert laws.independent == number
    assert laws.verify(module, args=(x,)).verdict is Verdict.HOLDS
