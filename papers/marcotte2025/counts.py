"""The counts of its theorems, by brute force on small blocks."""

from __future__ import annotations

import torch

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.fields import fields_of
from lawful.theory.oracle.counting import Count, count_fields

from ..counting import Counted, counting


def _branch(features: int, hidden: int) -> b.Net:
    return b.residual(b.Linear(features, hidden, False) >> b.ReLU() >> b.Linear(hidden, features, False))


def _convolutions() -> Architecture:
    return Architecture(b.Conv2d(2, 3, 2, bias=False) >> b.ReLU() >> b.Conv2d(3, 2, 2, bias=False), space=(3, 3))


def _attention(features: int, heads: int) -> Architecture:
    return Architecture(b.SelfAttention(features, heads, 0, 2), input=b.Signal(features, (3,)))


def _blocks(many: int, features: int, hidden: int) -> Architecture:
    return Architecture(b.repeat([_branch(features, hidden) for _ in range(many)]), input=b.Signal(features))


def _all_positive(arch: Architecture) -> Count:
    """At weights and inputs above zero, where every ReLU is open."""
    module = arch.to_torch(torch.float64, 0)
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(3.0)
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(6, 1, generator=draw, dtype=torch.float64)
    return count_fields(*fields_of(module, "mse", draw, args=(x,)))


PART = counting(
    "marcotte2025",
    "counts",
    "The counts of its theorems",
    "One small network for each theorem, the squared loss but for the classifier; random points, but for example 4.8, "
    "whose weights and inputs are positive.",
    (
        Counted("laws_convolutions", "two ReLU convolutions have one law for every hidden channel", _convolutions),
        Counted("laws_residual", "a residual block has the laws of its branch", lambda: _blocks(1, 3, 2)),
        Counted("laws_head", "one head of attention has d1 (d1 + 1) laws", lambda: _attention(3, 1)),
        Counted("laws_two_heads", "H heads have H d_h (d_h + 1) laws", lambda: _attention(4, 2)),
        Counted(
            "laws_classifier",
            "a softmax classifier has one law for every feature",
            lambda: Architecture(b.Linear(3, 4, False)),
            "cross_entropy",
        ),
        Counted("laws_two_blocks", "layers on two sides of a skip share no law", lambda: _blocks(2, 3, 2)),
        Counted(
            "laws_aligned",
            "two residual ReLU blocks of scalar width have a third law where all signs agree",
            lambda: _blocks(2, 1, 1),
            counted=_all_positive,
        ),
    ),
)
