"""Errors of torch and numpy do not come out of the library: an answer, a note, or one sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.theory.verdict import Verdict


class Plain(nn.Module):
    """A forward written by hand, with a matrix before it and one behind."""

    def __init__(self, forward: Callable) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.call, self.n, self.seen = forward, 0, {}
        self.a, self.b = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 3))

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.call(self, *x)


def written(s, x):
    y = x.new_zeros(len(x), 3)
    y[:, 0] = F.linear(x, s.a)[:, 0]
    y[:, 1:] = torch.relu(F.linear(x, s.a)[:, 1:])
    return F.linear(y, s.b)


def changed_behind(s, x):
    h = torch.sigmoid(F.linear(x, s.a))
    y = F.linear(h, s.b)
    h.mul_(2)
    return y


X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
MODULES = {
    "the absolute value of a weight": (lambda s, x: F.linear(torch.relu(F.linear(x, s.a.abs())), s.b), X),
    "a table by its rows": (lambda s, i: s.a[i] @ s.b, torch.tensor([0, 1, 2, 0])),
    "a weight where a mask is open": (lambda s, x: torch.where(s.a.detach() > 0, s.a, 0.0) @ x.t(), X),
    "one-hot of a maximum": (
        lambda s, x: F.linear(F.linear(x, s.a) * F.one_hot(F.linear(x, s.a).argmax(-1), 3), s.b),
        X,
    ),
    "runs that are written": (written, X),
    "a logarithm": (lambda s, x: torch.log(F.linear(x, s.a).abs() + 1) @ s.b.t(), X),
    "a backward that breaks": (changed_behind, X),
    "no derivative": (lambda s, x: F.linear(torch.heaviside(F.linear(x, s.a), x.new_zeros(())), s.b), X),
}
QUESTIONS: dict[str, Callable] = {
    "count": lambda m, x: lw.count(m, args=(x,)),
    "exact": lambda m, x: lw.count(m, args=(x,), exact=True),
    "check": lambda m, x: lw.check(m, args=(x,)),
    "certificate": lambda m, x: lw.certificate(m, args=(x,)),
    "parameters": lambda m, x: lw.parameter_count(m, args=(x,)),
    "verify": lambda m, x: lw.derive(m, args=(x,)).verify(m, args=(x,)),
}


@pytest.mark.parametrize(
    "name", at_night(MODULES, "a weight where a mask is open", "one-hot of a maximum", "no derivative")
)
def test_every_question_is_answered_or_refused(name: str) -> None:
    forward, x = MODULES[name]
    for question in QUESTIONS.values():
        try:
            found = question(Plain(forward), x)
        except Exception as error:
            assert type(error).__module__.startswith("lawful"), repr(error)
            assert "\n" not in str(error)
        else:
            if hasattr(found, "complete"):
                assert found.verdict is not Verdict.VIOLATED


def test_a_counter_may_be_a_place_in_a_dict() -> None:
    """The forward keeps what it has seen under the number of its call; no output depends on it."""

    def forward(s, x):
        s.n += 1
        s.seen[s.n] = 1
        return F.linear(torch.relu(F.linear(x, s.a)), s.b)

    assert lw.derive(Plain(forward), args=(X,)).independent == 3


def test_what_writes_by_out_is_answered() -> None:
    """Spectral normalisation writes its vectors by `out=` in training mode, which torch maps over no points."""
    torch.manual_seed(0)
    layers = nn.Linear(2, 3), nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    found = lw.check(nn.Sequential(*layers), args=X)
    said = str(found)
    assert "atching rule" not in said and "aten::" not in said, said
    assert found.laws.exact_independent == 1 and found.verdict is Verdict.UNDECIDED, said  # its vectors are detached
    assert "not counted" not in str(lw.check(nn.Sequential(*layers).eval(), args=X))
