"""Modules that tracing was not written for: the count is right, or what is missing is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw


class Built(nn.Module):
    """A module of some parts and a forward that uses them."""

    def __init__(self, forward: Callable[..., torch.Tensor], parts: dict[str, Any]) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.__dict__["call"] = forward

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.call(self, *x)


def highway(m, x):
    x = torch.tanh(m.a(x))
    g = torch.sigmoid(m.t(x))
    return m.h(g * F.relu(x) + (1 - g) * x)


def squeeze_excite(m, x):
    x = F.relu(m.c(x))
    return m.h((x * torch.sigmoid(m.e(F.relu(m.r(x.mean((2, 3), keepdim=True)))))).mean((2, 3)))


def loop_over_time(m, x):
    h = torch.zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = torch.tanh(m.i(x[:, t]) + m.s(h))
    return m.h(h)


def attention_by_einsum(m, x):
    q, k, v = (torch.einsum("btc,chd->bhtd", x, w) for w in (m.q, m.k, m.v))
    a = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1)
    return torch.einsum("bhtd,hdc->btc", torch.einsum("bhqk,bhkd->bhqd", a, v), m.o)


def dense_net(m, x):
    y = torch.cat([x, F.relu(m.a(x))], -1)
    return m.c(torch.cat([y, F.relu(m.b(y))], -1))


def soft_experts(m, x):
    g = m.g(x).softmax(-1)
    return sum(g[:, i : i + 1] * e(x) for i, e in enumerate(m.e))


def latent_queries(m, x):
    q = m.q(m.latents).expand(x.shape[0], 2, 2)
    return m.o(F.scaled_dot_product_attention(q, m.k(x), m.v(x))).mean(1)


def cells(m, ids):
    x = m.e(ids)
    h = x.new_zeros(x.shape[0], 2)
    for t in range(x.shape[1]):
        h = m.w(x[:, t], h)
    return m.h(h)


def own_slope(m, x):
    y = m.a(x)
    return m.h(torch.where(y > 0, y, m.p * y))


def linear(i: int, o: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(i, o, bias)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


R = torch.randn
MODULES: dict[str, tuple[Callable[..., torch.Tensor], Callable[[], dict[str, Any]], tuple[torch.Tensor, ...]]] = {
    "highway": (highway, lambda: {"a": linear(3, 4), "t": linear(4, 4), "h": linear(4, 2)}, (R(2, 3),)),
    "squeeze and excitation": (
        squeeze_excite,
        lambda: {
            "c": nn.Conv2d(2, 3, 3, padding=1),
            "r": nn.Conv2d(3, 2, 1),
            "e": nn.Conv2d(2, 3, 1),
            "h": linear(3, 2),
        },
        (R(2, 2, 3, 3),),
    ),
    "a loop over time": (
        loop_over_time,
        lambda: {"i": linear(2, 3), "s": linear(3, 3, False), "h": linear(3, 2)},
        (R(2, 3, 2),),
    ),
    "deep sets": (
        lambda m, x: m.rho(m.phi(x).sum(1)),
        lambda: {
            "phi": nn.Sequential(linear(2, 3), nn.ReLU(), linear(3, 3)),
            "rho": nn.Sequential(nn.ReLU(), linear(3, 2)),
        },
        (R(2, 3, 2),),
    ),
    "siamese": (
        lambda m, x, y: m.h((m.e(x) - m.e(y)).abs()),
        lambda: {"e": nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 3)), "h": linear(3, 1)},
        (R(2, 3), R(2, 3)),
    ),
    "down and up with a skip": (
        lambda m, x: m.o(torch.cat([x, F.relu(m.u(F.relu(m.d(x))))], 1)),
        lambda: {
            "d": nn.Conv2d(2, 3, 2, stride=2),
            "u": nn.ConvTranspose2d(3, 2, 2, stride=2),
            "o": nn.Conv2d(4, 2, 1),
        },
        (R(2, 2, 4, 4),),
    ),
    "gated depthwise": (
        lambda m, x: m.o(F.glu(m.p(m.d(x)), 1).mean(-1)),
        lambda: {"d": nn.Conv1d(4, 4, 3, padding=1, groups=4), "p": nn.Conv1d(4, 6, 1), "o": linear(3, 2)},
        (R(2, 4, 5),),
    ),
    "autoencoder with one weight": (
        lambda m, x: F.linear(F.relu(F.linear(x, m.w, m.b)), m.w.t(), m.c),
        lambda: {"w": weight(4, 3), "b": weight(4), "c": weight(3)},
        (R(2, 3),),
    ),
    "weight norm": (
        lambda m, x: m.h(F.relu(m.a(x))),
        lambda: {"a": nn.utils.parametrizations.weight_norm(linear(3, 4)), "h": linear(4, 2)},
        (R(2, 3),),
    ),
    "bilinear": (
        lambda m, x: m.h(m.b(m.a(x), m.c(x))),
        lambda: {"a": linear(3, 2), "c": linear(3, 2), "b": nn.Bilinear(2, 2, 3), "h": linear(3, 2)},
        (R(2, 3),),
    ),
    "dense": (dense_net, lambda: {"a": linear(3, 3), "b": linear(6, 3), "c": linear(9, 2)}, (R(2, 3),)),
    "soft experts": (
        soft_experts,
        lambda: {
            "g": linear(3, 3),
            "e": nn.ModuleList(nn.Sequential(linear(3, 2), nn.ReLU(), linear(2, 2)) for _ in range(3)),
        },
        (R(2, 3),),
    ),
    "a bag of tokens": (
        lambda m, i: m.h(torch.tanh(m.e(i))),
        lambda: {"e": nn.EmbeddingBag(5, 3, mode="mean"), "h": linear(3, 2)},
        (torch.tensor([[0, 1, 2], [3, 4, 1]]),),
    ),
    "latent queries": (
        latent_queries,
        lambda: {
            "latents": weight(2, 3),
            "q": linear(3, 2, False),
            "k": linear(3, 2),
            "v": linear(3, 2),
            "o": linear(2, 2),
        },
        (R(2, 3, 3),),
    ),
    "attention by einsum": (
        attention_by_einsum,
        lambda: {"q": weight(3, 2, 2), "k": weight(3, 2, 2), "v": weight(3, 2, 2), "o": weight(2, 2, 3)},
        (R(2, 3, 3),),
    ),
    "pixel shuffle": (
        lambda m, x: m.h(F.relu(F.pixel_shuffle(m.c(x), 2))),
        lambda: {"c": nn.Conv2d(1, 4, 3, padding=1), "h": nn.Conv2d(1, 2, 1)},
        (R(2, 1, 3, 3),),
    ),
    "groups of channels": (
        lambda m, x: m.h(F.silu(m.g(m.c(x))).mean(-1)),
        lambda: {"c": nn.Conv1d(2, 6, 1), "g": nn.GroupNorm(2, 6), "h": linear(6, 2)},
        (R(2, 2, 4),),
    ),
    "cells": (
        cells,
        lambda: {"e": nn.Embedding(5, 3), "w": nn.GRUCell(3, 2), "h": linear(2, 2)},
        (torch.tensor([[0, 1, 2], [3, 4, 1]]),),
    ),
    "fourier transform": (
        lambda m, x: m.h(F.relu(torch.fft.fft(m.a(x), dim=1).real)),
        lambda: {"a": linear(3, 4), "h": linear(4, 2)},
        (R(2, 4, 3),),
    ),
    # what the rules do not cover, and say so
    "conditioning by 1 + g": (
        lambda m, x, z: m.o(F.relu(m.x(x) * (1 + m.g(z)) + m.b(z))),
        lambda: {"x": linear(3, 4), "g": linear(2, 4), "b": linear(2, 4), "o": linear(4, 2)},
        (R(2, 3), R(2, 2)),
    ),
    "a slope by where": (own_slope, lambda: {"a": linear(3, 4), "p": weight(4), "h": linear(4, 2)}, (R(2, 3),)),
}
NAMED = {"a slope by where"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_the_count_is_right_or_the_missing_part_is_named(name: str) -> None:
    forward, parts, inputs = MODULES[name]
    torch.manual_seed(0)
    arch = lw.trace(Built(forward, parts()).eval(), *inputs).with_epsilon(0.0)
    laws = lw.derive(arch)
    report = lw.verify(arch, laws)
    assert not len(laws) or report.verdict is lw.Verdict.HOLDS, report
    count = lw.count(arch)
    assert count.verdict.passed
    if name in NAMED:
        assert count.laws > laws.independent and laws.notes
    else:
        assert count.laws == laws.independent, (count.laws, list(laws), laws.notes)


MADE: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {
    "twice": (lambda x: torch.cat([x, x], -1), 8),
    "centred": (lambda x: x - x.mean(-1, keepdim=True), 4),
    "normalised": (lambda x: F.layer_norm(x, (4,)), 4),
    "polynomials": (lambda x: torch.stack([torch.ones_like(x[:, 0]), x[:, 0], x[:, 0] ** 2], -1), 3),
    "turned": (lambda x: x.flip(1), 4),
    "a part": (lambda x: 2 * x[:, 1:3] + 1, 2),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_inputs_has_no_numbers_on_the_meta_device(name: str) -> None:
    """Laws that hold because of how it is made are missing there, and the notes say so."""
    make, width = MADE[name]
    parts = {"u": nn.Linear(width, 2, bias=False), "v": nn.Linear(2, 2, bias=False)}
    module = Built(lambda m, x: m.v(F.relu(m.u(make(x)))), parts)
    laws = lw.derive(module, args=torch.randn(5, 4))
    meta = lw.derive(module.to("meta"), args=torch.randn(5, 4, device="meta"))
    said = any("made of the inputs" in note for note in meta.notes)
    assert said == (name not in ("turned", "a part")) and (said or meta.independent == laws.independent)
