"""Recurrent layers over rows of images: each row is a sequence, which a reverse layer reads from its end."""

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.graph.questions.derive import by_rules


class Rows(nn.Module):
    def __init__(self, kind, both, columns, last=False):
        super().__init__()
        self.layer = kind(3, 2, batch_first=True, bidirectional=both)
        self.out = nn.Linear(4 if both else 2, 3)
        self.columns, self.last = columns, last

    def forward(self, x):
        x = x.transpose(1, 2) if self.columns else x
        b, h, w, c = x.shape
        y, state = self.layer(x.reshape(b * h, w, c))
        if self.last:
            ends = state[0] if isinstance(state, tuple) else state
            return self.out(torch.cat(list(ends), -1).reshape(b, h, -1))
        y = y.reshape(b, h, w, -1)
        return self.out(y.transpose(1, 2) if self.columns else y)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("columns", "last"), [(False, False), (True, False), (False, True)])
def test_rows_are_sequences(kind, both, columns, last):
    """The reverse layer was drawn with its rows in the other order, and not its tokens."""
    module, x = Rows(kind, both, columns, last), torch.randn(2, 4, 5, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.opaque and not arch.trace.narrow, arch.trace
    laws = by_rules(arch, "mse")
    assert laws.verify(module, args=x).verdict.passed and laws.independent == lw.count(module, args=x).laws
