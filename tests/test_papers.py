"""Every row of the papers that is about an architecture: the papers' formula, the engine and the oracle agree."""

from fractions import Fraction

import pytest
import sympy as sp
import torch

from lawful import blocks as b
from lawful.graph import families
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import verify
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.graph.questions.fields import fields_of
from lawful.theory.oracle.counting import count_fields
from lawful.theory.verdict import Verdict


def linear(m: int, n: int, bias: bool = False) -> b.Linear:
    return b.Linear(m, n, bias)


def tokens(n: int, length: int = 3) -> b.Signal:
    return b.Signal(n, (length,))


def full(n: int, vectors: int) -> int:
    """Independent scalars of a symmetric matrix on `n` features with so many vectors (marcotte2023)."""
    r = min(n, vectors)
    return r * (2 * n + 1 - r) // 2


def deep(widths: list[int]) -> int:
    return sum(full(n, widths[i] + widths[i + 2]) for i, n in enumerate(widths[1:-1]))


def relu_mlp(*widths: int, bias: bool = False) -> Architecture:
    return families.mlp(widths, "relu", bias)


def experts(router: b.Router, n: int, hidden: int, bias: bool = False) -> b.Net:
    def one() -> b.Net:
        return b.chain(up=linear(3, hidden), act=b.LeakyReLU(0.3), down=linear(hidden, 2))

    return b.MixtureOfExperts(3, [one() for _ in range(n)], router=router, bias=bias)


def gelu_mlp() -> b.Net:
    return linear(2, 3, True) >> b.GELU() >> linear(3, 2, True)


