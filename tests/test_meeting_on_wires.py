"""Rules whose wires meet: one wire on two ports, and features that others read along several axes.

Each was a false law that only the module's own gradient kept off the list, and a true law that was missing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict


class Plain(nn.Module):
    """A forward with bare parameters, given by their shapes as `w:4,3`."""

    def __init__(self, forward: Callable, shapes: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        for part in shapes.split():
            name, _, sizes = part.partition(":")
            shape = [int(n) for n in sizes.split(",")]
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=generator)))
        self.compute = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.compute(self, x)


def own_scores(m, x):
    """Queries that are keys too, without a softmax."""
    q = F.linear(x, m.w)
    return F.linear(q @ q.transpose(-1, -2) @ x, m.v)


def own_weights(m, x):
    """What is weighed by itself."""
    h = F.linear(x, m.w)
    return F.linear(h @ h, m.v)


def centred(h):
    return h - h.mean(-1, keepdim=True)


def pairs(m, x):
    """A mean of features that the next map reads in pairs."""
    return F.linear(centred(F.linear(x, m.w)), m.v.repeat_interleave(2, -1))


def gated_pairs(m, x):
    return F.linear(centred(F.linear(x, m.w)).relu(), m.v.repeat_interleave(2, -1))


def pairs_and_a_mean(m, x):
    """A weight that is read in pairs, and its mean as a bias."""
    w = m.w.repeat_interleave(2, -1)
    return F.linear(F.linear(F.linear(x, m.w).relu(), w, w.mean(0)), m.v)


def normed_twice(m, x):
    """Numbers that are never negative are their own size, behind a norm too: found by the fresh networks of blocks."""
    h = F.normalize(F.linear(x, m.w).relu(), dim=-1)
    return F.linear(torch.cat([h, h.abs()], -1), m.v)


CASES = {
    "queries that are keys": (own_scores, "w:3,4 v:3,4", (4, 3, 4), 1),
    "weights that are values": (own_weights, "w:3,3 v:2,3", (4, 3, 3), 1),
    "a mean over pairs": (pairs, "w:4,3 v:3,2", (6, 3), 13),
    "a mean over pairs, with gates": (gated_pairs, "w:4,3 v:3,2", (6, 3), 4),
    "a norm of what is never negative": (normed_twice, "w:3,2 v:2,6", (6, 2), 7),
    "numbers that are one, read in pairs": (pairs_and_a_mean, "w:4,2 v:3,4", (6, 2), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_laws_where_wires_meet(name: str) -> None:
    forward, shapes, shape, count = CASES[name]
    module, x = Plain(forward, shapes), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    laws = lw.derive(module, "mse", args=x)
    assert (laws.exact_independent, lw.count(module, "mse", args=x).laws) == (count, count)
    assert not any("follows from the rules" in note for note in laws.notes)
    assert lw.verify(module, laws, args=(x,)).verdict is not Verdict.VIOLATED


SIGNS = torch.tensor([1.0, -1.0, 1.0])


def signed(m, x):
    h = F.linear(x, m.w) * SIGNS
    return h, F.linear(h, m.v)


def inverse(m, x):
    h = F.leaky_relu(F.linear(x, m.w), 0.1)
    return F.linear(h * h * m.g / h**2, m.v)


def one_position(m, x):
    return F.linear(((x + m.t) * m.g)[:, 0], m.w)


NAMED = {
    "signs before two readers": (signed, "w:3,3 v:2,3", (6, 3), ["cross_entropy", "mse"], 1, "the same fixed number"),
    "a feature over itself": (inverse, "w:3,3 v:2,3 g:3", (6, 3), "mse", 15, "divides by what it multiplies"),
    "a bias and a sum of rows": (
        lambda m, x: F.linear(F.linear(x, m.w, m.b), m.v, m.v.sum(1)),
        "w:4,2 b:4 v:3,4",
        (6, 3, 2),
        "mse",
        10,
        "what one shared layer makes of several inputs",
    ),
    "a scaled table of which one row is read": (one_position, "t:3,3 g:1 w:2,3", (6, 3, 3), "mse", 7, "nothing reads"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_missing_there_is_named(name: str) -> None:
    forward, shapes, shape, loss, count, note = NAMED[name]
    module, x = Plain(forward, shapes), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    laws = lw.derive(module, loss, args=x)
    assert lw.count(module, loss, args=x).laws == count > laws.exact_independent
    assert note in " ".join(laws.gaps)


@pytest.mark.parametrize("normed", [False, True])
def test_signs_before_what_does_not_see_a_sum_need_no_word(normed: bool) -> None:
    def forward(m, x):
        h = F.linear(x, m.w) * SIGNS
        return F.linear(F.layer_norm(h, (3,), eps=0.0), m.v) if normed else h

    module, x = Plain(forward, "w:3,3 v:2,3"), torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    laws = lw.derive(module, "cross_entropy", args=x)
    assert not laws.gaps
    assert laws.exact_independent == lw.count(module, "cross_entropy", args=x).laws


ROWS = {
    "a square matrix": (lambda m, x: F.linear(F.linear(F.linear(x, m.w), m.w), m.v), "w:2,2 v:1,2", 2, True),
    "a matrix and its transpose": (lambda m, x: F.linear(F.linear(x, m.w), m.w.t()), "w:2,3", 3, True),
    "rows that no input reaches": (
        lambda m, x: F.linear(F.linear(F.linear(x, m.w), m.w.t()), m.v),
        "w:3,2 v:1,2",
        2,
        False,
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_matrix_twice_in_a_row_needs_a_word_where_laws_are_missing(name: str) -> None:
    forward, shapes, width, complete = ROWS[name]
    module, x = Plain(forward, shapes), torch.randn(9, width, generator=torch.Generator().manual_seed(1))
    laws = lw.derive(module, "mse", args=x)
    assert (laws.exact_independent == lw.count(module, "mse", args=x).laws) is complete
    assert bool(laws.gaps) is not complete
