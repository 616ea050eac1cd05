"""Mixtures of experts as people write them: masks, loops over experts, thresholds, batched products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful.graph.tracing.errors import TraceError
from lawful.theory.verdict import Verdict

WIDTH, HIDDEN, EXPERTS, TOP = 3, 2, 4, 2
LAWS = 11  # 8 hidden units, and the router does not feel a shift of its logits
TOKENS = torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(0))


class Mixture(nn.Module):
    """Four perceptrons with a router."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)) for _ in range(EXPERTS)
        )

    def best(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights of the best two experts of every token, and their numbers."""
        return self.gate(x).softmax(-1).topk(TOP, -1)


class ByMask(Mixture):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w, best = self.best(x)
        mask, out = F.one_hot(best, EXPERTS).float(), torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            out = out + (w * mask[..., e]).sum(-1, keepdim=True) * expert(x)
        return out


class ByWhere(Mixture):
    """As Mixtral did it: the tokens of every expert are taken out and added back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.view(-1, WIDTH)
        w, best = self.best(flat)
        out, mask = torch.zeros_like(flat), F.one_hot(best, EXPERTS).permute(2, 1, 0)
        for e in range(EXPERTS):
            slot, token = torch.where(mask[e])
            taken = flat[None, token].reshape(-1, WIDTH)
            out.index_add_(0, token, self.experts[e](taken) * w[token, slot, None])
        return out.view(x.shape)


class ByHit(Mixture):
    """Only those experts that somebody chose run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.view(-1, WIDTH)
        w, best = self.best(flat)
        out, mask = torch.zeros_like(flat), F.one_hot(best, EXPERTS).permute(2, 1, 0)
        for e in torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero():
            slot, token = torch.where(mask[e].squeeze(0))
            out.index_add_(0, token, self.experts[e](flat[token]) * w[token, slot, None])
        return out.view(x.shape)


class ByCount(Mixture):
    """As DeepSeek's own code does it: experts without tokens are left out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.view(-1, WIDTH)
        w, best = self.best(flat)
        out, counts = torch.zeros_like(flat), torch.bincount(best.flatten(), minlength=EXPERTS).tolist()
        for e in range(EXPERTS):
            if counts[e] == 0:
                continue
            token, slot = torch.where(best == e)
            out[token] += self.experts[e](flat[token]) * w[token, slot, None]
        return out.view(x.shape)


class BySwitch(Mixture):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, WIDTH)
        w, best = self.gate(flat).softmax(-1).max(-1)
        out = torch.zeros_like(flat)
        for e, expert in enumerate(self.experts):
            mask = best == e
            if mask.any():
                out[mask] = expert(flat[mask]) * w[mask].unsqueeze(-1)
        return out.view(x.shape)


class OfTheBest(Mixture):
    """The softmax is over the best two only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w, best = self.gate(x).topk(TOP, -1)
        w, out = w.softmax(-1), torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            mask = (best == e).any(-1)
            if not mask.any():
                continue
            out[mask] += expert(x[mask]) * (w * (best == e)).sum(-1)[mask][:, None]
        return out


class Scattered(Mixture):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.gate(x)
        w, best = logits.topk(TOP, -1)
        p = F.softmax(torch.full_like(logits, float("-inf")).scatter(-1, best, w), -1)
        return sum(p[..., e : e + 1] * expert(x) for e, expert in enumerate(self.experts))


class Threshold(Mixture):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.gate(x)
        p = logits.masked_fill(logits < logits.topk(TOP, -1)[0][..., -1:], float("-inf")).softmax(-1)
        return (p.unsqueeze(-1) * torch.stack([f(x) for f in self.experts], -2)).sum(-2)


class Batched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.up, self.down = (
            nn.Parameter(torch.randn(EXPERTS, a, b) / 2) for a, b in ((WIDTH, HIDDEN), (HIDDEN, WIDTH))
        )

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The weights of all experts, 0 for those that are not chosen."""
        p = self.gate(x).softmax(-1)
        w, best = p.topk(TOP, -1)
        return torch.zeros_like(p).scatter(-1, best, w)


class ByProducts(Batched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, WIDTH)
        hidden = torch.bmm(flat.unsqueeze(0).expand(EXPERTS, -1, -1), self.up).relu()
        return (torch.bmm(hidden, self.down) * self.weights(flat).t().unsqueeze(-1)).sum(0).view(x.shape)


class ByContractions(Batched):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.einsum("btd,edh->bteh", x, self.up).relu()
        return torch.einsum("bted,bte->btd", torch.einsum("bteh,ehd->bted", hidden, self.down), self.weights(x))


WRITTEN = [ByMask, ByWhere, ByHit, ByCount, BySwitch, OfTheBest, Scattered, Threshold, ByProducts, ByContractions]


@pytest.mark.parametrize("kind", WRITTEN)
def test_mixtures_of_experts_have_their_laws(kind: type[nn.Module]) -> None:
    module = kind()
    laws = lw.derive(module, args=(TOKENS,))
    assert laws.independent == LAWS
    assert not any("by its degrees" in note or "fault of lawful" in note for note in laws.notes), laws.notes
    assert lw.verify(module, laws, args=(TOKENS,)).verdict is Verdict.HOLDS


def test_a_count_says_the_same() -> None:
    assert lw.count(ByProducts(), args=(TOKENS,)).laws == LAWS


class Averaged(Mixture):
    """What is taken out is mixed: with all rows it would be something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, WIDTH)
        mask = self.gate(flat).argmax(-1) == 0
        out = flat.clone()
        out[mask] = out[mask] - out[mask].mean(0)
        return self.experts[0](out)


class Sorted(Mixture):
    """Tokens in the order of their experts, in runs whose lengths are data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, WIDTH)
        best = self.gate(flat).argmax(-1)
        order, start, parts = best.argsort(), 0, []
        for e, n in enumerate(torch.bincount(best, minlength=EXPERTS).tolist()):
            parts.append(self.experts[e](flat[order][start : start + n]))
            start += n
        return torch.cat(parts)[order.argsort()].view(x.shape)


class Picked(Mixture):
    """As many rows come out as a mask says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, WIDTH)
        return self.experts[0](flat[self.gate(flat).argmax(-1) == 0])


@pytest.mark.parametrize("kind", [Averaged, Sorted])
def test_what_is_no_mask_is_read_as_it_runs_on_the_example(kind: type[nn.Module]) -> None:
    laws = lw.derive(kind(), args=(TOKENS,))
    assert any("laws are those of the run on the example" in note for note in laws.notes)
    assert not len(laws) or lw.verify(kind(), laws, args=(TOKENS,)).verdict is not Verdict.VIOLATED


def test_as_many_rows_as_a_mask_says_are_refused_or_read_as_they_run() -> None:
    try:
        laws = lw.derive(Picked(), args=(TOKENS,))
    except TraceError as error:
        assert "\n" not in str(error)
    else:
        assert any("laws are those of the run on the example" in note for note in laws.notes)
