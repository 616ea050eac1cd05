"""Fixed moves of features and of weights: another order, copies, sums, cuts, joins; counted by brute force."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_cancelling import Forward, Plain, hidden, mask, of, relu

import lawful as lw
from lawful.graph.questions.derive import by_rules
from lawful.testing.referee import Referee
from lawful.theory.parts import base, ordered, read
from lawful.theory.verdict import Verdict


def pick(*places: int) -> torch.Tensor:
    return torch.tensor(places)


def last(function: object) -> Forward:
    """A function of the hidden features, read by `v`."""
    return of(lambda m, h: F.linear(function(h), m.v))  # type: ignore[operator]


def by(weight: object) -> Forward:
    """A map of the hidden features by a weight that is made of parameters, read by `v`."""
    return of(lambda m, h: F.linear(F.linear(h, weight(m)), m.v))  # type: ignore[operator]


# name: (forward, parameters, laws); the counts are those of the referee on the module
DERIVED: dict[str, tuple[Forward, str, int]] = {
    "features flipped": (last(lambda h: h.flip(-1)), "w:3,3 v:3,3", 6),
    "features rolled and activated": (last(lambda h: torch.relu(h.roll(1, -1))), "w:3,3 v:3,3", 3),
    "features picked": (last(lambda h: h.index_select(-1, pick(0, 2))), "w:3,3 v:3,2", 6),
    "features picked twice": (last(lambda h: h.index_select(-1, pick(0, 1, 0))), "w:3,3 v:3,3", 8),
    "copies activated": (last(lambda h: torch.relu(h.index_select(-1, pick(0, 1, 0)))), "w:3,3 v:3,3", 8),
    "every second feature": (last(lambda h: h[..., ::2]), "w:4,3 v:3,2", 9),
    "features repeated": (last(lambda h: h.repeat_interleave(2, -1)), "w:2,3 v:3,4", 9),
    "repeated and squared": (last(lambda h: h.repeat_interleave(2, -1) ** 2), "w:2,3 v:3,4", 8),
    "the sum of features": (last(lambda h: h.sum(-1, keepdim=True)), "w:3,3 v:3,1", 7),
    "the mean removed": (last(lambda h: h - h.mean(-1, keepdim=True)), "w:3,3 v:3,3", 9),
    "zeros beside features": (last(lambda h: F.pad(h, (0, 1))), "w:3,3 v:3,4", 9),
    "ones beside features": (last(lambda h: F.pad(h, (1, 1), value=1.0)), "w:2,3 v:3,4", 6),
    "two moves that undo each other": (
        of(lambda m, h: F.linear(F.linear(h.roll(1, -1).flip(-1), m.a).flip(-1), m.v)),
        "w:3,3 a:3,3 v:3,3",
        12,
    ),
    "a weight flipped": (by(lambda m: m.a.flip(0)), "w:3,3 a:3,3 v:3,3", 12),
    "a weight repeated": (by(lambda m: m.a.repeat_interleave(2, 0)), "w:2,3 a:2,2 v:3,4", 12),
    "a weight of equal rows": (of(lambda m, h: F.linear(h, m.a.expand(3, 3))), "w:3,3 a:3", 6),
    "a weight of one number": (of(lambda m, h: F.linear(h, m.a.expand(3, 3))), "w:3,3 a:1", 7),
    "a weight of two": (lambda m, x: F.linear(F.linear(x, torch.cat([m.a, m.b])), m.v), "a:2,3 b:2,3 v:3,4", 10),
    "a diagonal weight": (of(lambda m, h: F.linear(h, torch.diag(m.a))), "w:3,3 a:3", 3),
    "a triangle": (of(lambda m, h: F.linear(h, m.a.tril())), "w:3,3 a:3,3", 6),
    "columns masked": (of(lambda m, h: F.linear(h, m.a * mask(1, 0, 1))), "w:3,3 a:3,3", 9),
    "a product of weights": (lambda m, x: F.linear(F.linear(x, m.a @ m.b), m.v), "a:3,2 b:2,3 v:3,3", 9),
    "a column times a row": (lambda m, x: F.linear(F.linear(x, m.a[:, None] * m.b), m.v), "a:3 b:3 v:3,3", 7),
    "rows of length 1": (lambda m, x: F.linear(F.linear(x, F.normalize(m.a, dim=-1)), m.v), "a:3,3 v:3,3", 3),
    "a weight less its mean": (
        lambda m, x: F.linear(torch.relu(F.linear(x, m.w - m.w.mean(0, keepdim=True))), m.v),
        "w:4,3 v:2,4",
        4,
    ),
    "copies of a row with a bias": (
        lambda m, x: F.linear(torch.cat([F.linear(x, m.a), F.linear(x, m.a)], -1) * mask(2, 2), m.v, m.b),
        "a:1,3 b:2 v:2,2",
        3,
    ),
    "a weight and rows of it": (
        of(lambda m, h: F.linear(torch.relu(F.linear(h, m.v)), m.w[0:2])),
        "w:3,3 v:3,3",
        2,
    ),
    "a weight and columns of it": (
        of(lambda m, h: F.linear(torch.relu(F.linear(h, m.v)), m.w[:, 0:2].t())),
        "w:3,3 v:3,3",
        3,
    ),
    "maps side by side": (
        lambda m, x: F.linear(torch.cat([F.linear(x, m.a), F.linear(x, m.b)], -1), m.v),
        "a:2,3 b:2,3 v:3,4",
        10,
    ),
    "three maps side by side": (
        lambda m, x: F.linear(torch.cat([F.linear(x, m.a), F.linear(x, m.b), F.linear(x, m.c)], -1), m.v),
        "a:2,3 b:2,3 c:1,3 v:3,5",
        15,
    ),
    "maps of parts": (
        of(lambda m, h: F.linear(F.linear(h[:, :2], m.a) + F.linear(h[:, 2:], m.b), m.v)),
        "w:4,3 a:2,2 b:2,2 v:3,2",
        13,
    ),
    "maps side by side, activated": (
        lambda m, x: F.linear(torch.relu(torch.cat([F.linear(x, m.a), F.linear(x, m.b)], -1)), m.v),
        "a:2,3 b:2,3 v:3,4",
        4,
    ),
}
# name: (forward, parameters, words of the note)
NOTED: dict[str, tuple[Forward, str, str]] = {
    "features added to their flip": (last(lambda h: h + h.flip(-1)), "w:3,3 v:3,3", "overlapping parts"),
    "maps side by side, two readers": (
        lambda m, x: of(
            lambda m, h: F.linear(torch.relu(F.linear(h, m.v)), m.c) + F.linear(h, m.d),
            lambda m, x: torch.cat([F.linear(x, m.a), F.linear(x, m.b)], -1),
        )(m, x),
        "a:2,3 b:2,3 v:3,4 c:3,3 d:3,4",
        "joins layers",
    ),
    "copies with a bias": (
        lambda m, x: F.linear(F.linear(x, m.a.repeat_interleave(2, 0), m.b), m.v),
        "a:2,3 b:4 v:3,4",
        "others add something to them",
    ),
    "a norm of which one feature is read": (
        last(lambda h: F.normalize(h, dim=-1) * mask(0, 1, 0)),
        "w:3,3 v:3,3",
        "read through their common size only",
    ),
}


@pytest.mark.parametrize("name", DERIVED)
def test_laws_of_moves(name: str) -> None:
    forward, shapes, number = DERIVED[name]
    torch.manual_seed(0)
    module, x = Plain(forward, shapes), torch.randn(5, 3)
    laws = lw.derive(module, args=(x,))
    assert not laws.gaps
    assert laws.independent == number
    assert laws.verify(module, args=(x,)).verdict is Verdict.HOLDS


@pytest.mark.parametrize("name", ["copies activated", "a triangle", "a weight and rows of it", "maps of parts"])
def test_the_referee_counts_as_many(name: str) -> None:
    forward, shapes, number = DERIVED[name]
    torch.manual_seed(0)
    module = Plain(forward, shapes).double()
    assert Referee(module, (torch.randn(5, 3).double(),), ["mse"], (-1,)).count().laws == number


@pytest.mark.parametrize("name", NOTED)
def test_moves_whose_laws_are_not_listed_are_named(name: str) -> None:
    forward, shapes, words = NOTED[name]
    torch.manual_seed(0)
    module, x = Plain(forward, shapes), torch.randn(5, 3)
    laws = by_rules(lw.trace(module, (x,)), "mse")
    assert any(words in note for note in laws.gaps)
    assert laws.verify(module, args=(x,)).verdict in (Verdict.HOLDS, Verdict.VACUOUS)


@pytest.mark.parametrize("move", [lambda h: h.flip(1), lambda h: h.roll(1, 1), lambda h: h[:, [2, 0, 1]]])
def test_channels_of_a_convolution_in_another_order(move: object) -> None:
    torch.manual_seed(0)
    module = Plain(lambda m, x: F.conv1d(torch.relu(move(F.conv1d(x, m.w))), m.v), "w:3,2,1 v:3,3,1")  # type: ignore[operator]
    laws = lw.derive(module, args=(torch.randn(4, 2, 4),))
    assert (laws.independent, laws.gaps) == (3, ())


@pytest.mark.parametrize("order", [(2, 1, 0), (2, 0, 1), (1, 0, 2), (0, 1, 2)])
def test_names_of_parameters_in_another_order_are_read(order: tuple[int, ...]) -> None:
    w = torch.randn(3, 4, dtype=torch.float64)
    for axis, tensor in ((0, w), (1, w.t())):
        name = ordered("w" if axis == 0 else "w.permute(1,0)", axis, order)
        assert torch.equal(read(name, {"w": w}), tensor.index_select(axis, torch.tensor(order)))
        assert base(name) == "w"


def test_unread_entries_of_a_triangle_never_move() -> None:
    torch.manual_seed(0)
    module = Plain(lambda m, x: F.linear(relu(m, x), m.a.triu()), "w:3,3 a:3,3")
    laws = lw.derive(module, args=(torch.randn(5, 3),))
    assert sum(law.count for law in laws if law.kind == "frozen") == 3
    assert hidden(module, torch.zeros(1, 3)).shape == (1, 3) and not laws.gaps


@pytest.mark.parametrize("copies", [2, 3])
def test_an_output_of_copies_under_cross_entropy(copies: int) -> None:
    torch.manual_seed(0)
    module = Plain(lambda m, x: torch.cat([F.linear(x, m.w, m.b)] * copies, -1), "w:3,2 b:3")
    laws = lw.derive(module, "cross_entropy", args=(torch.randn(5, 2),))
    assert (laws.independent, laws.gaps) == (3, ())
    assert lw.count(module, "cross_entropy", args=(torch.randn(5, 2),)).laws == 3
