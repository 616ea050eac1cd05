"""Windows side by side (`unfold`) and images that they add up to (`fold`): channels stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw


class Images(nn.Module):
    """Two maps of the channels with something between."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self._between = nn.Conv2d(2, 3, 1), nn.Conv2d(width, 2, 1), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self._between(self.a(x)))


class Outlook(nn.Module):
    """Attention of a window to itself whose weights a map of its middle gives (Yuan et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.v, self.attn, self.proj = nn.Linear(4, 4, bias=False), nn.Linear(4, 2 * 16), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, h, w, c = x.shape
        v = F.unfold(self.v(x).permute(0, 3, 1, 2), 2, padding=1)
        v = v.reshape(n, 2, c // 2, 4, -1).permute(0, 1, 4, 3, 2)
        at = self.attn(F.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1)).permute(0, 2, 3, 1).flatten(1, 2))
        at = at.reshape(n, -1, 2, 4, 4).permute(0, 2, 1, 3, 4).softmax(-1)
        y = (at @ v).permute(0, 1, 4, 3, 2).reshape(n, c * 4, -1)
        return self.proj(F.fold(y, (h, w), 2, padding=1).permute(0, 2, 3, 1))


def twice(h: torch.Tensor) -> torch.Tensor:
    return F.fold(F.unfold(h.relu(), 2, padding=1), h.shape[2:], 2, padding=1)


def taps(h: torch.Tensor) -> torch.Tensor:
    return F.unfold(h, 2).unflatten(2, (2, 2))


class Windowed(nn.Module):
    """A convolution and a pooling of windows that a forward treats as examples, as in SAM 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.c, self.b = nn.Linear(2, 3), nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, h, w, _ = x.shape
        y = self.a(x).view(n, h // 2, 2, w // 2, 2, 3).transpose(2, 3).reshape(-1, 2, 2, 3)
        y = F.max_pool2d(self.c(y.permute(0, 3, 1, 2)), 2).permute(0, 2, 3, 1)
        return self.b(y.reshape(n, h // 2, w // 2, 3))


class HeadByHead(nn.Module):
    """Heads one after another, each with its own column of a table of relative positions (Liu et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv = nn.ModuleList(nn.Conv2d(2, 6, 1) for _ in range(2))
        self.proj, self.table = nn.Conv2d(4, 3, 1), nn.Parameter(torch.randn(2, 5))
        self.register_buffer("index", torch.randint(0, 5, (4, 4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, table = [], self.table[:, self.index]
        for i, (part, qkv) in enumerate(zip(x.chunk(2, 1), self.qkv, strict=True)):
            q, k, v = (t.flatten(2) for t in qkv(part).chunk(3, 1))
            at = (q.transpose(-2, -1) @ k + table[i]).softmax(-1)
            out.append((v @ at.transpose(-2, -1)).view(len(x), 2, *x.shape[2:]))
        return self.proj(torch.cat(out, 1))


CASES = {
    "windows that are added up again": (lambda: Images(twice), (2, 2, 3, 3)),
    "taps as channels": (lambda: Images(taps, 12), (2, 2, 3, 3)),
    "outlook attention": (Outlook, (2, 2, 2, 4)),
    "windows in the place of examples": (Windowed, (2, 4, 4, 2)),
    "heads one after another": (HeadByHead, (3, 4, 2, 2)),
    "copies by tile": (lambda: Images(lambda h: h.tile((1, 2, 2))), (2, 2, 2, 2)),
}


@pytest.mark.parametrize("name", at_night(CASES, "outlook attention", "windows in the place of examples"))
def test_channels_keep_their_matrix(name: str) -> None:
    make, size = CASES[name]
    module, x = make(), torch.randn(size)
    arch = lw.trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque
    laws = lw.derive(module, args=x)
    assert len(laws) and laws.verify(module, args=x).verdict is lw.Verdict.HOLDS
    count = lw.count(module, args=x)
    assert laws.exact_independent == count.laws or laws.gaps
