"""Polynomial laws of networks, found without knowing them: as many as the engine's, and the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import mlp
from torch import nn
from torch.func import jacrev

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import potential_program
from lawful.theory.oracle.exact.program import NotPolynomialError, Program, Step
from lawful.theory.search import ExactFields, ProgramFields, parities_hold
from lawful.theory.search.confirmation import error_bound
from lawful.theory.search.program_signs import choices_used_twice, sign_flips

IMAGE, TOKENS = b.Signal(2, (6,), channels_first=True), b.Signal(4, (2,), tokens=True)


def tied() -> lw.Architecture:
    shared = b.Linear(3, 3, False)
    return lw.Architecture(b.Linear(2, 3, False) >> shared >> b.ReLU() >> shared >> b.ReLU() >> b.Linear(3, 2, False))


def transposed() -> lw.Architecture:
    first = b.Linear(2, 3, False)
    last = b.Linear(3, 2, False, tie=b.Tie(first, transposed=True))
    return lw.Architecture(first >> b.ReLU() >> b.Linear(3, 3, False) >> b.ReLU() >> last)


def architecture(net: b.Net, signal: b.Signal) -> lw.Architecture:
    return lw.Architecture(net, input=signal)


NETWORKS = {
    "linear 3-2-3": (mlp(3, 2, 3), "mse"),
    "linear 2-4-1": (mlp(2, 4, 1), "mse"),
    "linear 2-3-2-3": (mlp(2, 3, 2, 3), "mse"),
    "ReLU 2-3-3-2 with biases": (mlp(2, 3, 3, 2, act=b.ReLU(), bias=True), "mse"),
    "leaky ReLU 2-3-2": (mlp(2, 3, 2, act=b.ReLU(0.1), bias=True), "mse"),
    "squares 2-3-2": (mlp(2, 3, 2, act=b.Power(2), bias=True), "mse"),
    "squared ReLU 2-3-2": (mlp(2, 3, 2, act=b.ReLU(0.0, 2)), "mse"),
    "ReLU6 2-3-2, no law": (mlp(2, 3, 2, act=b.ReLU6(), bias=True), "mse"),
    "cross-entropy": (mlp(2, 3, 3, act=b.ReLU()), "cross_entropy"),
    "shared": (tied(), "mse"),
    "transposed": (transposed(), "mse"),
    "gated product": (architecture(b.ReGLU(2, 3), b.Signal(2)), "mse"),
    "residual stream": (
        architecture(
            b.Linear(2, 3, False)
            >> b.residual(b.Linear(3, 2, False) >> b.ReLU() >> b.Linear(2, 3, False))
            >> b.Linear(3, 2, False),
            b.Signal(2),
        ),
        "mse",
    ),
    "convolution and max-pool": (
        architecture(b.Conv1d(2, 2, 2) >> b.MaxPool1d(2, 2) >> b.Conv1d(2, 2, 2), IMAGE),
        "mse",
    ),
    "embedding": (architecture(b.Embedding(4, 2) >> b.Linear(2, 3) >> b.ReLU() >> b.Linear(3, 2), TOKENS), "mse"),
    "frozen layer": (architecture(b.Linear(2, 3, False) >> b.ReLU() >> b.frozen(b.Linear(3, 2)), b.Signal(2)), "mse"),
}


def gradients_at(found: lw.PolynomialLaws, theta: torch.Tensor) -> torch.Tensor:
    """The gradients of the laws that were found, at one point."""
    rows = torch.zeros(len(found.polynomials), len(theta), dtype=torch.float64)
    for i, law in enumerate(found.polynomials):
        for monomial, c in law.items():
            for at, v in enumerate(monomial):
                rest = [u for j, u in enumerate(monomial) if j != at]
                rows[i, v] += c * theta[rest].prod()
    return rows


def engine_gradients(arch: lw.Architecture, loss: str, theta: torch.Tensor) -> torch.Tensor:
    """The gradients of the engine's laws at the same point."""
    shapes = {n: p.shape for n, p in arch.parameters.items() if not p.frozen}
    fixed = {n: p for n, p in arch.random_parameters(torch.Generator().manual_seed(0)).items() if n not in shapes}

    def scalars(t: torch.Tensor) -> torch.Tensor:
        parts = t.split([int(np.prod(s)) for s in shapes.values()])
        params = {n: p.reshape(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
        return torch.cat([law.value(fixed | params).reshape(-1) for law in lw.derive(arch, loss)])

    return jacrev(scalars)(theta)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_search_finds_the_laws_of_the_engine(name: str) -> None:
    arch, loss = NETWORKS[name]
    found, derived = lw.search_laws(arch, degree=2, loss=loss), lw.derive(arch, loss)
    assert found.count == derived.independent
    assert found.error < 1e-20
    if not derived.independent:
        assert found.laws == ()
        return
    theta = torch.randn(len(found.variables), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, theirs = gradients_at(found, theta), engine_gradients(arch, loss, theta)
    assert torch.linalg.matrix_rank(ours, rtol=1e-9) == found.count
    assert torch.linalg.matrix_rank(theirs, rtol=1e-9) == found.count
    assert torch.linalg.matrix_rank(torch.cat([ours, theirs]), rtol=1e-9) == found.count


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sign_flips_of_a_network_hold(name: str) -> None:
    fields = ProgramFields(potential_program(*NETWORKS[name]))
    assert isinstance(fields, ExactFields)
    assert any(fields.parities())
    assert all(parities_hold(fields, seed=seed) for seed in range(6))


def test_variables_are_readable_symbols() -> None:
    found = lw.search_laws(mlp(2, 1, 2, act=b.ReLU()), degree=2)
    assert found.variables == ("fc0.weight[0,0]", "fc0.weight[0,1]", "fc1.weight[0,0]", "fc1.weight[1,0]")
    s = dict(zip(map(str, found.symbols), found.symbols, strict=True))
    law = sum(s[f"fc0.weight[0,{i}]"] ** 2 - s[f"fc1.weight[{i},0]"] ** 2 for i in range(2))
    assert found.laws == (law,)


def test_modules_are_traced() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    found = lw.search_laws(module, args=(torch.randn(4, 2),))
    assert found.count == 3
    assert "0.bias[2]" in found.variables


def papers_sizes(relu: bool) -> list[lw.Architecture]:
    """The first ten networks of Marcotte, Gribonval and Peyré 2023 of one kind."""
    random = np.random.RandomState(0)
    found = []
    for _ in range(10):
        depth = random.randint(2, 5)
        widths = [int(random.randint(2, 10 if relu else 6)) for _ in range(depth + 1)]
        found.append(mlp(*widths, act=b.ReLU() if relu else None, bias=relu and bool(random.random_sample() < 0.5)))
    return found


@pytest.mark.parametrize("relu", [False, True])
def test_the_sizes_of_the_paper(relu: bool) -> None:
    for arch in papers_sizes(relu):
        assert lw.search_laws(arch, degree=2).count == lw.derive(arch).independent


def test_cubes_are_laws_of_degree_3_only() -> None:
    """A cubic activation balances `|in|^2` against `3 |out|^2`; all laws of degree 3 are those and nothing else."""
    arch = mlp(1, 2, 1, act=b.Power(3))
    second, third = (lw.search_laws(arch, degree=k) for k in (2, 3))
    assert second.count == third.count == 2
    assert len(third.polynomials) == 2


def test_a_scalar_chain_has_more_laws_than_polynomials_show() -> None:
    arch = mlp(1, 2, 2, 1)
    assert lw.search_laws(arch, degree=4).count == 6
    assert lw.count(arch, exact=True).laws == 7


def test_what_is_no_polynomial_is_named() -> None:
    with pytest.raises(NotPolynomialError, match="tanh"):
        lw.search_laws(mlp(2, 3, 2, act=b.Pointwise("tanh")))


def test_a_network_names_its_own_variables() -> None:
    with pytest.raises(ValueError, match=r"search_laws\(network, degree=2\)"):
        lw.search_laws(mlp(2, 3, 2), 3)  # type: ignore[arg-type]


def test_fields_are_searched_as_before() -> None:
    from sympy.abc import x, y

    assert lw.search_laws([[-y, x]], [x, y]).laws == (x**2 + y**2,)
    assert lw.search_laws([[-y, x]], [x, y], 1).laws == ()


def test_progress_is_told() -> None:
    lines: list[str] = []
    lw.search_laws(mlp(2, 3, 2), progress=lines.append)
    assert lines[0] == "reading the network as a polynomial"
    assert "monomials in" in lines[1]


# --- pieces ---------------------------------------------------------------------------------------------------------


def test_gates_are_numbers_where_no_product_reads_one_twice() -> None:
    for arch, kept in (
        (mlp(2, 3, 3, 2, act=b.ReLU()), set()),
        (mlp(2, 3, 2, act=b.ReLU6()), set()),
        (mlp(2, 3, 3, 2, act=b.ReLU(0.0, 2)), {"patterns"}),
        (mlp(2, 3, 2, act=b.Power(2)), set()),
    ):
        program = potential_program(arch)
        assert ProgramFields(program).kept == choices_used_twice(program) == kept


def test_gates_that_stay_gates_make_a_false_law_likelier_and_the_bound_says_so() -> None:
    free, kept = (ProgramFields(potential_program(mlp(2, 3, 2, act=a))) for a in (b.ReLU(), b.ReLU(0.0, 2)))
    assert free.missed == 0.0 < kept.missed < 0.1
    assert error_bound(free, 2) < 1e-100 < error_bound(kept, 2) < 1e-15


@pytest.mark.parametrize("act", [b.ReLU(), b.ReLU(0.1), b.ReLU6(), b.ReLU(0.0, 2)])
def test_weights_of_options_span_what_options_span(act: b.Block) -> None:
    """Fields with choices drawn from their options lie in the span of those with weights, and span it."""
    from lawful.theory.oracle.exact.counting import Fields
    from lawful.theory.oracle.exact.residues import PRIMES, pivots

    program = potential_program(mlp(2, 2, 2, act=act, bias=True))
    p = PRIMES[0]
    chosen = Fields(program, p, 0)
    theta = np.repeat(chosen.point, 60, axis=0)
    weighted = ProgramFields(program).values(theta, p, np.random.default_rng(0))
    drawn = chosen.gradients(theta, chosen.draws("sample", 60))
    ranks = [len(pivots(rows, p)) for rows in (weighted, drawn, np.concatenate([weighted, drawn]))]
    assert ranks[0] == ranks[1] == ranks[2] > 0


def test_a_flip_that_is_no_symmetry_is_noticed() -> None:
    fields = ProgramFields(potential_program(mlp(2, 3, 2)))
    fields.parities = lambda: [1 << v for v in range(12)]  # type: ignore[method-assign]
    assert not all(parities_hold(fields, seed=seed) for seed in range(8))


def scalars(*names: str) -> list[Step]:
    return [Step("parameter", (), (), n) for n in names]


def test_signs_of_a_program_by_hand() -> None:
    """Of `u v + 2 w` the signs of u and v, and with either of them that of w, may be flipped; `u v + 1` fixes `u v`."""
    from fractions import Fraction

    uvw = scalars("u", "v", "w")
    product = Step("multiply", (0, 1), ())
    total = Step("add", (3, 2), (), factors=(Fraction(1), Fraction(2)))
    program = Program({"u": (), "v": (), "w": ()}, {}, {}, (*uvw, product, total))
    u, v, w = sign_flips(program)
    assert w == u ^ v and u and v and u != v

    one = Step("constant", (), (), table=np.array(1.0))
    total = Step("add", (2, 3), (), factors=(Fraction(1), Fraction(1)))
    program = Program({"u": (), "v": ()}, {}, {}, (*scalars("u", "v"), product, one, total))
    u, v = sign_flips(program)
    assert u == v != 0

    nothing = Step("constant", (), (), table=np.array(0.0))
    program = Program({"u": (), "v": ()}, {}, {}, (*scalars("u", "v"), product, nothing, total))
    u, v = sign_flips(program)
    assert u and v and u != v
