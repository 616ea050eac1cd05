"""Image models in the words of their authors: every operation has a rule, and the laws hold."""

import pytest
import torch
from nights import at_night
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


class Turned(nn.Module):
    """Values before the weights of attention: `v a^T`, fewer queries than keys, a bias for every pair (LeViT)."""

    def __init__(self, width: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.qkv, self.out = nn.Conv2d(3, 3 * width * heads, 1), nn.Conv2d(width * heads, 2, 1)
        self.bias, self.heads = nn.Parameter(torch.randn(heads, 5)), heads
        self.register_buffer("pairs", torch.arange(2 * 6).reshape(2, 6) % 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (self.heads, 3, -1)).unbind(2)
        a = (q[..., ::3].transpose(-2, -1) @ k + self.bias[:, self.pairs]).softmax(-1)
        return self.out((v @ a.transpose(-2, -1)).reshape(len(x), -1, 1, 2))


class OneHot(nn.Module):
    """A relative bias that is looked up by two one-hot matrices (CoAtNet and MaxViT of TensorFlow)."""

    def __init__(self, width: int = 2, heads: int = 2, side: int = 2) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(3, 3 * width * heads), nn.Linear(width * heads, 2), heads
        self.table = nn.Parameter(torch.randn(heads, 2 * side - 1, 2 * side - 1))
        places = torch.arange(side)[:, None] - torch.arange(side)[None] + side - 1
        self.register_buffer("lookup", F.one_hot(places, 2 * side - 1).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = torch.einsum("nhw,ixh->nixw", self.table, self.lookup)
        bias = torch.einsum("nixw,jyw->nijxy", bias, self.lookup).reshape(self.heads, 4, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return self.out(y.transpose(1, 2).flatten(2))


class Evolved(nn.Module):
    """A standard deviation over the features of a group (EvoNorm), or over all features (a simple norm)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.inp, self.out, self.groups = nn.Conv2d(2, 4, 1, bias=False), nn.Conv2d(4, 2, 1, bias=False), groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inp(x)
        if not self.groups:
            return self.out(h / h.std(1, keepdim=True))
        g = h.unflatten(1, (self.groups, -1))
        return self.out((g / g.var((2, 3, 4), keepdim=True).sqrt()).flatten(1, 2))


class Padded(nn.Module):
    """Linear attention whose values have a constant beside the features of every head (EfficientViT)."""

    def __init__(self, width: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(3, 3 * width * heads), nn.Linear(width * heads, 2), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        y = q.relu() @ (k.relu().transpose(-2, -1) @ F.pad(v, (0, 1), value=1.0))
        return self.out((y[..., :-1] / (y[..., -1:] + 1e-3)).transpose(1, 2).flatten(2))


class Global(nn.Module):
    """A norm of every feature over the positions beside a gain and a shift (ConvNeXt v2)."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(2, width), nn.Linear(width, 2)
        self.weight, self.bias = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inp(x)
        size = h.norm(p=2, dim=(1, 2), keepdim=True)
        return self.out(h + torch.addcmul(self.bias, self.weight, h * (size / size.mean(-1, keepdim=True))))


class Mixed(nn.Module):
    """Maps of the pixels of an image, added to the image itself (MLP-Mixer)."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.inp, self.tokens, self.out = nn.Conv2d(2, width, 1), nn.Linear(6, 6), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inp(x).flatten(2).transpose(1, 2)
        return self.out(F.relu(h + self.tokens(h.transpose(1, 2)).transpose(1, 2)))


class Walled(nn.Module):
    """Positions padded by a constant that is not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.pad(self.inp(x).relu(), (1, 0, 0, 1), value=0.5))


class Made(nn.Module):
    """A table of positions that is made for the batch, goes through a convolution and is added (EdgeNeXt)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.inp, self.place, self.out = nn.Linear(3, width), nn.Conv2d(2, width, 1), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(len(x), 2, x.shape[1] // 2)
        place = self.place(torch.stack([ones.cumsum(1).sin(), ones.cumsum(2).cos()], 1))
        return self.out((self.inp(x) + place.flatten(2).transpose(1, 2)).relu())


class Tables(nn.Module):
    """Functions of a table of frequencies, side by side and taken apart again (learned rotations)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.rates, self.out = nn.Parameter(torch.randn(2, 3, width // 2)), nn.Linear(width, 2)
        self.register_buffer("places", torch.arange(5.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angles = self.places.unsqueeze(-1) * self.rates.unsqueeze(-2)
        both = torch.cat([angles.sin().repeat_interleave(2, -1), angles.cos().repeat_interleave(2, -1)], -1)
        one = both.unbind(0)[0]
        return self.out(x + one[0, :, :4] * one[1, :, 4:])


CASES = {
    "cross covariance": (CrossCovariance, (4, 5, 3), 19, 20),
    "separable": (Separable, (3, 2, 3, 5), 7, 7),
    "focal": (Focal, (3, 2, 3, 4), 6, 7),
    "mean square": (lambda: RootMeanSquare(False), (3, 2, 3, 3), 3, 3),
    "variance": (lambda: RootMeanSquare(True), (3, 2, 3, 3), 6, 6),
    "values before weights": (Turned, (3, 3, 2, 3), 18, 18),
    "one-hot lookups": (OneHot, (3, 4, 3), 18, 18),
    "deviation of groups": (lambda: Evolved(2), (3, 2, 2, 3), 2, 2),
    "deviation of features": (lambda: Evolved(0), (3, 2, 2, 3), 1, 2),
    "a constant beside heads": (Padded, (3, 4, 3), 4, 10),
    "global response": (Global, (3, 2, 3, 2), 1, 1),
    "maps of pixels": (Mixed, (3, 2, 2, 3), 1, 2),
    "a constant around an image": (Walled, (3, 2, 3, 3), 0, 0),
    "positions of a batch": (Made, (3, 6, 3), 8, 8),
    "tables": (Tables, (3, 5, 4), 0, 8),
}


@pytest.mark.parametrize(
    "name",
    at_night(
        CASES,
        "cross covariance",
        "deviation of features",
        "values before weights",
        "a constant beside heads",
        "maps of pixels",
    ),
)
def test_products_and_norms_along_positions(name: str) -> None:
    make, shape, derived, counted = CASES[name]
    net, x = make(), torch.randn(shape)
    arch = lw.trace(net, x)
    assert not arch.trace.opaque and not arch.trace.narrow
    laws = lw.derive(arch)
    assert (laws.exact_independent, lw.count(net, args=(x,)).laws) == (derived, counted)
    assert derived == counted or laws.notes
    assert laws.verify(net, args=(x,)).verdict is (lw.Verdict.HOLDS if derived else lw.Verdict.VACUOUS)
