"""A law's formula, read as mathematics, gives the law's value."""

import itertools
import math
from fractions import Fraction

import pytest
import sympy as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy.matrices.expressions.matexpr import MatrixElement

from lawful import blocks as b
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.derive import derive
from lawful.testing.strategies import architectures
from lawful.theory.gauge.contract import View
from lawful.theory.laws.formulas import MAX_TERMS, arrays, formula, indices, latex, text
from lawful.theory.laws.law import Law
from lawful.theory.laws.statement import Part, Term


def linear(features: int, width: int, bias: bool = False) -> b.Linear:
    return b.Linear(features, width, bias)


def relu(*widths: int, bias: bool = False) -> b.Net:
    first, *others = [linear(m, n, bias) for m, n in itertools.pairwise(widths)]
    net: b.Net = first
    for layer in others:
        net = net >> b.ReLU() >> layer
    return net


def tokens(width: int, length: int = 3) -> b.Signal:
    return b.Signal(width, (length,))


CONV = b.Conv1d(2, 4, 3, groups=2, bias=False)
NETWORKS: dict[str, tuple[b.Net, dict]] = {
    "two linear maps": (linear(3, 2, True) >> linear(2, 3), {}),
    "relu with bias": (relu(3, 4, 2, bias=True), {}),
    "stream": (linear(3, 2, True) >> b.residual(relu(2, 2, 2, bias=True)) >> linear(2, 3), {}),
    "attention": (b.SelfAttention(3, 1, 0, 2, True), {"input": tokens(3)}),
    "heads": (b.SelfAttention(4, 2, 0, 2), {"input": tokens(4)}),
    "grouped queries": (b.SelfAttention(3, 4, 2, 2), {"input": tokens(3)}),
    "rotary": (b.SelfAttention(3, 2, 0, 4, rotary=100.0), {"input": tokens(3)}),
    "linear attention": (b.SelfAttention(2, 1, 0, 2, scores="linear"), {"input": tokens(2)}),
    "ReLU squared": (linear(2, 3) >> b.ReLU(0.0, 2) >> linear(3, 2), {}),
    "layer norm": (linear(3, 4, True) >> b.LayerNorm(4, epsilon=0.0) >> linear(4, 2, True), {}),
    "core": (linear(3, 4, True) >> b.LayerNormCore(4, 0.0) >> linear(4, 2), {}),
    "group norm": (linear(3, 6, True) >> b.GroupNormCore(6, 2, 0.0) >> linear(6, 2), {}),
    "rms norm": (linear(3, 4) >> b.RMSNorm(4, epsilon=0.0) >> linear(4, 2), {}),
    "batch norm": (linear(2, 3, True) >> b.BatchNorm(3, epsilon=0.0) >> b.ReLU() >> linear(3, 2), {}),
    "recurrent": (b.Recurrent(2, 3, 3) >> linear(3, 2), {"input": tokens(2)}),
    "experts": (b.MixtureOfExperts(2, [relu(2, 2, 2), relu(2, 2, 2)]), {"input": b.Signal(2)}),
    "low rank": (b.parallel(linear(3, 2) >> linear(2, 2), b.frozen(linear(3, 2))), {"input": b.Signal(3)}),
    "two low ranks": (b.parallel(linear(3, 2) >> linear(2, 3), linear(3, 2) >> linear(2, 3)), {"input": b.Signal(3)}),
    "convolutions": (b.Conv1d(1, 2, 3) >> b.ReLU() >> b.Conv1d(2, 2, 3, bias=False), {"space": (6,)}),
    "grouped convolution": (
        b.Conv1d(1, 2, 3, bias=False) >> b.ReLU() >> CONV >> b.ReLU() >> b.Conv1d(4, 2, 1),
        {"space": (9,)},
    ),
    "linear convolutions": (b.Conv1d(2, 3, 1) >> b.Conv1d(3, 2, 2, bias=False), {"space": (6,)}),
    "convolution before a norm": (
        b.Conv1d(2, 4, 2) >> b.GroupNormCore(4, 1, 0.0) >> b.Conv1d(4, 2, 1),
        {"space": (6,)},
    ),
    "flatten": (b.Conv1d(2, 3, 2) >> b.ReLU() >> b.Flatten() >> linear(9, 2), {"space": (4,)}),
    "concat": (
        relu(2, 3, 3) >> b.parallel(linear(3, 2), relu(3, 2, 2), join=b.Concat()) >> b.ReLU() >> linear(4, 2),
        {},
    ),
    "positions": (b.Embedding(4, 3) >> b.LearnedPosition(3, 3) >> b.SelfAttention(3, 1), {"space": (3,)}),
    "class token": (
        linear(2, 3, True) >> b.ClassToken(3) >> b.LearnedPosition(4, 3) >> b.SelfAttention(3, 1),
        {"input": tokens(2)},
    ),
    "linear skip": (linear(2, 3) >> b.residual(linear(3, 3)) >> linear(3, 2), {}),
    "skip of convolutions": (
        b.Conv1d(1, 2, 2) >> b.residual(b.Conv1d(2, 2, 3, padding=1)) >> b.Conv1d(2, 2, 1),
        {"space": (6,)},
    ),
    "shared frequencies": (
        b.SelfAttention(3, 1, 0, 8, rotary=10.0, shared=2, bias=True),
        {"input": tokens(3)},
    ),
    "shared frequencies, neighbours": (
        b.SelfAttention(3, 2, 0, 6, rotary=10.0, shared=3, interleaved=True),
        {"input": tokens(3)},
    ),
    "partial rotary": (b.SelfAttention(3, 2, 0, 3, rotary=10.0, rotated=2), {"input": tokens(3)}),
    "query norms": (b.SelfAttention(3, 2, 0, 4, rotary=10.0, qk_norm="rms", epsilon=0.0), {"input": tokens(3)}),
    "bilinear": (b.parallel(linear(3, 2), linear(3, 2), join=b.Bilinear(2, 2, 2)), {"input": b.Signal(3)}),
    "spectral norm": (b.SpectralLinear(3, 2) >> linear(2, 3), {}),  # found by the nightly run: one row of six numbers
    "weight norm": (linear(3, 3) >> b.WeightNormLinear(3, 2), {}),
    "token mixing": (linear(2, 3) >> b.TokenMLP(3, 2, "relu") >> b.LayerNorm(3, epsilon=0.0), {"input": tokens(2)}),
    "tied table": ((table := b.Embedding(4, 3)) >> b.residual(relu(3, 2, 3)) >> b.TiedHead(table), {"space": (3,)}),
}


