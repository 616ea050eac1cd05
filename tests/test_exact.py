"""Counting modulo a prime: exact count = float count = engine, and the published counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import mlp
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.exact import potential_program
from lawful.theory.oracle.counting import ContradictionError
from lawful.theory.oracle.exact.counting import Fields
from lawful.theory.oracle.exact.lowering import program_of
from lawful.theory.oracle.exact.program import NotPolynomialError
from lawful.theory.oracle.exact.residues import PRIMES, determinant, matmul, minor, residues

IMAGE, TOKENS = b.Signal(2, (8,), channels_first=True), b.Signal(5, tokens=True)

# network, loss, its number of laws
COUNTS = {
    "linear 3-2-3": (mlp(3, 2, 3), "mse", 3),
    "linear 2-4-1": (mlp(2, 4, 1), "mse", 9),
    "linear 1-2-2-1 and its accidental law": (mlp(1, 2, 2, 1), "mse", 7),
    "linear 1-3-3-1 and its accidental laws": (mlp(1, 3, 3, 1), "mse", 14),
    "ReLU 3-4-2": (mlp(3, 4, 2, act=b.ReLU(), bias=True), "mse", 4),
    "ReLU 2-3-3-2": (mlp(2, 3, 3, 2, act=b.ReLU()), "mse", 6),
    "leaky ReLU 2-3-3-2": (mlp(2, 3, 3, 2, act=b.ReLU(0.1)), "mse", 6),
    "square 2-3-2": (mlp(2, 3, 2, act=b.Power(2), bias=True), "mse", 3),
    "ReLU6 2-3-2": (mlp(2, 3, 2, act=b.ReLU6(), bias=True), "mse", 0),
    "cross-entropy": (
        lw.Architecture(
            b.chain(a=b.Linear(2, 3, False), r=b.ReLU(), c=b.Linear(3, 3, False), s=b.ReLU(), d=b.Linear(3, 3)),
            input=b.Signal(2),
        ),
        "cross_entropy",
        10,
    ),
    "convolutions and max-pooling": (
        lw.Architecture(b.chain(c=b.Conv1d(2, 2, 3), p=b.MaxPool1d(2, 2), d=b.Conv1d(2, 2, 2)), input=IMAGE),
        "mse",
        2,
    ),
    "embedding": (
        lw.Architecture(b.chain(e=b.Embedding(5, 3), a=b.Linear(3, 3), r=b.ReLU(), c=b.Linear(3, 2)), input=TOKENS),
        "mse",
        9,
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_exact_float_and_derived_counts_agree(name: str) -> None:
    arch, loss, laws = COUNTS[name]
    exact = lw.count(arch, loss, exact=True)
    assert exact.laws == laws == lw.count(arch, loss).laws
    assert exact.verdict.passed
    assert "modulo" in exact.method
    derived = lw.derive(arch, loss).independent
    assert derived == laws or "accidental" in name


def test_a_known_number_of_laws_is_proved_to_be_all() -> None:
    found = lw.count(mlp(3, 5, 4, 2, act=b.ReLU()), exact=True, known=9)
    assert found.verdict.passed
    assert found.laws == 9


def test_a_number_of_laws_that_is_too_large_is_not_confirmed() -> None:
    with pytest.raises(ContradictionError, match=r"9 laws are counted .* but 10 independent ones are known"):
        lw.count(mlp(3, 5, 4, 2, act=b.ReLU()), exact=True, known=10)


def test_modules_are_traced() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert lw.count(module, exact=True, args=(torch.randn(2, 3),)).laws == 4


def test_what_is_no_polynomial_is_named() -> None:
    with pytest.raises(NotPolynomialError, match="tanh"):
        lw.count(mlp(2, 3, 2, act=b.Pointwise("tanh")), exact=True)


def test_brackets_are_those_of_finite_fields() -> None:
    """`[X, Y] = DY X - DX Y`, by differences of gradients of a program that is quadratic along a line."""
    program = potential_program(mlp(2, 3, 2))
    p = PRIMES[0]
    fields = Fields(program, p, 3)
    a, c = fields.draws("1.0", 4), fields.draws("1.1", 4)
    theta = np.repeat(fields.point, 4, axis=0)
    x, y = fields.gradients(theta, a), fields.gradients(theta, c)
    half = pow(2, -1, p)

    def along(data: dict[str, np.ndarray], step: np.ndarray) -> np.ndarray:
        ahead, behind = fields.gradients((theta + step) % p, data), fields.gradients((theta - step) % p, data)
        return (ahead - behind) * half % p

    # two layers: gradients are linear in theta, so that central differences have no error
    assert np.array_equal(fields.brackets(1, 4), (along(c, x) - along(a, y)) % p)


def test_brackets_do_not_depend_on_how_many_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(potential_program(mlp(2, 3, 2, act=b.ReLU(), bias=True)), PRIMES[0], 0)
    together = [fields.brackets(level, 5) for level in range(3)]
    monkeypatch.setattr(
        "lawful.theory.oracle.exact.counting.MEMORY", 2 * max(fields.program.width, fields.program.size)
    )
    for level, expected in enumerate(together):
        assert np.array_equal(fields.brackets(level, 5), expected)


@pytest.mark.nightly
def test_narrow_deep_networks_need_long_brackets() -> None:
    """Brackets of six fields reach 268 dimensions of a VGG-11 with two channels, brackets of eight all 281."""
    arch = lw.families.vgg11().shrink()
    found = lw.count(arch, exact=True, known=lw.derive(arch).independent)
    assert found.laws == 18 == 299 - found.ranks[-1]
    assert len(found.ranks) == 4


def test_a_network_that_does_not_move_is_vacuous(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is conserved where nothing moves, and that is no pass."""
    arch, weight = mlp(2, 2), torch.ones(2, 2, dtype=torch.float64)
    dead = program_of(lambda p, x, c: (p["w"] * x["x"] * 0.0).sum(), {"w": weight}, {"x": weight}, {})
    monkeypatch.setattr("lawful.graph.questions.exact.Polynomial.program", dead)
    found = lw.count(arch, exact=True)
    assert (found.ranks, found.laws) == ((0,), 4)
    assert found.verdict is lw.Verdict.VACUOUS
    assert not found.verdict.passed


