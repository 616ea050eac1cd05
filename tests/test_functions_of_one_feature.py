"""Functions of multiples of one feature: `f(-h)` is `f(h)` for an even one, `-f(h)` for an odd one, else another."""

import pytest
from networks import linear

import lawful as lw
from lawful import blocks as b
from lawful.theory.verdict import Verdict


def beside(*parts: b.Net) -> b.Net:
    return b.parallel(*parts, join=b.Concat())


def f(name: str) -> b.Net:
    return b.Pointwise(name)


X, MINUS, TWICE, SIZE = b.Identity, lambda: b.Scale(-1.0), lambda: b.Scale(-2.0), b.Abs

# name: what comes after a map to three features, laws
NETS = {
    "squares of relu are not even": (lambda: beside(X(), MINUS()) >> b.ReLU(0.0, 2), 3),
    "nor those of leaky relu": (lambda: beside(X(), MINUS()) >> b.ReLU(0.3, 2), 3),
    "its cube is not odd": (lambda: beside(X(), TWICE()) >> b.ReLU(0.3, 3), 3),
    "gelu is neither": (lambda: beside(X(), MINUS()) >> f("gelu"), 0),
    "the square of gelu is not even": (lambda: beside(X(), SIZE()) >> f("gelu") >> b.Power(2), 0),
    "a leaky relu is no size": (lambda: beside(X(), b.ReLU(-0.5)) >> b.Power(2), 3),
    "a square": (lambda: beside(X(), SIZE()) >> b.Power(2), 9),
    "a cube of sizes": (lambda: beside(X(), TWICE()) >> b.ReLU(-1.0, 3), 9),
    "a cube of itself": (lambda: beside(X(), TWICE()) >> b.ReLU(1.0, 3), 9),
    "one over a multiple": (lambda: beside(X(), TWICE()) >> f("reciprocal"), 9),
    "tanh is odd": (lambda: beside(X(), MINUS()) >> f("tanh"), 6),
    "cos is even": (lambda: beside(X(), SIZE()) >> f("cos"), 6),
    "the square of tanh is even": (lambda: beside(X(), SIZE()) >> f("tanh") >> b.Power(2), 6),
    "even of odd of odd": (lambda: beside(X(), SIZE(), MINUS()) >> f("sin") >> f("tanh") >> f("cos"), 12),
}


@pytest.mark.parametrize("name", NETS)
def test_one_function_is_one(name: str) -> None:
    """Counted as two, `relu(-h)^2` and `relu(h)^2` gave six laws that are false; `h^2` and `|h|^2` gave too few."""
    make, laws = NETS[name]
    net = make()
    arch = lw.Architecture(linear(2, 3) >> net >> linear(9 if laws == 12 else 6, 2))
    found = lw.derive(arch)
    assert found.independent == lw.count(arch).laws == laws
    assert not found.notes and all(law.proof.holds for law in found)
    assert not len(found) or lw.verify(arch, found).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    "net",
    [
        lambda: beside(X(), SIZE()) >> f("tanh") >> SIZE(),
        lambda: b.Power(2) >> beside(X(), b.Scale(2.0)) >> f("sqrt"),
    ],
)
def test_what_is_not_drawn_as_one_is_named(net) -> None:
    arch = lw.Architecture(linear(2, 3) >> net() >> linear(6, 2))
    laws = lw.derive(arch)
    assert laws.independent < lw.count(arch).laws
    assert any("another activation of the same feature" in note for note in laws.notes)


@pytest.mark.parametrize("net", [lambda: b.GELU() >> b.Abs(), lambda: f("tanh") >> b.Abs(), lambda: f("sqrt")])
def test_single_functions_have_no_note(net) -> None:
    arch = lw.Architecture(linear(2, 3) >> b.Power(2) >> net() >> linear(3, 2))
    assert not lw.derive(arch).notes


def test_a_slope_that_nothing_reads_is_named() -> None:
    arch = lw.Architecture(b.ReLU() >> b.PReLU() >> linear(4, 3), input=b.Signal(4))
    laws = lw.derive(arch, "cross_entropy")
    assert (laws.independent, lw.count(arch, "cross_entropy").laws) == (4, 5)
    assert any("its slope for negative ones never changes" in note for note in laws.notes)
    read = lw.Architecture(linear(4, 4) >> b.PReLU() >> linear(4, 3))
    assert not lw.derive(read, "cross_entropy").notes