def number(expression: sp.Expr, at: dict[sp.Symbol, int], dense: dict[str, list[list[float]]]) -> float:
    """The value of an entry; `doit` gives the same and takes minutes."""
    if isinstance(expression, sp.Sum):
        *inner, (index, low, high) = expression.limits
        body = sp.Sum(expression.function, *inner) if inner else expression.function
        return sum(number(body, {**at, index: value}, dense) for value in range(int(low), int(high) + 1))
    if isinstance(expression, MatrixElement):
        parent, *place = expression.args
        row, column = (round(number(sp.sympify(p), at, dense)) for p in place)
        return dense[parent.name][row][column]
    if isinstance(expression, sp.Symbol):
        return at[expression]
    if isinstance(expression, sp.KroneckerDelta):
        return float(at[expression.args[0]] == at[expression.args[1]])
    values = [number(a, at, dense) for a in expression.args]
    if isinstance(expression, sp.Add):
        return sum(values)
    if isinstance(expression, sp.Mul):
        return math.prod(values)
    if isinstance(expression, sp.Pow):
        return values[0] ** values[1]
    assert isinstance(expression, sp.Number), f"an entry has a {type(expression).__name__}"
    return float(expression)


def numeric(law: Law, params: dict[str, torch.Tensor]) -> torch.Tensor:
    """The formula at numbers, with the scalars in the order of the law's value."""
    dense = {k: v.tolist() for k, v in arrays(law, params).items()}
    parts = law.formula.args if isinstance(law.formula, sp.Tuple) else (law.formula,)
    out: list[float] = []
    for part in parts:
        if isinstance(part, sp.MatrixExpr):
            symbols = {s: sp.ImmutableDenseMatrix(dense[s.name]) for s in part.atoms(sp.MatrixSymbol)}
            out += [float(x) for x in sp.ImmutableDenseMatrix(part.xreplace(symbols).doit())]
            continue
        assert {s for s in part.free_symbols if not isinstance(s, sp.MatrixSymbol)} <= {s for s, _ in indices(law)}
        for values in itertools.product(*(range(n) for _, n in indices(law))):
            out.append(number(part, {s: v for (s, _), v in zip(indices(law), values, strict=True)}, dense))
    result = torch.tensor(out, dtype=torch.float64)
    return result.reshape(2, -1).T.reshape(-1) if len(parts) == 2 else result


