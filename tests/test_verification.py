"""Verification: laws that say nothing, controls of every term, and numbers that are none."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.graph.architecture import points as drawn_points
from lawful.theory.laws.law import Law
from lawful.theory.oracle.measuring import corruptions, measure, vanishing
from lawful.theory.oracle.verification import Report, verify
from lawful.theory.verdict import Verdict

NET = lw.Architecture(b.chain(a=b.Linear(3, 4), r=b.ReLU(), c=b.Linear(4, 2)))


def law(kind: str = "balance", arch: lw.Architecture = NET, loss: str = "mse") -> Law:
    return next(w for w in lw.derive(arch, loss) if w.kind == kind)


def report(false: Law, arch: lw.Architecture = NET) -> Report:
    return verify([false], arch)


def test_a_law_that_is_identically_zero_is_vacuous() -> None:
    true = law()
    term = true.terms[0]
    minus = dataclasses.replace(term, coefficient=-term.coefficient)
    (found,) = report(dataclasses.replace(true, terms=(term, minus))).laws
    assert (found.verdict, found.reason) == (Verdict.VACUOUS, "it is the same whatever the parameters are")
    weak = dataclasses.replace(minus, coefficient=-term.coefficient * Fraction(10**6 - 1, 10**6))
    assert report(dataclasses.replace(true, terms=(term, weak))).verdict is Verdict.VIOLATED


def test_a_linear_law_that_is_identically_zero_is_vacuous() -> None:
    arch = lw.Architecture(b.Linear(3, 4) >> b.LayerNorm(4, epsilon=0.0) >> b.Linear(4, 3))
    true = law("shift", arch)
    term = true.terms[0]
    minus = dataclasses.replace(term, coefficient=-term.coefficient)
    zero = dataclasses.replace(true, terms=(term, minus, term, minus))
    assert report(zero, arch).verdict is Verdict.VACUOUS
    assert not Verdict.VACUOUS.passed


def test_no_true_law_is_called_vacuous() -> None:
    norm = b.LayerNorm(4, epsilon=0.0)
    nets = [
        b.Linear(3, 4) >> b.Linear(4, 3) >> b.Linear(3, 2),
        b.Linear(3, 4) >> norm >> b.residual(b.MLP(4, 3)) >> b.LayerNormCore(4, 0.0) >> b.Linear(4, 3),
        b.Embedding(5, 4) >> b.SelfAttention(4, 2, 2) >> b.RMSNorm(4, epsilon=0.0) >> b.Linear(4, 3),
        b.Conv2d(2, 3, 3) >> b.BatchNorm(3, epsilon=0.0) >> b.ReLU() >> b.GlobalAveragePool() >> b.Linear(3, 3),
    ]
    for net in nets:
        for loss in ("mse", "cross_entropy"):
            arch = lw.Architecture(net)
            values = arch.random_parameters(torch.Generator().manual_seed(0))
            assert [vanishing(w, values) for w in lw.derive(arch, loss)] == [0] * len(lw.derive(arch, loss)), net


def test_every_term_has_a_control() -> None:
    true = law()
    points = NET.points("mse", 4, 0, False)
    assert len(true.terms) > 1
    found = measure(true, points)
    assert len(found.controls) == len(true.terms)
    assert min(found.controls) > 1e-3 > 1e-12 > found.residual
    without = corruptions(true)[2:]
    assert [w.terms for w in without] == [(*true.terms[:i], *true.terms[i + 1 :]) for i in range(len(true.terms))]
    measured = [measure(w, points, control=False).residual for w in without]
    assert all(r > 1e-3 for r in measured)


def test_each_corrupted_term_is_violated() -> None:
    for false in corruptions(law()):
        assert report(false).verdict is Verdict.VIOLATED, false


def test_a_term_that_is_constant_by_itself_is_named() -> None:
    """A bias before BatchNorm never moves: a law keeps its verdict, and the report says which term adds nothing."""
    arch = lw.Architecture(b.chain(a=b.Linear(3, 4), n=b.BatchNorm(4, epsilon=0.0), r=b.ReLU(), c=b.Linear(4, 2)))
    found = {r.law: r for r in lw.derive(arch).verify(arch).laws}
    assert {r.verdict for r in found.values()} == {Verdict.HOLDS}
    named = [r.reason for r in found.values() if r.reason]
    assert named == ["it holds without its terms in a.bias as well: they are constant by themselves"]
    assert all(r.control > 1e-3 for r in found.values())


def test_what_nothing_moves_is_not_tested() -> None:
    true = law()
    bias = next(t for t in true.terms if t.part.parameter == "a.bias")
    values = NET.random_parameters(torch.Generator().manual_seed(0))
    point = NET.points("mse", 1, 0, False)[0]
    still = dataclasses.replace(point, gradient={**point.gradient, "a.bias": torch.zeros_like(values["a.bias"])})
    assert measure(dataclasses.replace(true, terms=(bias,)), [still]).tested is False


@pytest.mark.parametrize("seed", range(3))
def test_a_dead_head_is_zero_without_epsilon(seed: int) -> None:
    """0 / 0 in a norm of heads made residuals infinite, and true laws violated."""
    net = b.Linear(3, 4) >> b.ReLU() >> b.HeadNorm(2, 2, epsilon=0.05) >> b.Linear(4, 3)
    arch = lw.Architecture(net >> b.RMSNorm(3, epsilon=0.05) >> b.Linear(3, 2))
    found = lw.verify(arch, lw.derive(arch), seed=seed).laws
    assert {r.verdict for r in found} <= {Verdict.HOLDS, Verdict.APPROXIMATE}
    assert all(r.residual < 1 for r in found)


def test_a_gradient_that_is_no_number_is_said() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2))
    module.register_forward_hook(lambda m, x, y: y / (y - y))
    balance = law("balance", lw.Architecture(b.chain(**{"0": b.Linear(3, 2)}) >> b.Linear(2, 2)))
    alone = dataclasses.replace(balance, terms=tuple(t for t in balance.terms if t.part.parameter.startswith("0.")))
    (found,) = verify([alone], module, args=(torch.randn(2, 3),)).laws
    assert (found.verdict, found.residual) == (Verdict.UNDECIDED, float("inf"))
    assert found.reason == "no loss gradient is a number at any point that was tried"


class Rooted(torch.nn.Module):
    """A table whose entries are cut at zero before their root is taken: 0 / 0 in every gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.p1, self.p2 = (torch.nn.Parameter(torch.randn(5, 2)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.nn.functional.embedding(x, self.p1 + 0.5 * self.p2)
        return torch.sqrt((rows * (rows > 0)).abs())


def test_gradients_that_are_no_number_anywhere_accuse_no_law() -> None:
    """Survey 0-0: `p1 - 2 p2` is constant, and was called violated."""
    torch.manual_seed(0)
    module, args = Rooted(), (torch.arange(12).reshape(4, 3) % 5,)
    laws = lw.derive(module, args=args)
    assert [w.kind for w in laws] == ["shift"]
    assert {r.verdict for r in laws.verify(module, args=args).laws} == {Verdict.UNDECIDED}


def test_large_examples_are_few_unless_they_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_points, "LARGE", 3)
    assert drawn_points.examples_of(NET) == drawn_points.FEW
    assert lw.verify(NET).verdict is lw.Verdict.HOLDS
    assert drawn_points.examples_of(lw.Architecture(b.Linear(3, 4) >> b.BatchNorm(4) >> b.Linear(4, 2))) == 6
    monkeypatch.undo()
    assert drawn_points.examples_of(NET) == 6
