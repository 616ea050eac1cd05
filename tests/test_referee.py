"""The independent referee: it shares nothing with the library, knows counts that are known, and sees false laws."""

from __future__ import annotations

import ast

import pytest
import torch
from repository import ROOT
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.testing import survey as surveys
from lawful.testing.programs import Program, Source, Step, Weight
from lawful.testing.referee import Primitive, Referee, along, spectral_rank

REFEREE = ROOT / "testing" / "referee.py"


class Plain(nn.Module):
    """Raw parameters of some shapes and a forward of them and the input."""

    def __init__(self, forward, *shapes, frozen=()):
        super().__init__()
        self.n = len(shapes)
        for i, s in enumerate(shapes):
            setattr(self, f"p{i}", nn.Parameter(torch.randn(s), requires_grad=i not in frozen))
        self.__dict__["call"] = forward

    def forward(self, x):
        return self.call(x, *(getattr(self, f"p{i}") for i in range(self.n)))


def norm_net(x, w, v, eps=0.0):
    return F.linear(F.layer_norm(F.linear(x, w), (4,), eps=eps), v)


def attention(x, q, k, v, o):
    q, k, v = (F.linear(x, w) for w in (q, k, v))
    return F.linear((q @ k.mT).softmax(-1) @ v, o)


def three_gates(x, w, a, b, c):
    h = F.linear(x, w)
    return F.linear(F.relu(h), a) + F.linear(h.abs(), b) + F.linear(h, c)


