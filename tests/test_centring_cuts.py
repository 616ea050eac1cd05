"""Centring a wire that something cuts: its parts have a mean in common."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw


class Plain(nn.Module):
    def __init__(self, compute, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(s)) for s in shapes])
        self.compute = compute

    def forward(self, x):
        return self.compute(x, *self.weights)


def centred(h):
    return h - h.mean(-1, keepdim=True)


# name: (forward, shapes, laws under mse, laws under cross-entropy)
NETS = {
    "two of three": (lambda x, w: centred(F.linear(x, w))[..., ::2], [(3, 3)], 3, 6),
    "two of four": (lambda x, w: centred(F.linear(x, w))[..., :2], [(4, 3)], 6, 9),
    "two of five": (lambda x, w: centred(F.linear(x, w))[..., 1:3], [(5, 3)], 9, 12),
    "with a bias": (lambda x, w, b: centred(F.linear(x, w, b))[..., :2], [(4, 3), (4,)], 8, 12),
}


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", NETS)
def test_parts_of_a_centred_wire(name: str, loss: str) -> None:
    """Read part by part, laws came out that the module's own gradient moved, and others did not."""
    compute, shapes, *laws = NETS[name]
    module, args = Plain(compute, *shapes), (torch.randn(4, 3),)
    found = lw.derive(module, loss, args=args)
    assert found.independent == lw.count(module, loss, args=args).laws == laws[loss == "cross_entropy"]
    assert not found.notes and not lw.verify(module, found, loss, args=args).violated
