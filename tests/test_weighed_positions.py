"""Products along positions in the idioms of image models: every operation has a rule, and the laws hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class CrossCovariance(nn.Module):
    """Attention between channels: queries and keys have length 1 along the positions (El-Nouby et al. 2021)."""

    def __init__(self, width: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.inp, self.qkv, self.proj = nn.Linear(3, width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.temperature, self.heads = nn.Parameter(1 + torch.rand(heads, 1, 1)), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inp(x)
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 4, 1).unbind(0)
        a = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        return self.proj((a.softmax(-1) @ v).permute(0, 3, 1, 2).reshape(b, n, c))


class Separable(nn.Module):
    """One score for every position, softmax along one axis, its sum beside the values (MobileViT v2)."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.qkv, self.out, self.width = nn.Conv2d(2, 1 + 2 * width, 1), nn.Conv2d(width, 2, 1), width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).split([1, self.width, self.width], 1)
        context = (k * F.softmax(q, -1)).sum(-1, keepdim=True)
        return self.out(F.relu(v) * context.expand_as(v))


class Focal(nn.Module):
    """The mean of an image times one gate for every position: both sides are repeated (FocalNet)."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.inp, self.h, self.proj = nn.Conv2d(2, 2 * width + 2, 1), nn.Conv2d(width, width, 1), nn.Conv2d(width, 2, 1)
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, context, gates = self.inp(x).split([self.width, self.width, 2], 1)
        context = F.gelu(context)
        whole = F.gelu(context.mean((2, 3), keepdim=True))
        return self.proj(q * self.h(context * gates[:, :1] + whole * gates[:, 1:]))


class RootMeanSquare(nn.Module):
    """A norm over all positions, written out, with or without the mean."""

    def __init__(self, centre: bool) -> None:
        super().__init__()
        self.inp, self.out, self.centre = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1), centre

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inp(x)
        h = h - h.mean((2, 3), keepdim=True) if self.centre else h
        return self.out(h * torch.rsqrt(h.pow(2).mean((2, 3), keepdim=True)))


CASES = {
    "cross covariance": (CrossCovariance(), (4, 5, 3), 19, 20),
    "separable": (Separable(), (3, 2, 3, 5), 7, 7),
    "focal": (Focal(), (3, 2, 3, 4), 6, 7),
    "mean square": (RootMeanSquare(False), (3, 2, 3, 3), 3, 3),
    "variance": (RootMeanSquare(True), (3, 2, 3, 3), 6, 6),
}


@pytest.mark.parametrize("name", CASES)
def test_products_and_norms_along_positions(name: str) -> None:
    net, shape, derived, counted = CASES[name]
    x = torch.randn(shape)
    arch = lw.trace(net, x)
    assert not arch.trace.opaque and not arch.trace.narrow
    laws = lw.derive(arch)
    assert (laws.exact_independent, lw.count(net, args=(x,)).laws) == (derived, counted)
    assert derived == counted or laws.notes
    assert laws.verify(net, args=(x,)).verdict is lw.Verdict.HOLDS
