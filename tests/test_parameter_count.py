"""Parameters that matter: dimension of the function space, gauges, laws, and what is left unexplained."""

from __future__ import annotations

import dataclasses

import networks
import pytest
import torch
from networks import mlp
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions import parameters
from lawful.graph.questions.parameters import ParameterCount
from lawful.graph.questions.tangents import Tangents
from lawful.theory.oracle.verification import corruptions
from lawful.theory.verdict import Verdict


def consistent(found: ParameterCount) -> bool:
    """The identities that hold for every network."""
    return (
        found.verdict is Verdict.HOLDS
        and found.dimension + found.fibre == found.parameters
        and found.dimension <= found.reached
        and found.derived <= found.laws <= found.fibre
        and found.gauge <= found.fibre
        and found.brackets + found.laws == found.fibre
        and sum(f.gauge for f in found.families) == found.gauge
        and sum(f.laws for f in found.families) == found.derived
    )


def jacobian_rank(arch: lw.Architecture) -> int:
    """The rank of the Jacobian in the parameters over many inputs, by another way than the library's."""
    module = arch.to_torch(dtype=torch.float64, seed=1)
    names, leaves = zip(*module.named_parameters(), strict=True)
    x = torch.randn(40, *arch.inputs[0].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def output(*p: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, dict(zip(names, p, strict=True)), (x,)).reshape(-1)

    parts = torch.autograd.functional.jacobian(output, leaves)
    return int(torch.linalg.matrix_rank(torch.cat([p.flatten(1) for p in parts], 1), rtol=1e-9))


@pytest.mark.parametrize(("n", "r", "m"), [(3, 2, 3), (4, 3, 3), (3, 1, 2), (2, 2, 2), (5, 2, 3)])
def test_two_linear_layers(n: int, r: int, m: int) -> None:
    """Matrices of rank r: `r (n + m - r)` functions, a gauge GL(r), of which the symmetric part gives laws."""
    arch = mlp(n, r, m)
    found = lw.parameter_count(arch)
    assert consistent(found)
    assert found.parameters == r * (n + m)
    assert found.dimension == r * (n + m - r) == jacobian_rank(arch)
    assert found.gauge == r * r
    assert found.laws == found.derived == r * (r + 1) // 2
    assert found.brackets == r * (r - 1) // 2
    assert found.unexplained == found.accidental == 0
    assert found.method.startswith("lie algebra modulo") and found.gap == float("inf")


@pytest.mark.parametrize(("n", "r", "m"), [(2, 4, 1), (2, 5, 2), (1, 3, 3)])
def test_two_linear_layers_that_are_wide_inside(n: int, r: int, m: int) -> None:
    """All matrices: `n m` functions; the rest is a gauge, and `rk (2r + 1 - rk) / 2` of it laws."""
    found, rank = lw.parameter_count(mlp(n, r, m)), min(r, n + m)
    assert consistent(found)
    assert found.dimension == n * m
    assert found.laws == found.derived == rank * (2 * r + 1 - rank) // 2
    assert found.unexplained == 0


@pytest.mark.parametrize("widths", [(3, 4, 2), (2, 3, 3, 2), (2, 2, 2, 3, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_relu_networks(widths: tuple[int, ...], bias: bool) -> None:
    """A scale for every hidden neuron is redundant, and conserved: all that brackets could reach, gradients do."""
    found, hidden = lw.parameter_count(mlp(*widths, act=b.ReLU(), bias=bias)), sum(widths[1:-1])
    assert consistent(found)
    assert found.dimension == found.parameters - hidden  # the upper bound of Grigsby et al. 2022
    assert found.gauge == found.laws == hidden
    assert found.brackets == found.unexplained == 0


def test_biases_of_linear_layers_are_one() -> None:
    """Maps of rank 2 and a shift: the biases before the last are redundant, though no law says so."""
    found = lw.parameter_count(mlp(3, 2, 4, bias=True))
    assert consistent(found)
    assert (found.dimension, found.gauge, found.laws) == (2 * (3 + 4 - 2) + 4, 4 + 2, 3)
    assert found.brackets == 1 + 2
    assert {f.kind: (f.gauge, f.laws) for f in found.families} == {
        "balance": (3, 3),
        "rotation": (1, 0),
        "translation": (2, 0),
    }


def test_attention() -> None:
    """Per head the gauge GL(2) of queries and keys and that of values and outputs."""
    found = lw.parameter_count(lw.Architecture(b.SelfAttention(3, 1, head_width=2), input=b.Signal(3, (3,))))
    assert consistent(found)
    assert (found.parameters, found.dimension, found.gauge, found.laws) == (24, 16, 8, 6)
    assert "float64" in found.method and found.gap > 1e9


def test_attention_with_biases() -> None:
    """The key bias is free, and a value bias is undone by the output bias."""
    arch = lw.Architecture(b.SelfAttention(3, 2, 1, 2, bias=True), input=b.Signal(3, (3,)))
    found = lw.parameter_count(arch)
    assert consistent(found)
    assert found.unexplained == found.accidental == 0
    assert {f.kind: f.gauge for f in found.families} == {"balance": 3, "frozen": 2, "rotation": 1, "translation": 2}


def test_residual_block_with_batch_norm() -> None:
    inner = b.Conv2d(2, 2, 3, padding=1) >> b.BatchNorm(2) >> b.ReLU() >> b.Conv2d(2, 2, 1) >> b.BatchNorm(2)
    net = (
        b.Conv2d(1, 2, 2) >> b.BatchNorm(2) >> b.ReLU() >> b.residual(inner) >> b.GlobalAveragePool() >> b.Linear(2, 2)
    )
    found = lw.parameter_count(lw.Architecture(net, input=b.Signal(1, (4, 4), channels_first=True)))
    assert consistent(found)
    assert found.unexplained == found.accidental == 0
    kinds = {k: sum(f.gauge for f in found.families if f.kind == k) for k in ("balance", "frozen", "translation")}
    # Every convolution has a scale and a bias that its norm does not see, for each of 2 channels; the gains of stream
    # and branch are tied by the head, and shared with what reads them; the head undoes a shift of the last norm.
    assert kinds == {"balance": 3 * 2 + 2 * 2, "frozen": 3 * 2, "translation": 2}
    assert found.laws == 16 and found.brackets == 2


def test_features_that_a_norm_reads_and_nobody_writes() -> None:
    """RMSNorm reads 4 features of 3 vectors: beside the gauge, 2 outputs do not see the fourth direction."""
    found = lw.parameter_count(
        lw.Architecture(b.Linear(3, 4, False) >> b.RMSNormCore(4, epsilon=0.0) >> b.Linear(4, 2, False))
    )
    assert consistent(found)
    assert {f.kind: f.gauge for f in found.families} == {"balance": 1, "rotation": 6}
    assert found.unexplained == 2
    full = lw.parameter_count(
        lw.Architecture(b.Linear(4, 4, False) >> b.RMSNormCore(4, epsilon=0.0) >> b.Linear(4, 2, False))
    )
    assert consistent(full) and full.unexplained == 0 and full.gauge == 7


def test_quadratic_forms_that_fill_their_space() -> None:
    """Two outputs of three squares are all 12 quadratic polynomials of 2 variables: more parameters than that."""
    found = lw.parameter_count(mlp(2, 3, 2, act=b.Power(2), bias=True))
    assert consistent(found)
    assert found.dimension == 12
    assert (found.gauge, found.unexplained, found.laws, found.brackets) == (3, 2, 3, 2)


@pytest.mark.parametrize(("widths", "laws", "derived"), [((1, 2, 2, 1), 7, 6), ((1, 3, 3, 1), 14, 12)])
def test_accidental_laws_are_said_to_be_unexplained(widths: tuple[int, ...], laws: int, derived: int) -> None:
    """One field only: every redundant direction is conserved, also the rotations."""
    found = lw.parameter_count(mlp(*widths))
    assert consistent(found)
    assert found.dimension == 1 and found.brackets == 0 and found.unexplained == 0
    assert (found.laws, found.derived, found.accidental) == (laws, derived, laws - derived)


def test_cross_entropy_does_not_see_a_shift() -> None:
    plain, blind = (
        lw.parameter_count(mlp(2, 3, 3, act=b.ReLU(), bias=True), loss) for loss in ("mse", "cross_entropy")
    )
    assert consistent(plain) and consistent(blind)
    assert plain.dimension - blind.dimension == blind.laws - plain.laws == 4
    assert {f.kind for f in blind.families if f.gauge} == {"balance", "shift"}


def test_one_matrix_used_twice() -> None:
    """`B M M A`: the neighbours can absorb any change of M, which is no gauge of constant matrices and no law."""
    shared = b.Linear(3, 3, False)
    found = lw.parameter_count(lw.Architecture(b.Linear(4, 3, False) >> shared >> shared >> b.Linear(3, 4, False)))
    assert consistent(found)
    assert found.dimension == 3 * (4 + 4 - 3)
    assert (found.gauge, found.unexplained, found.laws) == (10, 8, 7)
    assert any(n.startswith("no law of this network is missing") for n in found.notes)


@pytest.mark.parametrize("known", networks.known_counts()[:8], ids=lambda k: k.name)
def test_known_counts(known: networks.Known) -> None:
    found = lw.parameter_count(known.arch, known.loss)
    assert consistent(found)
    assert found.laws == found.derived == known.laws
    assert found.unexplained == 0


def test_float_and_exact_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from lawful.theory.oracle.exact.program import NotPolynomialError

    arch, count = mlp(3, 2, 3, 2, bias=True), parameters.count
    exact = lw.parameter_count(arch)

    def refused(*args: object, **options: object) -> object:
        if options.pop("exact", False):
            raise NotPolynomialError("not here")
        return count(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(parameters, "count", refused)
    rounded = lw.parameter_count(arch)
    assert "float64" in rounded.method and 1e8 < rounded.gap < float("inf")
    assert dataclasses.replace(rounded, method=exact.method, gap=exact.gap) == exact


def test_modules_are_traced() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    found = lw.parameter_count(module, args=(torch.randn(5, 3),))
    assert consistent(found)
    assert (found.parameters, found.dimension, found.gauge) == (26, 22, 4)


def test_attention_of_torch() -> None:
    """One matrix for queries, keys and values, which is cut: rotations stop there, shifts do not."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mha = nn.MultiheadAttention(2, 1, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mha(x, x, x, need_weights=False)[0]

    found = lw.parameter_count(Attention(), args=(torch.randn(2, 3, 2),))
    assert consistent(found)
    assert {f.kind: f.gauge for f in found.families} == {"balance": 3, "frozen": 2, "translation": 2}
    assert found.laws == found.derived == 8
    assert found.unexplained == 2 and "split" in " ".join(found.notes)


@pytest.mark.parametrize(("padding", "shifts"), [(0, 2), (1, 0)])
def test_zero_padding_sees_a_shift(padding: int, shifts: int) -> None:
    net = b.Conv1d(2, 2, 2) >> b.Conv1d(2, 2, 3, padding=padding)
    found = lw.parameter_count(lw.Architecture(net, input=b.Signal(2, (6,), channels_first=True)))
    assert consistent(found) and found.unexplained == 0
    assert sum(f.gauge for f in found.families if f.kind == "translation") == shifts


def test_what_is_printed() -> None:
    text = str(lw.parameter_count(mlp(3, 2, 3)))
    lines = [line.split() for line in text.splitlines()]
    assert "dimension of the function space 8 rank W_0".split() in lines
    assert "redundant directions without a law 1 dim Lie - rank W_0".split() in lines
    assert ["balance", "of", "fc0", "3", "3"] in lines
    assert ["rotations", "of", "fc0", "1", "0"] in lines
    assert "holds: lie algebra modulo" in text


def test_a_false_law_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A direction that changes the function is no gauge, whatever its dimension."""
    tangents = parameters.tangents

    def corrupted(arch, laws, loss, layout, values):
        found, notes = tangents(arch, laws, loss, layout, values)
        false = corruptions(laws[0])[1]
        rows = torch.func.jacrev(lambda t: false.value(values | layout.split(t)).reshape(-1))(layout.flatten(values))
        return [Tangents(false.name, false.kind, false.parameters, rows), *found[1:]], notes

    monkeypatch.setattr(parameters, "tangents", corrupted)
    assert lw.parameter_count(mlp(3, 2, 3)).verdict is Verdict.VIOLATED


def test_a_network_that_does_not_move_is_vacuous() -> None:
    found = lw.parameter_count(lw.Architecture(b.Linear(2, 1) >> b.LayerNormCore(1), input=b.Signal(2)))
    assert found.verdict is Verdict.VACUOUS
    assert found.dimension == 0 and found.laws == found.gauge == found.fibre == 3


def test_a_frozen_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        lw.parameter_count(lw.Architecture(b.frozen(b.Linear(2, 2))))


def test_progress_is_told() -> None:
    lines: list[str] = []
    lw.parameter_count(mlp(2, 3, 2), progress=lines.append)
    assert lines[0] == "deriving" and lines[-1] == "moving along every gauge"
    assert any(line.startswith("counting: level 1 of brackets") for line in lines)