def check(arch: Architecture, loss: str) -> list[Law]:
    params = arch.random_parameters(torch.Generator().manual_seed(0))
    laws = list(derive(arch, loss))
    for law in laws:
        value = law.value(params)
        torch.testing.assert_close(numeric(law, params), value.reshape(-1), msg=lambda m, law=law: f"{law.text}: {m}")
    return laws


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_formula_gives_the_value(name: str, loss: str) -> None:
    net, options = NETWORKS[name]
    laws = check(Architecture(net, **options), loss)
    assert laws
    for law in laws:
        assert text(law) and latex(law).count("{") == latex(law).count("}")


def is_small(arch: Architecture) -> bool:
    return sum(p.size for p in arch.parameters.values()) < 60


@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(architectures().filter(is_small), st.sampled_from(["mse", "cross_entropy"]))
def test_the_formula_gives_the_value_of_random_laws(arch: Architecture, loss: str) -> None:
    check(arch, loss)


SYNTHETIC = [
    ("balance", (3,), (0,), ("pair",)),
    ("balance", (3,), (0,), ("centred",)),
    ("balance", (2, 3), (0, 1), ("free", "centred")),
    ("balance", (2, 3), (0, 1), ("traceless", "pair")),
    ("balance", (2, 3), (-1, 1), ("matrix",)),
    ("balance", (2, 3), (0, -1), ("traceless",)),
    *(("balance", (4,), (0,), (f"sectors:{kinds}",)) for kinds in ("cdo", "jo", "x", "cx", "dj")),
    ("balance", (2, 3), (0, 1), ("free", "sectors:o")),
    ("shift", (2, 3), (0, 1), ("free", "traceless")),
]


@pytest.mark.parametrize(("kind", "dims", "axes", "axis_kinds"), SYNTHETIC)
@pytest.mark.parametrize("start", [0, 1])
def test_every_kind_of_axis(kind: str, dims: tuple, axes: tuple, axis_kinds: tuple, start: int) -> None:
    """Also those that few networks have; the law reads rows `start` to `start + size` of two parameters."""
    size = math.prod(dims)
    rows = size + 2 * start
    slices = ((start, start + size),)
    views = [View((rows, 2), (0, 1)), View((3, rows, 2), (1, 0, 2))]
    if kind == "shift":
        views[1] = View((rows, 3), (0, 1))
    terms = tuple(
        Term(Fraction(c), Part(name, view, (rows,), slices, dims, axes))
        for c, name, view in zip((2, -1), "ab", views, strict=True)
    )
    if kind == "shift":
        terms = terms[:1]
    law = Law("h", kind, "w", "?", 1, 1, True, (), axis_kinds, terms, (), lambda law: None)  # type: ignore[arg-type, return-value]
    generator = torch.Generator().manual_seed(1)
    params = {
        n: torch.randn(v.shape, generator=generator, dtype=torch.float64) for n, v in zip("ab", views, strict=True)
    }
    torch.testing.assert_close(numeric(law, params), law.value(params).reshape(-1))
    assert text(law) and latex(law)


