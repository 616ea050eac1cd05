"""Exact counts know what switches together and what stays as it is: gates of one value, frozen numbers, known laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import mlp
from torch import Tensor, nn, randn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import potential_of, potential_program
from lawful.theory.oracle.counting import ContradictionError
from lawful.theory.oracle.exact import checker
from lawful.theory.oracle.exact.lowering import program_of
from lawful.theory.oracle.exact.program import Program
from lawful.theory.oracle.exact.residues import PRIMES

Branches = tuple[Tensor, ...]


class Three(nn.Module):
    """`A f(h) + B g(h) + C k(h)` with `h = W x`; all parameters stand in the module itself."""

    def __init__(self, branches: Callable[[Tensor], Branches]) -> None:
        super().__init__()
        self.branches = branches
        self.w, *rest = (nn.Parameter(randn(*s)) for s in ((3, 3), (2, 3), (2, 3), (2, 3)))
        self.a, self.b, self.c = rest

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x, self.w)
        return sum(F.linear(y, v) for y, v in zip(self.branches(h), (self.a, self.b, self.c), strict=True))


# functions of one value, and how many laws there are: 3 of the neurons, 6 for every linear relation between the three
SAME: dict[str, tuple[Callable[[Tensor], Branches], int]] = {
    "relu, abs, identity": (lambda h: (F.relu(h), h.abs(), h), 9),
    "relu, leaky, identity": (lambda h: (F.relu(h), F.leaky_relu(h, 0.25), h), 9),
    "both sides and the whole": (lambda h: (F.relu(h), F.relu(-h), h), 9),
    "a multiple": (lambda h: (F.relu(h), F.relu(2 * h), h.abs()), 9),
    "clamp": (lambda h: (h.clamp(min=0), F.relu(h), h), 9),
    "relu of relu": (lambda h: (F.relu(F.relu(h)), F.relu(h), h), 9),
    "leaky of leaky": (lambda h: (F.leaky_relu(F.leaky_relu(h, 0.5), 0.5), F.leaky_relu(h, 0.25), F.relu(h)), 9),
    "the square of one is the product of two": (lambda h: (F.relu(h) ** 2, h * F.relu(h), h * h), 9),
    "three times the same": (lambda h: (F.relu(h), F.relu(h), F.relu(h)), 15),
    "three that are independent": (lambda h: (F.relu(h), h * h, h), 3),
}


@pytest.mark.parametrize("name", SAME)
def test_functions_of_one_value_have_one_pattern(name: str) -> None:
    branches, laws = SAME[name]
    args = (randn(4, 3),)
    arch = lw.trace(Three(branches), *args)
    assert lw.count(arch, exact=True).laws == lw.count(arch).laws == laws
    proved = lw.certificate(arch).check()
    assert proved.at_most == laws >= proved.at_least


@pytest.mark.parametrize("bias", [True, False])
def test_the_snippet_of_the_issue(bias: bool) -> None:
    """`2 relu(h) - |h| - h = 0`, so that `2A - B - C` is conserved (12 scalars), and with biases 10 more laws hold."""
    heads = (b.ReLU() >> b.Linear(4, 3, bias), b.Abs() >> b.Linear(4, 3, bias), b.Linear(4, 3, bias))
    arch = lw.Architecture(b.Linear(3, 4, bias) >> b.parallel(*heads))
    assert lw.count(arch, exact=True).laws == lw.count(arch).laws == (22 if bias else 16)


def between(arch: lw.Architecture, law: Callable[[dict[str, Tensor]], Tensor]) -> tuple[Program, Program]:
    """The potential of a network and one law, as programs."""
    found = potential_of(arch)
    weights = {"weights": torch.ones(1, dtype=torch.float64)}
    return found.program, program_of(lambda p, x, c: (law(p) * x["weights"]).sum(), found.parameters, weights, {})


def orthogonal(arch: lw.Architecture, law: Callable[[dict[str, Tensor]], Tensor]) -> float:
    return checker.orthogonal(*(checker.Program(p.to_data(), PRIMES[0]) for p in between(arch, law)))


def test_a_law_of_shared_patterns_is_proved() -> None:
    """The checker takes gates of one value for one choice, in both directions, and no others."""
    one = b.parallel(b.ReLU() >> b.Linear(3, 2, False), b.Abs() >> b.Linear(3, 2, False), b.Linear(3, 2, False))
    arch = lw.Architecture(b.Linear(2, 3, False) >> one)
    a, c, d = list(arch.parameters)[1:]
    assert orthogonal(arch, lambda p: (2 * p[a] - p[c] - p[d])[0, 1]) < 1e-30
    with pytest.raises(checker.Refused, match="not conserved"):
        orthogonal(arch, lambda p: (2 * p[a] - p[c] + p[d])[0, 1])
    with pytest.raises(checker.Refused, match="not conserved"):
        orthogonal(arch, lambda p: (2 * p[a] - p[c])[0, 1] - p[d][0, 2])


def test_patterns_are_those_of_values_not_of_blocks() -> None:
    def width(*acts: Any) -> int:
        heads = [act >> b.Linear(3, 2, False) for act in acts]
        program = potential_program(lw.Architecture(b.Linear(2, 3, False) >> b.parallel(*heads)))
        return program.choices["patterns"][0][0]

    one = width(b.ReLU(), b.Identity())
    assert one == 3 * 3  # of three examples
    assert width(b.ReLU(), b.Abs(), b.LeakyReLU(0.1), b.PReLU()) == one
    assert width(b.ReLU(), b.Linear(3, 3, False) >> b.ReLU()) == 2 * one


def test_combinations_of_patterns_that_no_network_has_are_not_drawn() -> None:
    """A unit of the second layer that is open although everything before it is closed, without a bias."""
    arch = lw.Architecture(b.Linear(2, 3, False) >> b.ReLU() >> b.parallel(b.Identity(), b.ReLU()) >> b.Linear(3, 2))
    program = potential_program(arch)
    (table,) = program.realised.values()
    assert len(table) == 128
    assert set(np.unique(table)) == {0, 1}
    assert lw.count(arch, exact=True).laws == lw.count(arch).laws


FROZEN: dict[str, tuple[lw.Architecture, int]] = {
    "3-6-3, the last frozen": (lw.Architecture(b.Linear(3, 6) >> b.Linear(6, 3, frozen=("weight", "bias"))), 12),
    "the same without biases": (mlp(3, 6, 3).freeze("fc1"), 9),
    "the first frozen": (mlp(2, 4, 2).freeze("fc0"), 4),
    "the middle frozen": (mlp(2, 3, 4, 2).freeze("fc1"), 0),
    "a frozen map before relu": (mlp(2, 3, 2, act=b.ReLU()).freeze("fc0"), 0),
    "a frozen map behind relu": (mlp(2, 3, 2, act=b.ReLU()).freeze("fc1"), 0),
    "frozen biases": (mlp(2, 3, 2, act=b.ReLU(), bias=True).freeze("fc0.bias"), 0),
}


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_numbers_are_constants_of_the_flow(name: str) -> None:
    """`u^T W` is conserved for every `u` with `F u = 0`; drawn anew for every field, `F` would not leave any `u`."""
    arch, laws = FROZEN[name]
    exact, proved = lw.count(arch, exact=True), lw.certificate(arch).check()
    assert exact.laws == lw.count(arch).laws == proved.at_most
    assert exact.laws >= laws
    assert proved.frozen == sum(p.size for p in arch.parameters.values() if p.frozen)


def test_parameters_of_the_module_itself() -> None:
    """Their names are not those of nodes; a parameter that is used twice is one."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v = nn.Parameter(randn(3, 3)), nn.Parameter(randn(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.linear(torch.relu(F.linear(x, self.w)), self.w), self.v)

    module, args = Tied(), (randn(4, 3),)
    found = lw.certificate(module, args=args)
    proved = found.check()
    assert proved.parameters == 15
    assert proved.at_most == lw.count(module, args=args, exact=True).laws
    assert set(found.network.parameters) == {"w", "v"}
    assert found.check(lw.trace(module, *args)).at_most == proved.at_most
    assert lw.certificate(Three(lambda h: (h.relu(), h, h * h)), args=args).check().parameters == 27


def test_a_count_below_the_known_laws_is_an_error_of_its_own() -> None:
    for arch, laws in ((mlp(2, 3, 2), 6), (mlp(3, 4, 2, act=b.ReLU()), 4)):
        assert lw.count(arch, exact=True, known=laws).laws == laws
        with pytest.raises(ContradictionError, match=f"{laws} laws are counted"):
            lw.count(arch, exact=True, known=laws + 1)


def test_a_derived_law_that_does_not_hold_is_a_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate leaves out what it cannot prove, but not what is false."""
    other = lw.derive(mlp(2, 3, 2, act=b.ReLU()))
    linear = lw.derive(mlp(2, 3, 2))
    monkeypatch.setattr("lawful.graph.questions.certificate.derive", lambda arch, loss: linear)
    with pytest.raises(ContradictionError, match="fields of the network change it"):
        lw.certificate(mlp(2, 3, 2, act=b.ReLU()))
    monkeypatch.setattr("lawful.graph.questions.certificate.derive", lambda arch, loss: other)
    proved = lw.certificate(mlp(2, 3, 2)).check()
    assert (proved.at_least, proved.at_most) == (3, 6)  # the laws of a ReLU network are some of a linear one
