"""A constant beside a norm that is too large for an epsilon: no scale is hidden, and the count keeps it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lawful as lw
from lawful.blocks import BatchNorm, GroupNorm, HeadNorm, L2Norm, LayerNorm, Linear, Net, RMSNorm, chain
from lawful.graph.questions.derive import by_rules

WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "beside": lambda h: h / (h.norm(dim=-1, keepdim=True) + 100),
    "clamp": lambda h: h / h.norm(dim=-1, keepdim=True).clamp(min=1),
    "root of a sum": lambda h: h * torch.rsqrt(h.square().sum(-1, keepdim=True) + 100),
    "root of a mean": lambda h: h / torch.sqrt(h.square().mean(-1, keepdim=True) + 0.1),
    "normalize": lambda h: F.normalize(h, dim=-1, eps=1.0),
    "layer norm": lambda h: F.layer_norm(h, (3,), eps=1.0),
    "group norm": lambda h: F.group_norm(h, 1, eps=2.0),
}
NORMS: dict[str, Callable[[float], Net]] = {
    "layer": lambda e: LayerNorm(4, epsilon=e),
    "rms": lambda e: RMSNorm(4, epsilon=e),
    "batch": lambda e: BatchNorm(4, epsilon=e),
    "group": lambda e: GroupNorm(1, 4, epsilon=e),
    "length": lambda e: L2Norm(4, epsilon=e),
    "heads": lambda e: HeadNorm(2, 2, epsilon=e),
}


class Between(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.u, self.w = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(3, 2))
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.between(x @ self.u) @ self.w


class Lengths(nn.Module):
    def __init__(self, epsilon: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.u, self.w, self.epsilon = nn.Linear(3, 4), nn.Linear(4, 2), epsilon

    def forward(self, x: Tensor) -> Tensor:
        heads = self.u(x).unflatten(-1, (2, 2))
        out: Tensor = self.w(F.normalize(heads, dim=-1, eps=self.epsilon).flatten(-2))
        return out


def _large(report: lw.CheckReport) -> bool:
    return any("too much for an epsilon" in note for note in by_rules(report.arch, "mse").notes)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_written_norm_with_a_large_constant_hides_no_scale(name: str) -> None:
    report = lw.check(Between(WRITTEN[name]), args=(torch.randn(5, 2),))
    assert report.lawful and _large(report), str(report)
    assert all(law.exact for law in report.laws)
    centred = name in ("layer norm", "group norm")
    assert sorted(law.text for law in report.laws) == (["1ᵀ w", "u 1"] if centred else [])


@pytest.mark.parametrize("name", NORMS)
def test_a_block_with_a_large_epsilon_hides_no_scale(name: str) -> None:
    report = lw.check(chain(a=Linear(3, 4), n=NORMS[name](1.0), b=Linear(4, 2)))
    assert report.lawful and _large(report), str(report)
    assert all(law.exact for law in report.laws)
    assert not any("‖a.weight" in law.text for law in report.laws)


@pytest.mark.parametrize("name", NORMS)
def test_a_published_epsilon_is_still_one(name: str) -> None:
    report = lw.check(chain(a=Linear(3, 4), n=NORMS[name](1e-3), b=Linear(4, 2)))
    assert report.lawful and not _large(report), str(report)
    assert any("‖a.weight" in law.text for law in report.laws)


def test_a_norm_of_a_norm_with_a_constant_keeps_the_scale_that_is_hidden() -> None:
    large, exact = RMSNorm(4, gain=False, epsilon=1.0), RMSNorm(4, gain=False, epsilon=0.0)
    for first, second in ((large, exact), (exact, large)):
        report = lw.check(chain(a=Linear(3, 4), n=first, m=second, b=Linear(4, 2)))
        assert report.lawful, str(report)
        assert [law.text for law in report.laws] == ["‖a.weight‖² + ‖a.bias‖²"]


@pytest.mark.parametrize(("epsilon", "exact"), [(1e-12, {True}), (1e-5, {False}), (1.0, set())])
def test_lengths_of_heads_keep_their_constant(epsilon: float, exact: set[bool]) -> None:
    report = lw.check(Lengths(epsilon), args=(torch.randn(5, 3),))
    assert report.lawful, str(report)
    assert {law.exact for law in report.laws} == exact


def test_with_epsilon_changes_epsilons_alone() -> None:
    for given, left in ((1e-5, 0.0), (1e-2, 0.0), (0.1, 0.1)):
        arch = lw.Architecture(RMSNorm(4, gain=False, epsilon=given)).with_epsilon(0.0)
        assert [arch.block(n).epsilon for n in arch.nodes] == [left]
