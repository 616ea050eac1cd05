"""Smooth features that are nearly dependent (embeddings of a time by slow waves) keep no relation."""

from __future__ import annotations

import math

import torch

from lawful.theory.gauge.spans import measure


def waves(times: torch.Tensor, features: int) -> torch.Tensor:
    half = features // 2
    speeds = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half)
    angles = times[:, None].double() * speeds
    return torch.cat([angles.cos(), angles.sin()], -1)


def test_slow_waves_keep_no_relation_of_many_fractions() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.cat([torch.randint(100 * k, (1000,), generator=generator) for k in (1, 4, 1000)])
    found = measure(waves(times, 256))
    assert not found.absent and found.fixed is None and not found.still


def test_relations_of_simple_numbers_are_found_among_other_features() -> None:
    x = torch.randn(400, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sums = measure(torch.cat([x.softmax(-1), x], -1))
    assert sums.fixed is not None and sums.known
    centred = measure(torch.cat([x - x.mean(-1, keepdim=True), x[:, :3] / 7], -1))
    assert centred.absent and centred.known
