"""Forwards that were once refused with "this is a bug of lawful", with their number of laws (issues 12 and 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nights import at_night
from torch import nn
from torch.nn import functional as F

import lawful as lw

SOURCE, TARGET = (1, 2, 0, 2, 1), (0, 0, 1, 1, 2)  # edges of a graph of three nodes


class Net(nn.Module):
    def __init__(self, forward: Callable[..., Any], **shapes: tuple[int, ...]):
        super().__init__()
        self.call = forward
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, *x):
        return self.call(self, *x)


def two(forward, **more) -> Net:
    return Net(forward, A=(3, 3), B=(2, 3), **more)


def scan(m, x, gate=lambda d: d):
    h = x.new_zeros(x.shape[0], 2)
    for t in range(3):
        h = gate(m.d) * h + x[:, t] @ m.W.t()
    return h @ m.V.t()


def loop(m, x):
    h = torch.zeros(x.shape[0], 3)
    for t in range(3):
        h = torch.relu(x[:, t] @ m.W.t() + h @ m.U.t())
    return h @ m.V.t()


def by_columns(m, x):
    h = x @ m.A.t()
    for i in range(2):
        h = torch.cat([h[:, :i], h[:, i : i + 1].relu(), h[:, i + 1 :]], 1)
    return h @ m.B.t()


def clip(m, x, y):
    a, b = F.normalize(x @ m.A.t(), dim=-1), F.normalize(y @ m.B.t(), dim=-1)
    return m.t.exp() * a @ b.t()


def correlation(m, x):
    q, k, v = x @ m.Q.t(), x @ m.K.t(), x @ m.V.t()
    found = torch.fft.rfft(q, dim=1) * torch.conj(torch.fft.rfft(k, dim=1))
    return torch.fft.irfft(found, n=q.shape[1], dim=1) * v @ m.O.t()


def messages(m, x, how):
    h = x @ m.A.t()
    index = torch.tensor(TARGET)
    return torch.relu(how(torch.zeros_like(h), index, h[torch.tensor(SOURCE)])) @ m.B.t()


def added(out, index, h):
    return out.index_add(0, index, h)


def scattered(out, index, h):
    return out.scatter_add(0, index[:, None].expand_as(h), h)


def reduced(out, index, h):
    return out.scatter_reduce(0, index[:, None].expand_as(h), h, "mean")


ROWS = torch.randn(6, 3)
WORDS = torch.randn(6, 4, 3)
SCALAR: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp,
    "softplus": F.softplus,
    "clamp": lambda t: t.clamp(max=4.6),
    "inverse": lambda t: 1 / t,
    "sigmoid": torch.sigmoid,
}
# forward, inputs, exact laws derived, laws there are
CASES: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...], int, int]] = {
    "a state that starts from zeros": (Net(scan, d=(2,), W=(2, 2), V=(2, 2)), (torch.randn(3, 3, 2),), 2, 2),
    "a loop that starts from zeros": (Net(loop, W=(3, 2), U=(3, 3), V=(2, 3)), (torch.randn(6, 3, 2),), 3, 3),
    "column by column": (Net(by_columns, A=(2, 2), B=(2, 2)), (torch.randn(4, 2),), 2, 2),
    "a list of one position": (two(lambda m, x: torch.relu(x @ m.A.t())[:, [-1], :] @ m.B.t()), (WORDS,), 3, 3),
    "a list of positions": (two(lambda m, x: torch.relu(x @ m.A.t())[:, [-1, 0]] @ m.B.t()), (WORDS,), 3, 3),
    "a list of one feature": (
        Net(lambda m, x: torch.relu(x @ m.A.t())[:, [-1]] @ m.B.t(), A=(3, 3), B=(2, 1)),
        (ROWS,),
        7,
        7,
    ),
    "a stack behind the features": (
        two(
            lambda m, x: torch.stack([torch.relu(x @ m.A.t()) @ m.B.t(), torch.relu(x @ m.A.t()) @ m.C.t()], -1),
            C=(2, 3),
        ),
        (ROWS,),
        3,
        3,
    ),
    "a sum of a stack": (
        two(lambda m, x: torch.relu(torch.stack([x @ m.A.t(), x @ m.C.t()]).sum(0)) @ m.B.t(), C=(3, 3)),
        (ROWS,),
        12,
        12,
    ),
    "a mean of a stack": (
        two(lambda m, x: torch.relu(torch.stack([x @ m.A.t(), x @ m.C.t()], -1).mean(-1)) @ m.B.t(), C=(3, 3)),
        (ROWS,),
        12,
        12,
    ),
    "an input without a batch": (
        two(lambda m, x, p: torch.relu(x @ m.A.t() + p @ m.P.t()) @ m.B.t(), P=(3, 2)),
        (WORDS, torch.randn(4, 2)),
        3,
        3,
    ),
    "a gate without a batch": (
        two(lambda m, x, p: torch.relu(x @ m.A.t() * torch.sigmoid(p @ m.P.t())) @ m.B.t(), P=(3, 2)),
        (WORDS, torch.randn(4, 2)),
        3,
        3,
    ),
    "vmap": (
        Net(lambda m, x: torch.vmap(lambda row: torch.relu(m.A @ row) @ m.B.t())(x), A=(2, 2), B=(2, 2)),
        (torch.randn(4, 2),),
        1,
        2,
    ),
    "a temperature of two towers": (
        Net(clip, A=(4, 3), B=(4, 2), t=()),
        (torch.randn(5, 3), torch.randn(5, 2)),
        2,
        2,
    ),
    "correlation by Fourier transforms": (
        Net(correlation, Q=(4, 3), K=(4, 3), V=(4, 3), O=(2, 4)),
        (torch.randn(3, 6, 3),),
        12,
        12,
    ),
    "messages by index_add": (two(lambda m, x: messages(m, x, added)), (torch.randn(3, 3),), 3, 3),
    "messages by scatter_add": (two(lambda m, x: messages(m, x, scattered)), (torch.randn(3, 3),), 3, 3),
    "messages by scatter_reduce": (two(lambda m, x: messages(m, x, reduced)), (torch.randn(3, 3),), 3, 3),
    "a gate of signs": (two(lambda m, x: (x @ m.A.t() > 0).float() @ m.B.t()), (ROWS,), 9, 9),
    "the root of a unit that is off": (
        two(lambda m, x: torch.sqrt(torch.relu(x @ m.A.t()).abs()) @ m.B.t()),
        (ROWS,),
        3,
        3,
    ),
}
CASES |= {
    f"{name} of a number": (
        two(lambda m, x, f=f: x @ m.A.t() * f(m.t) @ m.B.t(), t=()),
        (ROWS,),
        6 + (name == "inverse"),
        7,
    )
    for name, f in SCALAR.items()
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    at_night(
        CASES,
        "exp of a number",
        "inverse of a number",
        "messages by scatter_reduce",
        "messages by scatter_add",
        "clamp of a number",
        "sigmoid of a number",
        "a list of one position",
        "column by column",
    ),
)
def test_a_forward_that_was_refused_has_its_laws(name: str) -> None:
    module, inputs, derived, there = CASES[name]
    laws = lw.derive(lw.trace(module, *inputs))
    assert laws.exact_independent == derived, (list(laws), laws.notes)
    assert bool(laws.notes) is (derived < there) or derived == there
    if len(laws):
        # one graph is one example, on which all units may be off
        assert laws.verify(module, args=inputs).verdict in (lw.Verdict.HOLDS, lw.Verdict.VACUOUS)
    count = lw.count(module, args=inputs) if there <= 7 else None
    assert count is None or not count.verdict.passed or count.laws == there