X3, X2 = torch.zeros(4, 3), torch.zeros(4, 2)
# The counts of theory.md's section 6 and of the issue, by hand-written torch.
KNOWN = {
    "linear 3-2-3": (lambda x, u, v: x @ u @ v, ((3, 2), (2, 3)), X3, "mse", 3),
    "linear 2-4-1": (lambda x, u, v: x @ u @ v, ((2, 4), (4, 1)), X2, "mse", 9),
    "ReLU 3-4-2, biases": (
        lambda x, u, a, v, b: F.linear(F.leaky_relu(F.linear(x, u, a), 0.1), v, b),
        ((4, 3), (4,), (2, 4), (2,)),
        X3,
        "mse",
        4,
    ),
    "cross-entropy": (
        lambda x, u, v, b: F.linear(F.leaky_relu(F.linear(x, u), 0.1), v, b),
        ((3, 2), (3, 3), (3,)),
        X2,
        "cross_entropy",
        7,
    ),
    "layer norm": (norm_net, ((4, 3), (2, 4)), X3, "mse", 6),
    "layer norm, epsilon": (lambda x, w, v: norm_net(x, w, v, 0.1), ((4, 3), (2, 4)), X3, "mse", 5),
    "attention": (attention, ((2, 3), (2, 3), (2, 3), (3, 2)), torch.zeros(2, 4, 3), "mse", 6),
    "batch norm": (
        lambda x, w, a, g, s, v: F.linear(
            F.leaky_relu(F.batch_norm(F.linear(x, w, a), None, None, g, s, True, eps=1e-5), 0.1), v
        ),
        ((3, 2), (3,), (3,), (3,), (2, 3)),
        torch.zeros(6, 2),
        "mse",
        9 - 3,  # without an epsilon there are three more
    ),
    "2 relu(h) = |h| + h": (three_gates, ((4, 3), (3, 4), (3, 4), (3, 4)), X3, "mse", 12 + 4),
    "a sum of two": (lambda x, a, b: F.linear(x, a + 2 * b), ((2, 3), (2, 3)), X3, "mse", 6),
    "unread units": (lambda x, w, v: F.linear(F.linear(x, w)[:, :2], v), ((4, 3), (2, 2)), X3, "mse", 6 + 3),
    "tied": (lambda x, w: F.linear(F.linear(x, w), w.t()), ((3, 3),), X3, "mse", 0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts(name: str) -> None:
    forward, shapes, x, loss, laws = KNOWN[name]
    found = Referee(Plain(forward, *shapes), (x,), (loss,), (-1,)).count(1)
    assert found.decided
    assert found.laws == laws, found


def test_frozen_numbers_are_constants() -> None:
    module = Plain(lambda x, w, f: F.linear(F.linear(x, w), f), (6, 3), (2, 6), frozen=(1,))
    found = Referee(module, (X3,), ("mse",), (-1,)).count()
    assert found.decided and found.laws == 12


def test_it_imports_nothing_of_the_library() -> None:
    tree = ast.parse(REFEREE.read_text(encoding="utf-8"))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [("." * n.level) + (n.module or "") for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    allowed = {
        "__future__",
        "ast",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "math",
        "time",
        "torch",
        "typing",
    }
    assert {name.split(".")[0] for name in names} <= allowed
    assert "vmap" not in {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


@pytest.mark.parametrize(
    "norm",
    [
        lambda x: F.layer_norm(x, (4,), eps=0.1),
        lambda x: F.group_norm(x, 2, eps=0.1),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.instance_norm(x.reshape(3, 2, 2)).reshape(3, 4),
    ],
)
def test_norms_are_the_same_in_primitive_operations(norm) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    with Primitive():
        written = norm(x)
    torch.testing.assert_close(written, norm(x))


def test_derivatives_along_a_direction_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    theta, v = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
    theta.requires_grad_()

    def field(t: torch.Tensor) -> torch.Tensor:
        return torch.stack([t[0] * t[1].tanh(), t[2] ** 3, t.sum() * t[3], t[4].exp(), t[0]])

    step = 1e-6
    expected = (field(theta + step * v) - field(theta - step * v)) / (2 * step)
    torch.testing.assert_close(along(field(theta), theta, v), expected, rtol=1e-7, atol=1e-7)


def test_a_narrow_gap_is_undecided() -> None:
    rows = torch.diag(torch.tensor([1.0, 1e-3, 1e-9], dtype=torch.float64))
    assert spectral_rank(rows)[1] <= 1
    assert spectral_rank(rows[:2])[1] > 1e3


TWO = Program(
    (Source("x", (4, 3)),),
    (Weight("w", (3, 3)), Weight("v", (3, 3))),
    (),
    (Step("h", "linear", ("x", "w")), Step("y", "linear", ("h", "v"))),
    ("y",),
)


def test_a_network_that_is_right_has_no_failure() -> None:
    outcome = surveys.judge(TWO, ("mse",))
    assert outcome.failures == {} and not outcome.undecided and not outcome.noted


def test_the_survey_sees_what_is_false(monkeypatch) -> None:
    """Another network's laws, a missing one, a wrong count, an error: each is noticed and named."""
    other = lw.derive(TWO.module(), args=TWO.args())

    def tied(module, loss, args):  # the laws of two maps, said of one parameter that is used twice
        return other

    false = Program(
        TWO.inputs,
        TWO.parameters,
        (),
        (Step("h", "linear", ("x", "w")), Step("g", "tanh", ("h",)), Step("y", "linear", ("g", "v"))),
        ("y",),
    )
    monkeypatch.setattr(surveys, "derive", tied)
    assert {"false", "more"} <= surveys.judge(false, ("mse",)).failures.keys()

    fewer = lw.derive(false.module(), args=TWO.args())
    monkeypatch.setattr(surveys, "derive", lambda module, loss, args: fewer)
    assert surveys.judge(TWO, ("mse",)).failures.keys() == {"missing"}

    def broken(*args, **kwargs):
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(surveys, "derive", broken)
    assert surveys.judge(TWO, ("mse",)).failures.keys() == {"crash"}
    monkeypatch.undo()
    right = lw.count(false.module(), args=TWO.args())
    monkeypatch.setattr(surveys, "count", lambda *args, **kwargs: right)
    assert surveys.judge(TWO, ("mse",)).failures.keys() == {"count", "exact count"}


def test_rounding_is_no_field() -> None:
    """A norm of equal entries is zero up to rounding, and cross-entropy does not see a shift: nothing moves."""
    still = Plain(
        lambda x, p, b: F.linear(F.layer_norm(F.linear(x, p.expand(3, 2)), (3,)), torch.diag(p.sum().expand(3)), b),
        (2,),
        (3,),
    )
    found = Referee(still, (X2,), ("mse",), (-1,)).count()
    assert found.decided and found.laws == 2
    blind = Plain(lambda x, w, c: F.linear(F.linear(x, w), c.expand(3, 4)), (4, 2), (1,))
    found = Referee(blind, (X2,), ("cross_entropy",), (-1,)).count()
    assert found.decided and found.laws == 9
