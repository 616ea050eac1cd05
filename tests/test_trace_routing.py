"""Choices of experts as published models make them: biased, by groups, kept above a tiny number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import lawful as lw
from lawful.theory.verdict import Verdict

Scores = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
TOKENS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def ernie(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A softmax, chosen with a bias, divided by a sum that is kept above a tiny number."""
    p = F.softmax(logits, -1)
    chosen = torch.topk(p + bias, 2, -1)[1]
    kept = p.gather(-1, chosen)
    return kept / torch.clamp(kept.sum(-1, keepdim=True), min=1e-12), chosen


def deepseek(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sigmoids of the best group, by the sum of its two best scores."""
    p = logits.sigmoid()
    scores = p + bias
    groups = scores.view(-1, 2, 2).topk(2, -1)[0].sum(-1)
    mask = torch.zeros_like(groups).scatter(1, groups.topk(1, -1)[1], 1)
    mask = mask.unsqueeze(-1).expand(-1, 2, 2).reshape(-1, 4)
    chosen = scores.masked_fill(~mask.bool(), float("-inf")).topk(2, -1)[1]
    kept = p.gather(1, chosen)
    return kept / (kept.sum(-1, keepdim=True) + 1e-20) * 1.5, chosen


def best_groups(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the largest score of a group, with weights that are not divided by their sum."""
    p = F.softmax(logits, -1)
    groups = p.view(-1, 2, 2).amax(-1)
    mask = torch.zeros_like(groups).scatter(1, groups.topk(1, -1)[1], 1).repeat_interleave(2, 1)
    chosen = (p * mask).topk(2, -1)[1]
    return p.gather(1, chosen) * 2.5, chosen


def squared(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Chosen by something of the logits that no rule reads: it always grows, so that only the last two are chosen."""
    p = logits.sigmoid()
    chosen = torch.cumsum(logits.square(), -1).topk(2, -1)[1]
    kept = p.gather(-1, chosen)
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-9), chosen


def softmax_in_one_group(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All of the best group, by weights that do not feel a shift of its logits."""
    p = F.softmax(logits, -1)
    groups = p.view(-1, 2, 2).amax(-1)
    mask = torch.zeros_like(groups).scatter(1, groups.topk(1, -1)[1], 1).repeat_interleave(2, 1)
    chosen = (p * mask).topk(2, -1)[1]
    kept = p.gather(1, chosen)
    return kept / kept.sum(-1, keepdim=True), chosen


def without_gradients(logits: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Chosen where no gradients are taken."""
    p = logits.sigmoid()
    with torch.no_grad():
        chosen = (p + bias).topk(2, -1)[1]
    return p.gather(-1, chosen), chosen


class Mixture(torch.nn.Module):
    """Four gated experts of two hidden units, of which every token is sent to two."""

    def __init__(self, router: Scores) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.route = router
        self.gate = torch.nn.Parameter(torch.randn(4, 3))
        self.bias = torch.nn.Parameter(torch.randn(4) / 9, requires_grad=False)
        self.up = torch.nn.Parameter(torch.randn(4, 4, 3))
        self.down = torch.nn.Parameter(torch.randn(4, 3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.route(F.linear(x, self.gate), self.bias)
        n, k = chosen.shape
        at = chosen.reshape(-1)
        tokens = x.unsqueeze(1).expand(n, k, 3).reshape(n * k, 3)
        a, b = torch.bmm(self.up[at], tokens.unsqueeze(-1)).squeeze(-1).chunk(2, -1)
        y = torch.bmm(self.down[at], (F.silu(a) * b).unsqueeze(-1)).squeeze(-1)
        return (y * weights.reshape(-1, 1)).view(n, k, 3).sum(1)


ROUTERS = {ernie: 11, deepseek: 8, best_groups: 11, without_gradients: 8}
ONLY = "it makes choices only"


@pytest.mark.parametrize("router", ROUTERS)
def test_engine_and_count_agree_on_routers(router: Scores) -> None:
    module = Mixture(router)
    laws = lw.derive(module, args=(TOKENS,))
    assert not any("no rule is known" in note or "by its degrees" in note for note in laws.notes), laws.notes
    assert sum(ONLY in note for note in laws.notes) <= 1
    assert laws.independent == lw.count(module, args=(TOKENS,)).laws == ROUTERS[router]
    assert lw.verify(module, laws, args=(TOKENS,)).laws[0].verdict is Verdict.HOLDS


@pytest.mark.parametrize("router", [squared, softmax_in_one_group])
def test_choices_that_never_come_are_named(router: Scores) -> None:
    module = Mixture(router)
    laws = lw.derive(module, args=(TOKENS,))
    assert laws.independent < lw.count(module, args=(TOKENS,)).laws
    assert any(ONLY in note for note in laws.notes), laws.notes


class Gated(torch.nn.Module):
    """Gates that never close, since what they compare never is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.up(x)
        return self.down(h * (torch.cumsum(h.square(), -1) > 0).to(h))


def test_gates_of_what_is_not_read_are_named() -> None:
    assert lw.derive(lw.trace(Gated(), TOKENS)).notes


class Masked(torch.nn.Module):
    """A mask of features that is made of an unknown function of them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.up(x)
        return self.down(h * (torch.cumsum(h, -1).sort(-1)[0] > 0).to(h))


def test_a_mask_that_is_multiplied_by_is_named() -> None:
    module = Masked()
    laws = lw.derive(module, args=(TOKENS,))
    assert any(" in the module (Masked)" in note for note in laws.notes)


def test_chosen_values_that_are_used_are_named() -> None:
    class Best(Masked):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down(self.up(x).topk(4, -1)[0])

    assert any(note.startswith("topk") for note in lw.derive(Best(), args=(TOKENS,)).notes)
