"""A norm is a norm however it is written: gains fold, and the stream turns."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict

HOLDS = Verdict.HOLDS

D = 6


def square(x):
    return x.pow(2).mean(-1, keepdim=True)


def inverse(x):
    return torch.rsqrt(square(x) + 1e-6)


RMS: dict[str, Callable] = {
    "(g x) r": lambda g, x: (g * x) * inverse(x),
    "x (g r)": lambda g, x: x * (g * inverse(x)),
    "x ((1 + g) r)": lambda g, x: x * ((1 + g) * inverse(x)),
    "g x / sqrt": lambda g, x: g * x / torch.sqrt(square(x) + 1e-6),
    "x / (sqrt / g)": lambda g, x: x / (torch.sqrt(square(x) + 1e-6) / g),
    "half of r": lambda g, x: inverse(x) * 0.5 * g * x,
    "sum / d": lambda g, x: g * x * torch.rsqrt((x * x).sum(-1, keepdim=True) / D + 1e-6),
    "power": lambda g, x: (x.square().mean(-1, keepdim=True) + 1e-6) ** -0.5 * g * x,
    "no dims kept": lambda g, x: (x * g) * torch.rsqrt(x.pow(2).mean(-1) + 1e-6).unsqueeze(-1),
    "length": lambda g, x: (x * g) * (D**0.5 / x.norm(dim=-1, keepdim=True)),
    "length with a floor": lambda g, x: x * g / x.norm(dim=-1, keepdim=True).clamp(min=1e-8) * D**0.5,
    "epsilon beside the root": lambda g, x: g * x / (x.norm(2, dim=-1, keepdim=True) * D**-0.5 + 1e-6),
    "normalize": lambda g, x: F.normalize(x, dim=-1) * (D**0.5 * (g + 1)),
    "fused, 1 + g": lambda g, x: F.rms_norm(x, (D,), 1 + g),
    "in double": lambda g, x: ((g * x.double()) * inverse(x.double())).to(x.dtype),
}
LAYER: dict[str, Callable] = {
    "annotated": lambda g, b, x: g * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + b,
    "gain first": lambda g, b, x: (
        (x - x.mean(-1, keepdim=True)) * (g * torch.rsqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)) + b
    ),
    "fused": lambda g, b, x: F.layer_norm(x, (D,)) * g + b,
}


class Norm(nn.Module):
    def __init__(self, form, shift):
        super().__init__()
        self.g = nn.Parameter(1 + 0.1 * torch.randn(D))
        if shift:
            self.b = nn.Parameter(0.1 * torch.randn(D))
        self.form, self.shift = form, shift

    def forward(self, x):
        return self.form(self.g, *([self.b] if self.shift else []), x)


class Layer(nn.Module):
    def __init__(self, form, shift):
        super().__init__()
        self.norm, self.up, self.down = Norm(form, shift), nn.Linear(D, 5), nn.Linear(5, D)

    def forward(self, x):
        return x + self.down(F.silu(self.up(self.norm(x))))


def network(form, shift=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, D), Layer(form, shift), Norm(form, shift), nn.Linear(D, 7))


@pytest.mark.parametrize("form", RMS.values(), ids=RMS)
def test_an_rms_norm_folds_and_its_stream_turns(form):
    model, ids = network(form), torch.randint(7, (2, 3))
    found = lw.fold(model, args=(ids,), remove=True)
    assert len(found.done) == 2 and not found.refused and found.error < 1e-12
    turned = lw.symmetries(found.model, args=(ids,)).where(group="orthogonal")
    assert [s.shape for s in turned] == [(D, D)] and turned[0].verify().verdict is HOLDS


@pytest.mark.parametrize("form", LAYER.values(), ids=LAYER)
def test_a_layer_norm_folds_and_its_stream_is_centred(form):
    found = lw.fold(network(form, True), args=(torch.randint(7, (2, 3)),))
    assert [d.partition(" ")[0] for d in found.done] == ["gain", "gain", "centring"] and found.error < 1e-12


@pytest.mark.parametrize(
    "form",
    [
        lambda g, x: (g * x) * inverse(g * x),  # the gain is seen by the norm
        lambda g, x: (g * x) * inverse(x).detach(),  # a length that training does not see is no norm
        lambda g, x: (g * x) * torch.rsqrt(x.pow(2).mean((-1, -2), keepdim=True) + 1e-6),  # over positions too
        lambda g, x: (g * x) * torch.rsqrt(x.pow(4).mean(-1, keepdim=True) + 1e-6),
        lambda g, x: (g * x) * torch.rsqrt(x[..., :3].pow(2).mean(-1, keepdim=True) + 1e-6),
    ],
)
def test_what_is_no_norm_over_features_stays_what_it_is(form):
    model, ids = network(form), torch.randint(7, (2, 3))
    found = lw.symmetries(model, args=(ids,))
    assert all(s.verify().verdict is HOLDS for s in found)
    assert lw.fold(model, args=(ids,), network=found).error < 1e-9
    assert not found.where(group="orthogonal")


def test_two_norms_in_one_product_keep_their_gains():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 2)
            self.g, self.h = nn.Parameter(torch.rand(D) + 0.5), nn.Parameter(torch.rand(D) + 0.5)

        def forward(self, x):
            x, y = self.a(x), self.b(x)
            return self.out(((x * self.g) * inverse(x)) * ((y * self.h) * inverse(y)))

    arch = lw.trace(Gated(), torch.randn(3, D))
    assert arch.trace.comparison.agrees and not arch.trace.opaque
    assert [s.rule.statement.startswith("RMS") for s in arch.diagram("mse").sites].count(True) == 2
