"""One parameter, many roles: a constant field is a law only if every use of the parameter admits it.

The modules are plain torch; what their laws must be was counted by brute force and by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.blocks import Spec
from lawful.theory.gauge.rewrites import representatives
from lawful.theory.gauge.rules import Rule
from lawful.theory.verdict import Verdict

SHAPES = {**{n: (4,) for n in "bcgk"}, **{n: (4, 4) for n in "ABv"}, "w": (4, 2, 3), "C": (4, 1, 3), "D": (4, 1, 3)}
SHAPES |= {"s": (1,)}


class Plain(nn.Module):
    """A forward with bare parameters."""

    def __init__(self, forward: Callable, names: str) -> None:
        super().__init__()
        for n in names:
            setattr(self, n, nn.Parameter(torch.randn(SHAPES[n], dtype=torch.float64)))
        self.compute = forward

    def forward(self, x):
        return self.compute(x, *self.parameters())


def leaky(x):
    return F.leaky_relu(x, 0.2)


def norm(x, gain=None, bias=None):
    return F.layer_norm(x, (4,), gain, bias, eps=0.0)


# name: forward, its parameters, loss, shape of the input, number of laws
CASES = {
    "conv bias that is a gain": (
        lambda x, w, k, v: F.linear((F.instance_norm(F.conv1d(x, w, k), eps=0.0) * k[:, None]).amax(-1), v),
        "wkv", "mse", (2, 2, 7), 8,
    ),
    "gain that is a bias, and another bias": (lambda x, g, A, c: F.linear(x * g, A, g) + c, "gAc", "mse", (5, 4), 0),
    "bias that is a gain of the next norm": (
        lambda x, A, g, B: F.linear(norm(F.linear(x, A, g), g), B), "AgB", "mse", (5, 4), 5,
    ),
    "gain that is the last bias": (
        lambda x, A, g, B: F.linear(leaky(F.linear(x, A)) * g, B, g), "AgB", "cross_entropy", (5, 4), 8,
    ),
    "first bias inside of the last": (
        lambda x, A, b, B, c: F.linear(leaky(F.linear(x, A, b)), B, b + c), "AbBc", "mse", (5, 4), 0,
    ),
    "a bias twice and another": (lambda x, A, b, c: F.linear(x, A, b + b + c), "Abc", "mse", (5, 4), 4),
    "a bias twice": (lambda x, A, b: F.linear(x, A, b + b), "Ab", "mse", (5, 4), 0),
    "a bias less itself": (lambda x, A, b: F.linear(x, A, b - b), "Ab", "mse", (5, 4), 4),
    "a sum of maps and one of them": (lambda x, A, B: F.linear(leaky(F.linear(x, A + B)), A), "AB", "mse", (5, 4), 0),
    "rows of a matrix as a bias": (
        lambda x, A, B: F.linear(leaky(F.linear(x, A, B.sum(0))), B), "AB", "mse", (5, 4), 0,
    ),
    "slope that is a bias": (
        lambda x, A, k, B: F.linear(F.prelu(F.linear(x, A, k), k), B), "AkB", "mse", (5, 4), 0,
    ),
    "1 + g and g as a bias": (
        lambda x, A, g, B: F.linear(F.linear(x, A, g) * (1 + g), B), "AgB", "mse", (5, 4), 0,
    ),
    "one factor that is added too": (lambda x, s, A: F.linear(x * s, A) + s, "sA", "mse", (5, 4), 0),
    "grouped maps that are summed": (
        lambda x, C, D, B: F.linear(
            leaky((F.conv1d(x, C, groups=4) + F.conv1d(x, D, groups=4))[..., 0]), B
        ),
        "CDB", "mse", (2, 4, 3), 16,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_with_many_roles(name):
    forward, names, loss, shape, number = CASES[name]
    torch.manual_seed(0)
    module, x = Plain(forward, names), torch.randn(shape, dtype=torch.float64)
    laws = lw.derive(module, loss, args=(x,))
    assert laws.independent == number
    assert lw.verify(module, laws, loss, args=(x,)).verdict is (Verdict.HOLDS if number else Verdict.VACUOUS)


def test_a_law_has_the_right_coefficients():
    module = Plain(lambda x, A, b, c: F.linear(x, A, b + b + c), "Abc")
    (law,) = lw.derive(module, args=(torch.randn(5, 4),))
    assert law.text in ("b[i] - 2 c[i]", "b[0,i] - 2 c[i]")


def test_offsets_that_differ_are_named():
    """A parameter read as `g` and as `1 + g` has laws that are no polynomials: 8 are counted, 4 are listed."""
    module = Plain(lambda x, A, g, B: F.linear(leaky(F.linear(x, A) * (1 + g)) * g, B), "AgB")
    laws = lw.derive(module, args=(torch.randn(5, 4),))
    assert laws.independent == 4
    assert any("with a fixed number added" in note for note in laws.notes)


@dataclass(frozen=True, eq=False, repr=False)
class Silent(b.Block):
    """A block of a user that says nothing of its parameter."""

    summary = "x tanh(a)"
    source = "tests"

    @property
    def parameters(self):
        return {"a": Spec((3,), 1.0)}

    def output(self, *signals):
        return (signals[0],)

    def rule(self, names, inputs, outputs):
        return Rule()

    def forward(self, p, x, run):
        return x[0] * torch.tanh(p["a"])

    @classmethod
    def examples(cls, signal):
        return ()


@pytest.mark.parametrize("make", [Silent, lambda: b.DiagonalScan(3)])
def test_two_copies_of_a_block_are_two_computations(make):
    branch = [make() >> b.Linear(3, 3, False) for _ in range(2)]
    arch = lw.Architecture(b.Linear(2, 3) >> b.parallel(*branch) >> b.Linear(3, 2), input=b.Signal(2, (4,)))
    laws = lw.derive(arch)
    assert not any("shift" in law.name for law in laws)
    counted = lw.count(arch).laws
    assert laws.independent == counted or (laws.notes and laws.independent < counted)
    assert lw.verify(arch, laws).verdict is Verdict.HOLDS


@pytest.mark.parametrize("kind", sorted(b.kinds()))
def test_no_block_with_parameters_is_its_own_twin(kind):
    """Two instances of a block side by side have weights of their own, whatever their rule says of them."""
    signals = (b.Signal(4), b.Signal(4, (4,)), b.Signal(4, (4, 4), channels_first=True), b.Signal(5, tokens=True))
    for signal in signals:
        for one, two in zip(*(b.kinds()[kind].examples(signal) for _ in range(2)), strict=True):
            try:
                arch = lw.Architecture(b.parallel(one, two), input=signal)
            except b.ShapeError:
                continue  # several outputs, or one that cannot be summed
            sites = {s.name: s for s in arch.diagram("mse").sites}
            for name, twin in representatives(tuple(sites.values())).items():
                assert name == twin or sites[name].parameters == sites[twin].parameters


def test_a_rule_that_is_silent_about_a_tied_parameter_holds_it():
    """The scan decays by the numbers that are also a bias: no gauge may scale them."""
    scanned = b.chain(first=b.Linear(2, 3), scan=b.DiagonalScan(3), last=b.Linear(3, 2))
    free = lw.Architecture(scanned, input=b.Signal(2, (4,)))
    names = {n: dict(free.parameter_names(n)) for n in free.nodes}
    names["scan"]["rate"] = names["first"]["bias"]
    edges = [("input", 0, "first", 0), ("first", 0, "scan", 0), ("scan", 0, "last", 0)]
    blocks = {n: free.block(n) for n in free.nodes}
    tied = lw.Architecture.from_parts(blocks, edges, [("last", 0)], free.inputs, names)
    assert lw.derive(free).independent == lw.count(free).laws == 3
    assert lw.derive(tied).independent == lw.count(tied).laws == 0
