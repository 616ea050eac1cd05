"""What is computed of parameters alone has no examples; a parameter whose entries repeat is no plain weight."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Plain(nn.Module):
    """Raw parameters, and a forward of the input and them."""

    def __init__(self, forward: Callable[..., torch.Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.p = nn.ParameterList(nn.Parameter(torch.randn(s)) for s in shapes)
        self.__dict__["call"] = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x, *self.p)


# Issue 12: a quarter of the modules of `strategies.modules()` ended in "this is a bug of lawful".
CASES = {
    "a scalar as a bias": (lambda x, w, b: F.linear(x, w, b.expand(4)), ((4, 3), (1,))),
    "a scalar as a matrix": (lambda x, p: F.linear(x, p.expand(2, 3)), ((1,),)),
    "a row as a matrix": (lambda x, p: F.linear(x, p.expand(2, 3)), ((3,),)),
    "a column as a matrix": (lambda x, p: F.linear(x, p.expand(2, 3)), ((2, 1),)),
    "rows twice": (lambda x, p: F.linear(x, p.repeat(2, 1)), ((2, 3),)),
    "columns twice": (lambda x, p: F.linear(x[:, :2], p.repeat_interleave(2, 1)), ((2, 1),)),
    "a row in a product": (lambda x, w: x @ w.expand(3, 4), ((1, 4),)),
    "a scalar in a convolution": (lambda x, w: F.conv1d(x[:, :, None], w.expand(2, 3, 1)), ((1,),)),
    "a scalar as a norm's gain": (lambda x, w, g: F.layer_norm(F.linear(x, w), (4,), g.expand(4)), ((4, 3), (1,))),
    "a flat matrix as a bias": (lambda x, w, v: F.linear(F.linear(x, w), v, w.flatten()), ((2, 3), (6, 2))),
    "a mean of copies": (lambda x, w, a: F.linear(x, w) + a.expand(6, 4).mean(0), ((4, 3), (4,))),
    "a gain that is also a shift, rolled": (lambda x, w, g: F.linear(x, w) * g + g.roll(1, 0), ((4, 3), (4,))),
    "a gain of channels made of two": (
        lambda x, w, a, b: F.conv1d(x[:, :, None], -w) * torch.cat([a, b], 0)[:, None],
        ((3, 3, 1), (1,), (2,)),
    ),
    "as many as the batch": (lambda x, w, a: F.linear(x, w) * torch.cat([a, a], 0).expand(4, 4), ((4, 3), (2,))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [pytest.param(3, marks=pytest.mark.nightly), 4])
def test_it_is_read_or_noted(name: str, batch: int) -> None:
    forward, shapes = CASES[name]
    if name == "as many as the batch" and batch != 4:
        pytest.skip("broadcasts with a batch of 4 only")
    torch.manual_seed(1)
    module, args = Plain(forward, *shapes), (torch.randn(batch, 3),)
    laws = lw.derive(lw.trace(module, *args))
    assert laws.verify(module, args=args).verdict.name in ("HOLDS", "VACUOUS")
    counted = lw.count(module, args=args)
    assert laws.notes or counted.laws == laws.independent
    assert laws.independent <= counted.laws


@pytest.mark.parametrize("rank", [1, 2])
def test_a_convolution_that_no_rule_covers_has_its_classes_on_axis_1(rank: int) -> None:
    """With a computed weight the classes were taken to be on the last axis, and the losses for others than torch's."""
    conv = F.conv1d if rank == 1 else F.conv2d
    shape = (3, 4, *[1] * rank)
    module = Plain(lambda x, a, b: conv(x, a.tanh() - b), shape, shape)
    args = (torch.randn(4, 4, *[5] * rank),)
    assert lw.trace(module, *args).output_axes == (1,)
    assert lw.derive(lw.trace(module, *args), "cross_entropy").notes
