"""Calls that give back what they get, and tensors without entries: neither is a block, neither hides a law."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw

X = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.o = nn.Linear(6, 5), nn.Linear(5, 3)


class CastWithout(Two):
    """The cast in the chooser is the features themselves, which are read outside of it too."""

    def forward(self, x):
        h = self.a(x)
        with torch.no_grad():
            chosen = h.to(h.dtype).sum(-1, keepdim=True) > 0
        return self.o(torch.relu(h) * chosen)


class WeightWithout(Two):
    def forward(self, x):
        with torch.no_grad():
            w = self.a.weight.contiguous()
        return self.o(torch.relu(F.linear(x, w, self.a.bias)))


class NothingWithout(Two):
    def forward(self, x):
        h = self.a(x)
        with torch.no_grad():
            h = torch.dropout(h.flatten(1).float(), 0.1, False)
        return self.o(torch.relu(h))


class RecordedWithout(Two):
    def forward(self, x):
        h = self.a(x)
        if h.sum() > -1e9:
            with torch.no_grad():
                h = h.float()
        return self.o(torch.relu(h))


class ViewWithout(Two):
    """A view that is taken without gradients has none."""

    def forward(self, x):
        h = self.a(x)
        with torch.no_grad():
            gate = h.view(h.shape)
        return self.o(gate.sigmoid() * torch.relu(h))


@pytest.mark.parametrize("kind", [CastWithout, WeightWithout, NothingWithout, RecordedWithout, ViewWithout])
def test_what_comes_back_unchanged_from_no_grad_keeps_its_gradient(kind):
    torch.manual_seed(0)
    laws = lw.derive(kind(), args=(X,))
    assert sum(w.count for w in laws if w.kind == "balance") == 5
    assert not any("fault of lawful" in n for n in laws.notes)


class Rest(Two):
    def forward(self, x):
        turned, rest = self.a(x).view(len(x), 1, 5).split([5, 0], -1)
        return self.o(torch.relu(torch.cat([rest, turned], -1))).flatten(1)


class Sections(Two):
    def forward(self, x):
        first, nothing, last = self.a(x).tensor_split([2, 2], -1)
        return self.o(torch.relu(torch.cat([last, nothing, first], -1)))


class Ends(Two):
    def forward(self, x):
        h = self.a(x)
        return torch.cat([self.o(torch.relu(h)), x[:, 6:]], -1), h[:, 5:]


class WithoutGradients(Two):
    def forward(self, x):
        h = self.a(x)
        with torch.no_grad():
            some, rest = h.split([5, 0], -1)
            best = torch.cat([some, rest], -1).topk(2).indices
        return self.o(torch.relu(h)) + best.to(h.dtype).sum(-1, keepdim=True)


@pytest.mark.parametrize("kind", [Rest, Sections, Ends, WithoutGradients])
def test_pieces_without_entries_hide_no_law(kind):
    torch.manual_seed(0)
    module = kind()
    laws = lw.derive(module, args=(X,))
    assert sum(w.count for w in laws if w.kind == "balance") == 5
    assert not any("fault of lawful" in n for n in laws.notes)
    assert lw.verify(module, laws, args=(X,)).verdict.passed