def test_what_changes_in_place_is_refused() -> None:
    """A table of options would be made by changing one number again and again."""
    weight = torch.ones(2, dtype=torch.float64)

    def in_place(p: dict[str, torch.Tensor], x: object, c: dict[str, torch.Tensor]) -> torch.Tensor:
        gate = torch.full((2,), 3.0, dtype=torch.float64)
        gate.mul_(c["gate"] + 1)
        return (p["w"] * gate).sum()

    with pytest.raises(NotPolynomialError, match="mul_ changes a value in place"):
        program_of(in_place, {"w": weight}, {}, {"gate": ((2,), 2)})


def test_what_is_not_finite_is_refused() -> None:
    weight = torch.ones(2, dtype=torch.float64)
    with pytest.raises(NotPolynomialError, match="not finite"):
        program_of(lambda p, x, c: (p["w"] * torch.tensor([1.0, float("nan")])).sum(), {"w": weight}, {}, {})


def test_products_are_exact() -> None:
    rng, p = np.random.default_rng(0), PRIMES[0]
    a, c = rng.integers(0, p, (3, 4, 50)), rng.integers(0, p, (3, 50, 5))
    expected = (a.astype(object) @ c.astype(object)) % p
    assert np.array_equal(matmul(a, c, p), expected.astype(np.int64))


def test_floats_are_the_fractions_that_they_are() -> None:
    p = PRIMES[0]
    found = residues(np.array([0.5, -3.0, 0.1, 0.0]), p)
    tenth = (0.1).as_integer_ratio()
    assert found.tolist() == [pow(2, -1, p), p - 3, tenth[0] * pow(tenth[1], -1, p) % p, 0]


def test_a_minor_proves_the_rank() -> None:
    rng, p = np.random.default_rng(0), PRIMES[0]
    rows = matmul(rng.integers(0, p, (7, 3)), rng.integers(0, p, (3, 9)), p)
    chosen, columns = minor(rows, p)
    assert len(chosen) == len(columns) == 3
    assert determinant(rows[np.ix_(chosen, columns)], p) != 0