ROWS: dict[str, tuple] = {
    # name: (net, laws by the paper's formula, options of Architecture, loss)
    "marcotte2023: two linear maps, 3-2-3": (linear(3, 2) >> linear(2, 3), full(2, 6), {}, "mse"),
    "marcotte2023: two linear maps, 2-4-1": (linear(2, 4) >> linear(4, 1), full(4, 3), {}, "mse"),
    "marcotte2023: deep linear 2-3-4-2": (families.mlp([2, 3, 4, 2], "linear", False), deep([2, 3, 4, 2]), {}, "mse"),
    "marcotte2023: deep linear 3-2-2-3": (families.mlp([3, 2, 2, 3], "linear", False), deep([3, 2, 2, 3]), {}, "mse"),
    "marcotte2023: two-layer ReLU": (relu_mlp(2, 4, 2), 4, {}, "mse"),
    "marcotte2023: two-layer ReLU with biases": (relu_mlp(2, 4, 2, bias=True), 4, {}, "mse"),
    "deep ReLU": (relu_mlp(2, 3, 4, 2), 7, {}, "mse"),
    "ReLU on a graph": (
        linear(2, 3)
        >> b.ReLU()
        >> b.parallel(linear(3, 2), linear(3, 2) >> b.ReLU(), join=b.Concat())
        >> b.ReLU()
        >> linear(4, 2),
        3 + 4,
        {},
        "mse",
    ),
    "marcotte2025 thm 3.6: ReLU convolutions": (
        b.Conv2d(2, 3, 2, bias=False) >> b.ReLU() >> b.Conv2d(3, 2, 2, bias=False),
        3,
        {"space": (3, 3)},
        "mse",
    ),
    "marcotte2025 prop 3.2: a residual branch alone": (
        b.residual(linear(3, 2) >> b.ReLU() >> linear(2, 3)),
        2,
        {"input": b.Signal(3)},
        "mse",
    ),
    "marcotte2025 cor 3.9: one head": (b.SelfAttention(3, 1, 0, 2), 2 * 3, {"input": tokens(3)}, "mse"),
    "tran2026 thm 4.3: two heads": (b.SelfAttention(4, 2, 0, 2), 2 * 2 * 3, {"input": tokens(4)}, "mse"),
    "grouped queries": (b.SelfAttention(3, 4, 2, 2), 2 * 2 * 3, {"input": tokens(3)}, "mse"),
    "tran2026 thm 4.4: rotary": (
        b.SelfAttention(4, 2, 0, 4, rotary=10.0),
        2 * (2 + 10),
        {"input": tokens(4)},
        "mse",
    ),
    "rotary, two planes of one frequency": (
        b.SelfAttention(4, 1, 0, 4, rotary=10.0, shared=2),
        2**2 + 10,
        {"input": tokens(4)},
        "mse",
    ),
    "rotary, three planes of one frequency": (
        b.SelfAttention(4, 1, 0, 6, rotary=10.0, shared=3),
        3**2 + full(6, 8),
        {"input": tokens(4)},
        "mse",
    ),
    "rotary, two frequencies of two planes": (
        b.parallel(
            b.chain(proj=linear(4, 8), rotary=b.Rotary(base=10.0, shared=2)),
            b.chain(proj=linear(4, 8), rotary=b.Rotary(base=10.0, shared=2)),
            linear(4, 2),
            join=b.DotProductAttention(),
        ),
        2 * 2**2,
        {"input": tokens(4)},
        "mse",
    ),
    "tran2026 thm 4.1: GELU MLP": (gelu_mlp(), 0, {}, "mse"),
    "tran2026 thm 4.2: SwiGLU": (b.SwiGLU(2, 3), 3, {"input": b.Signal(2)}, "mse"),
    "tran2026 thm 4.5: dense softmax router": (experts(b.Router(), 3, 2), 3 * 2 + 3, {"input": b.Signal(3)}, "mse"),
    "tran2026 thm 4.6: top-2 renormalised": (
        experts(b.Router(top=2), 3, 2),
        3 * 2 + 3,
        {"input": b.Signal(3)},
        "mse",
    ),
    "top-2, not renormalised": (
        experts(b.Router(top=2, renormalise=False), 3, 2),
        3 * 2 + 3,
        {"input": b.Signal(3)},
        "mse",
    ),
    "top-1 renormalised: the router is frozen": (
        experts(b.Router(top=1), 3, 2),
        3 * 2 + 3 * 3,
        {"input": b.Signal(3)},
        "mse",
    ),
    "normalised sigmoid: experts only": (
        experts(b.Router("normalised_sigmoid"), 3, 2),
        3 * 2,
        {"input": b.Signal(3)},
        "mse",
    ),
    "plain sigmoid: experts only": (experts(b.Router("sigmoid"), 3, 2), 3 * 2, {"input": b.Signal(3)}, "mse"),
    "marcotte2025 prop 3.11: softmax classifier": (linear(3, 4), 3, {}, "cross_entropy"),
    "softmax classifier with a bias": (linear(3, 4, True), 4, {}, "cross_entropy"),
    "polynomial activation of degree 3": (linear(2, 3) >> b.Power(3) >> linear(3, 2), 3, {}, "mse"),
    "marcotte2025 thm 4.7: two residual blocks, nothing straddles": (
        b.repeat([b.residual(linear(3, 2) >> b.ReLU() >> linear(2, 3)) for _ in range(2)]),
        4,
        {"input": b.Signal(3)},
        "mse",
    ),
    "kunin2021 thm 1, scale: BatchNorm": (
        linear(2, 3) >> b.BatchNorm(3, False, False, 0.0) >> b.GELU() >> linear(3, 2),
        3,
        {},
        "mse",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_papers_formula_is_the_engines_number_and_the_oracles(name):
    net, expected, options, loss = ROWS[name]
    arch = net if isinstance(net, Architecture) else Architecture(net, **options)
    laws = derive(arch, loss)
    assert laws.independent == expected
    assert not laws.notes
    oracle = count(arch, loss)
    assert oracle.verdict is Verdict.HOLDS
    assert oracle.laws == expected
    if len(laws):
        assert verify(arch, laws).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("widths", "oracle"), [((1, 2, 2, 1), 7), ((1, 3, 3, 1), 14), ((1, 2, 2, 2, 1), 11), ((1, 2, 3, 1), 10)]
)
def test_chains_from_one_number_to_one_number_have_accidental_laws_and_say_so(widths, oracle):
    """Only one function of the data is left, so fewer vector fields than the formula of the layers counts."""
    arch = families.mlp(widths, "linear", False)
    laws = derive(arch)
    assert laws.independent == deep(list(widths)) < oracle
    assert count(arch).laws == oracle
    assert any("from one number to one number" in note for note in laws.notes)
    wide = families.mlp((2, *widths[1:]), "linear", False)  # two inputs: nothing is left over
    assert not derive(wide).notes
    assert derive(wide).independent == count(wide).laws


def test_two_scalar_residual_blocks_have_a_third_law_where_all_signs_agree():
    """marcotte2025, example 4.8: on one side of zero the network is a single product (1 + u1 v1)(1 + u2 v2) x."""
    block = b.residual(linear(1, 1) >> b.ReLU() >> linear(1, 1))
    arch = Architecture(b.repeat([block, b.residual(linear(1, 1) >> b.ReLU() >> linear(1, 1))]), input=b.Signal(1))
    laws = derive(arch)
    assert laws.independent == count(arch).laws == 2  # those that hold for all parameters
    module = arch.to_torch().double()
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(3.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 1, dtype=torch.float64)
    potential, point, sample = fields_of(module, "mse", generator, args=(x,))  # at one point, near the module's own
    assert bool((point > 0).all())
    found = count_fields(potential, point, sample)
    assert (found.laws, found.verdict) == (3, Verdict.HOLDS)
    assert count(module, args=(x,)).laws == 2  # at other points signs differ


def test_a_normalised_sigmoid_router_has_no_law_by_exact_arithmetic():
    """tran2026, theorem 4.7 claims that column sums are conserved; here their derivative is 9/250.

    Two experts that give 0 and 1, x = e1, logits 0 and ln 3, y = 0, loss (f - y)^2 / 2.
    """
    z = sp.symbols("z1:3", real=True)
    gates = [1 / (1 + sp.exp(-t)) for t in z]
    output = sum(g * f for g, f in zip(gates, (0, 1), strict=True)) / sum(gates)
    loss = output**2 / 2
    at = {z[0]: 0, z[1]: sp.log(3)}
    # With x = e1 the entries theta_i1 are the logits, and the column sum moves by minus the sum of these derivatives.
    derivative = -sum(sp.diff(loss, t).subs(at) for t in z)
    assert Fraction(*sp.nsimplify(sp.simplify(derivative)).as_numer_denom()) in (Fraction(9, 250), Fraction(-9, 250))


def test_the_column_sums_of_a_softmax_router_fail_on_a_sigmoid_router():
    softmax = Architecture(experts(b.Router(), 3, 2), input=b.Signal(3))
    sigmoid = Architecture(experts(b.Router("normalised_sigmoid"), 3, 2), input=b.Signal(3))
    sums = derive(softmax).where(kind="shift")
    assert sums.independent == 3
    assert verify(softmax, sums).verdict is Verdict.HOLDS
    assert verify(sigmoid, sums).verdict is Verdict.VIOLATED


@pytest.mark.parametrize("depth", [1, 3])
def test_the_laws_of_a_block_are_those_of_the_block_alone(depth):
    """marcotte2025, theorem 4.6, on residual ReLU blocks and on transformer layers."""

    def resnet(n: int) -> b.Net:
        return b.repeat([b.residual(b.chain(up=linear(3, 2), act=b.ReLU(), down=linear(2, 3))) for _ in range(n)])

    deep_laws = derive(Architecture(resnet(depth), input=b.Signal(3))).on("0.")
    assert deep_laws.independent == derive(Architecture(resnet(1), input=b.Signal(3))).independent == 2

    def transformer(n: int) -> b.Net:
        return b.repeat([b.residual(b.SelfAttention(4, 2, 0, 2)) for _ in range(n)])

    laws = derive(Architecture(transformer(depth), input=tokens(4)))
    assert laws.on("0.").independent == 2 * 2 * 3
    assert all(len({p.split(".")[0] for p in law.parameters}) == 1 for law in laws)  # nothing straddles a junction


def test_the_symmetries_of_a_vgg_with_batch_norm():
    """kunin2021, theorem 1: translation in the last layer, scale before BatchNorm, rescale between ReLU layers."""
    plain = derive(families.vgg11(width=8, hidden=16, classes=10), "cross_entropy")
    assert any(law.kind == "balance" and "Diagonal" in law.algebra for law in plain)
    assert any(law.kind == "shift" and "classifier" in law.wire for law in plain)
    normed = derive(families.vgg11(width=8, hidden=16, classes=10, batch_norm=True), "cross_entropy")
    scales = [w for w in normed if w.kind == "balance" and len({p.rpartition(".")[0] for p in w.parameters}) == 1]
    assert len(scales) == 8  # one for every convolution
    assert any(law.kind == "frozen" for law in normed)  # a bias before BatchNorm
