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


CASES = {
    "queries that are keys": (own_scores, "w:3,4 v:3,4", (4, 3, 4), 1),
    "weights that are values": (own_weights, "w:3,3 v:2,3", (4, 3, 3), 1),
    "a mean over pairs": (pairs, "w:4,3 v:3,2", (6, 3), 13),
    "a mean over pairs, with gates": (gated_pairs, "w:4,3 v:3,2", (6, 3), 4),
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
