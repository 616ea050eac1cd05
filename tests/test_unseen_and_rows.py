"""Laws that were missing without a note: unseen branches, unread products, rows and columns, parts of shared maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Plain(nn.Module):
    """A function of an input and of parameters of given shapes."""

    def __init__(self, function, shapes):
        super().__init__()
        self.function, self.p = function, nn.ParameterList(nn.Parameter(torch.randn(s)) for s in shapes)

    def forward(self, x):
        return self.function(x, *self.p)


def _unseen(x, a, b, c):
    h = F.linear(x, a)
    return F.linear(h, b), F.linear(h, c.expand(3, 2))


def _unread_product(x, a, b):
    h = F.linear(x, a)
    return (F.linear(h, b) * h).index_select(-1, torch.tensor((3, 3)))


def _outer_twice(x, a, b, c):
    outer = b[:, None] * c
    return F.linear(F.linear(x, a) - F.linear(x, outer), outer.t())


def _half_bias(x, a, b, c):
    return F.conv2d(x, a, b + 0.5 * c)


CASES = [
    (_unseen, [(2, 4), (3, 2), (1,)], (4, 4), ["mse", "cross_entropy"], 4),
    (_unread_product, [(4, 4), (4, 4)], (4, 4), "mse", 19),
    (_outer_twice, [(2, 3), (2,), (3,)], (4, 3), "mse", 1),
    (_half_bias, [(2, 3, 1, 1), (2,), (2,)], (4, 3, 3, 3), "mse", 2),
]


@pytest.mark.parametrize(("function", "shapes", "size", "loss", "number"), CASES)
def test_all_laws_are_listed(function, shapes, size, loss, number):
    torch.manual_seed(0)
    module, args = Plain(function, shapes), (torch.randn(size),)
    laws = lw.derive(module, loss, args=args)
    assert laws.exact_independent == number
    assert not laws.gaps
    assert laws.verify(module, args=args).verdict is lw.Verdict.HOLDS


def _signed_parts(x, a, b):
    h = F.linear(x, a)
    return F.linear(F.linear(h[..., :2] - h[..., 2:], b), a.t())


def _masked_mean(x, a, b):
    h = F.linear(x, a)
    return F.linear((h - h.mean(-1, keepdim=True)) * torch.tensor([0.0, 1.0, 0.0, 1.0]), b)


@pytest.mark.parametrize(
    ("function", "shapes", "width"), [(_signed_parts, [(4, 3), (4, 2)], 3), (_masked_mean, [(4, 4), (2, 4)], 4)]
)
def test_what_is_not_derived_is_noted(function, shapes, width):
    torch.manual_seed(0)
    assert lw.derive(lw.trace(Plain(function, shapes), torch.randn(4, width)), "cross_entropy").gaps