def test_a_scalar_off_the_diagonal() -> None:
    part = Part("a", View((3, 2), (0, 1)), (3,), ((0, 3),), (3,), (0,))
    law = Law(
        "h",
        "balance",
        "w",
        "?",
        1,
        1,
        True,
        (),
        (),
        (Term(Fraction(1), part, off_diagonal=True),),
        (),
        lambda law: None,
    )  # type: ignore[arg-type, return-value]
    params = {"a": torch.arange(6.0, dtype=torch.float64).reshape(3, 2)}
    torch.testing.assert_close(numeric(law, params), law.value(params).reshape(-1))
    assert law.text == "(‖1ᵀ a‖² - ‖a‖²)"


def law_of(net: b.Net, name: str, loss: str = "mse", **options) -> Law:
    return derive(Architecture(net, **options), loss)[name]


def test_two_linear_maps_read_as_in_the_papers() -> None:
    law = law_of(b.chain(V=linear(3, 2), U=linear(2, 3)), "balance of V")
    v, u = sp.MatrixSymbol("V.weight", 2, 3), sp.MatrixSymbol("U.weight", 3, 2)
    assert law.formula == v * v.T - u.T * u
    assert law.text == "V.weight @ V.weight.T - U.weight.T @ U.weight"
    assert law.latex == r"W_{\mathrm{V}} W_{\mathrm{V}}^\top - W_{\mathrm{U}}^\top W_{\mathrm{U}}"


def test_a_hidden_unit_reads_as_norms() -> None:
    law = law_of(b.chain(W=linear(3, 4, True), relu=b.ReLU(), V=linear(4, 2)), "balance of W")
    assert law.text == "‖W.weight[i,:]‖² + W.bias[i]² - ‖V.weight[:,i]‖²"
    i, r = (sp.Symbol(s, integer=True, nonnegative=True) for s in "ir")
    w, v = sp.MatrixSymbol("W.weight", 4, 3), sp.MatrixSymbol("V.weight", 2, 4)
    bias = sp.MatrixSymbol("W.bias", 4, 1)
    assert law.formula == sp.Sum(w[i, r] ** 2, (r, 0, 2)) + bias[i, 0] ** 2 - sp.Sum(v[r, i] ** 2, (r, 0, 1))


def test_sums_over_rows_and_frozen_parameters_are_named() -> None:
    core = b.chain(U=linear(3, 4), norm=b.LayerNormCore(4, 0.0), V=linear(4, 2))
    assert law_of(core, "shift U.weight").text == "1ᵀ U.weight"
    assert law_of(core, "shift V.weight").text == "V.weight 1"
    assert law_of(core, "balance of U").text == "‖U.weight‖²"
    attention = b.SelfAttention(3, 1, 0, 2, True)
    frozen = law_of(attention, "frozen heads.k.bias", input=tokens(3))
    assert (frozen.text, frozen.formula) == ("heads.k.bias", sp.MatrixSymbol("heads.k.bias", 2, 1))


def many_terms(count: int, kind: str = "balance") -> Law:
    axes = (0,)
    parts = [Part(f"p{i}", View((2, 3), (0, 1)), (2,), ((0, 2),), (2,), axes) for i in range(count)]
    terms = tuple(Term(Fraction(1), p) for p in parts)
    return Law("stream", kind, "w", "Full(2)", 3, 3, True, (2, 2), ("matrix",), terms, (), lambda law: None)  # type: ignore[arg-type, return-value]


def test_long_sums_are_whole_and_cut_in_their_short_forms_only() -> None:
    law = many_terms(43)
    assert text(law).endswith("+ p42 @ p42.T") and latex(law).count("+") == 42
    assert law.short.endswith("+ p5 @ p5.T + ... (37 more)")
    assert law.short_latex.endswith(r"+ \cdots \; (37\text{ more})")
    assert len(formula(law).atoms(sp.MatrixSymbol)) == 43
    longer = formula(many_terms(MAX_TERMS + 3))
    assert sp.MatrixSymbol("(3 more terms)", 2, 2) in longer.atoms(sp.MatrixSymbol)
    assert len(longer.atoms(sp.MatrixSymbol)) == MAX_TERMS + 1
