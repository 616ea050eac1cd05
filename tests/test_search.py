"""The search for polynomial laws: against the papers' formulas, a dense nullspace over Q, and laws that are false.

This file is long because laws of papers, true and false ones, are written out.
"""

from itertools import combinations_with_replacement
from math import comb

import numpy as np
import pytest
import sympy as sp
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from sympy.abc import a, d, x, y, z

from lawful.theory.search import ExactFields, SympyFields, confirm, parities_hold, search_laws
from lawful.theory.search.family import primes
from lawful.theory.search.grading import Grading, classes
from lawful.theory.search.kernel import Kernel, kernels, rational
from lawful.theory.search.monomials import all_monomials, number_of_monomials
from lawful.theory.search.sparse import sparsified


class Chain:
    """Loss gradients of a chain of linear layers, with free gates between them if `relu`; a fake `ExactFields`."""

    def __init__(self, widths, relu=False, bias=False, binary=False):
        self.widths, self.relu, self.binary = widths, relu, binary
        self.shapes = list(zip(widths[1:], widths, strict=False))
        self.biased = [bias and layer < len(self.shapes) - 1 for layer in range(len(self.shapes))]
        offset = np.cumsum([0, *widths]).tolist()  # a sign flip per input, neuron and output
        names, self.masks = [], []
        for layer, (n, m) in enumerate(self.shapes):
            for i in range(n):
                out = 1 << (offset[layer + 1] + i)
                names += [f"fc{layer}.weight[{i},{j}]" for j in range(m)]
                self.masks += [out | 1 << (offset[layer] + j) for j in range(m)]
            if self.biased[layer]:
                names += [f"fc{layer}.bias[{i}]" for i in range(n)]
                self.masks += [1 << (offset[layer + 1] + i) for i in range(n)]
        self.variables = tuple(names)
        self.field_degree = 3 * len(widths)

    def parities(self):
        return self.masks

    def values(self, theta, p, rng):
        samples, start, weights, biases = len(theta), 0, [], []
        for (n, m), biased in zip(self.shapes, self.biased, strict=True):
            weights.append(theta[:, start : start + n * m].reshape(samples, n, m))
            start += n * m
            biases.append(theta[:, start : start + n] if biased else 0)
            start += n if biased else 0
        inputs, gates = [rng.integers(0, p, (samples, self.widths[0]))], []
        for w, bias in zip(weights[:-1], biases, strict=False):
            out = ((w * inputs[-1][:, None] % p).sum(-1) + bias) % p
            gates.append(rng.integers(0, 2 if self.binary else p, out.shape) if self.relu else np.ones_like(out))
            inputs.append(out * gates[-1] % p)
        back, found = rng.integers(0, p, (samples, self.widths[-1])), []
        for layer in reversed(range(len(weights))):
            found += [back] if self.biased[layer] else []
            found.append((back[:, :, None] * inputs[layer][:, None] % p).reshape(samples, -1))
            if layer:
                back = (weights[layer] * back[:, :, None] % p).sum(1) % p * gates[layer - 1] % p
        return np.concatenate(found[::-1], axis=1)


class Ungraded(Chain):
    def parities(self):
        return [0] * len(self.variables)


def linear_count(widths):
    ranks = [(n, min(n, left + right)) for left, n, right in zip(widths, widths[1:], widths[2:], strict=False)]
    return sum(r * (2 * n + 1 - r) // 2 for n, r in ranks)


def two_layers(n, r, m):
    """The gradient of `w^T U V^T x`, U n x r and V m x r, with symbols for the data."""
    u = sp.Matrix(n, r, lambda i, j: sp.Symbol(f"u{i}{j}"))
    v = sp.Matrix(m, r, lambda i, j: sp.Symbol(f"v{i}{j}"))
    left, right = sp.Matrix(sp.symbols(f"w:{n}")), sp.Matrix(sp.symbols(f"x:{m}"))
    theta = [*u, *v]
    g = sp.expand((left.T * u * v.T * right)[0])
    return [[sp.diff(g, t) for t in theta]], theta, u, v


def dense_kernel(fields, variables, degree):
    """The plain algorithm: one dense linear system for all monomials, solved by sympy."""
    rows = [m for k in range(1, degree + 1) for m in combinations_with_replacement(variables, k)]
    monomials = [sp.Mul(*m) for m in rows]
    unknowns = sp.symbols(f"c:{len(monomials)}")
    generic = sum(c * m for c, m in zip(unknowns, monomials, strict=True))
    symbols = sorted({s for f in fields for e in f for s in sp.sympify(e).free_symbols} | set(variables), key=str)
    equations = []
    for field in fields:
        slope = sum(sp.diff(generic, v) * e for v, e in zip(variables, field, strict=True))
        equations += sp.Poly(sp.expand(slope), *symbols).coeffs()
    system, _ = sp.linear_eq_to_matrix(equations, unknowns)
    return [sum(c * m for c, m in zip(vector, monomials, strict=True)) for vector in system.nullspace()]


def span(polynomials, variables):
    """The reduced echelon form of the coefficients, equal for equal spans."""
    rows = [sp.Poly(q, *variables).as_dict() for q in polynomials]
    columns = sorted({m for row in rows for m in row})
    matrix = sp.Matrix(len(rows), len(columns), lambda i, j: rows[i].get(columns[j], 0))
    return columns, matrix.rref()[0]


# --- laws of the papers ---------------------------------------------------------------------------------------------


def test_rotation() -> None:
    found = search_laws([[-y, x]], [x, y])
    assert found.laws == found.independent == (x**2 + y**2,)
    assert found.proved and found.error == 0.0 and found.count == 1
    assert "1 independent law;" in str(found) and "x**2 + y**2" in str(found)


@pytest.mark.parametrize(("n", "r", "m"), [(2, 2, 2), (1, 2, 3), (1, 3, 2), (3, 1, 2)])
def test_two_linear_layers_conserve_the_difference_of_gram_matrices(n: int, r: int, m: int) -> None:
    fields, theta, u, v = two_layers(n, r, m)
    found = search_laws(fields, theta)
    gram = u.T * u - v.T * v
    assert span(found.laws, theta) == span([gram[i, j] for i in range(r) for j in range(i, r)], theta)
    rank = min(n + m, r)
    assert found.proved and len(found.laws) == r * (r + 1) // 2 and found.count == rank * (2 * r + 1 - rank) // 2


def test_scalar_ends_conserve_minors_too() -> None:
    """One field, du = v and dv = u: beside the 6 differences there are 3 minors, and 5 laws in 6 variables."""
    fields, theta, u, v = two_layers(1, 3, 1)
    found = search_laws(fields, theta)
    differences = [u[i] * u[j] - v[i] * v[j] for i in range(3) for j in range(i, 3)]
    minors = [u[i] * v[j] - u[j] * v[i] for i in range(3) for j in range(i)]
    assert span(found.laws, theta) == span([*differences, *minors], theta) and found.count == 5


@pytest.mark.parametrize("widths", [(3, 2, 3), (2, 4, 1), (3, 3, 2, 3), (2, 3, 2, 3, 2)])
def test_deep_linear_chains(widths: tuple[int, ...]) -> None:
    found = search_laws(Chain(widths))
    assert found.count == linear_count(widths)
    assert len(found.laws) == sum(n * (n + 1) // 2 for n in widths[1:-1])
    assert not found.proved and 0 < found.error < 1e-100


@pytest.mark.parametrize(("widths", "bias"), [((3, 4, 2), True), ((2, 3, 3, 2), False), ((2, 2, 3, 2, 2), True)])
def test_relu_chains_conserve_one_balance_per_neuron(widths: tuple[int, ...], bias: bool) -> None:
    found = search_laws(Chain(widths, relu=True, bias=bias))
    assert found.count == len(found.laws) == sum(widths[1:-1])
    s = {str(v): v for v in found.symbols}
    for layer, (m, n, k) in enumerate(zip(widths, widths[1:], widths[2:], strict=False)):
        for i in range(n):
            law = sum(s[f"fc{layer}.weight[{i},{j}]"] ** 2 for j in range(m))
            law -= sum(s[f"fc{layer + 1}.weight[{j},{i}]"] ** 2 for j in range(k))
            assert law + (s[f"fc{layer}.bias[{i}]"] ** 2 if bias else 0) in found.laws  # as the papers print it


def test_gates_of_0_and_1_give_the_same_laws() -> None:
    """Rare patterns make the first kernels too large; the confirmation refuses them, and more equations repair it."""
    widths = (2, 3, 3, 3, 2)
    free, binary = (search_laws(Chain(widths, relu=True, binary=on)) for on in (False, True))
    assert free.laws == binary.laws and len(binary.primes) > len(free.primes) == 1


def test_scalar_ends_have_a_law_that_is_no_polynomial_of_low_degree() -> None:
    """(1, 2, 2, 1) has 7 laws; the polynomials up to degree 6 are the 6 known ones and their products."""
    found = search_laws(Chain((1, 2, 2, 1)), degree=6)
    assert found.count == 6
    assert len(found.polynomials) == comb(6, 1) + comb(7, 2) + comb(8, 3)


def test_a_large_network_at_degree_2() -> None:
    found = search_laws(Chain((9, 9, 9, 9, 9), relu=True, bias=True))
    assert len(found.variables) == 351 and found.count == len(found.polynomials) == 27
    assert found.monomials == number_of_monomials(351, 2) and max(map(len, found.polynomials)) == 19


# --- sympy fields ---------------------------------------------------------------------------------------------------


def test_data_symbols_are_separate_fields() -> None:
    both = search_laws([[d * y + x * a**2, d * x - y * a**2]], [x, y])
    assert both.laws == ()  # x^2 - y^2 holds for a = 0 only, x y for d = 0 only
    assert search_laws([[d * y, d * x]], [x, y]).laws == (x**2 - y**2,)
    assert search_laws([[a * x, -a * y]], [x, y]).laws == (x * y,)


def test_no_law() -> None:
    found = search_laws([[x, y]], [x, y], degree=4)
    assert found.laws == found.independent == () and found.count == 0 and found.proved


def test_a_law_of_degree_3() -> None:
    law = x**3 + 2 * x * y * z - 5 * z
    rows = [sp.diff(law, v) for v in (x, y, z)]
    cross = [[0, rows[2], -rows[1]], [-rows[2], 0, rows[0]], [rows[1], -rows[0], 0]]
    assert search_laws(cross, [x, y, z], degree=2).laws == ()
    assert search_laws(cross, [x, y, z], degree=3).laws == (law,)
    assert search_laws(cross, [x, y, z], degree=6).count == 1


@pytest.mark.parametrize(
    "ratio", [sp.Rational(12345678901, 98765432109), sp.Rational(3**200, 2**300), sp.Rational(-(10**9) - 7, 3)]
)
def test_large_coefficients_take_several_primes(ratio: sp.Rational) -> None:
    found = search_laws([[y, -ratio * x]], [x, y])
    assert found.laws in ((abs(ratio.p) * x**2 + sp.sign(ratio) * ratio.q * y**2,),)
    assert len(found.primes) > 1 and found.proved


def test_a_constant_field_and_a_variable_at_rest() -> None:
    assert search_laws([[1, sp.Rational(-1, 2), 0]], [x, y, z], degree=1).laws == (x + 2 * y, z)
    found = search_laws([[1, 0]], [x, y], degree=3)
    assert found.laws == (y, y**2, y**3) and found.independent == (y,)


def test_names_are_kept_and_can_be_evaluated() -> None:
    names = Chain((2, 2, 2)).variables
    found = search_laws(Chain((2, 2, 2)))
    assert tuple(map(str, found.symbols)) == names and str(found.laws[0]).startswith("fc0.weight[0,0]**2")
    value = sp.lambdify(found.symbols, found.laws)(*range(8))
    assert value[0] == 0 + 1 - 16 - 36


@pytest.mark.parametrize(
    ("fields", "variables", "text"),
    [
        ([[1 / x, y]], [x, y], r"component 0 of field 0, 1/x, is no polynomial"),
        ([[x, sp.sin(y)]], [x, y], r"component 1 of field 0, sin\(y\), is no polynomial"),
        ([[x, y], [sp.sqrt(2) * x, y]], [x, y], r"component 0 of field 1, sqrt\(2\)\*x, is no polynomial"),
        ([[sp.I * x, y]], [x, y], "no polynomial"),
        ([[x / d, y]], [x, y], "no polynomial"),
        ([[sp.sqrt(x), y]], [x, y], "no polynomial"),
        ([[sp.nan, y]], [x, y], "no polynomial"),
        ([[0.5 * x, y]], [x, y], "has a float"),
        ([["x", y]], [x, y], "is a str; give a sympy expression"),
        ([[0.5, y]], [x, y], "is a float; give a sympy expression"),
        (["xy"], [x, y], "field 0 is a list"),
        ([], [x, y], "at least one"),
        ([x, y], [x, y], "field 0 is a list"),
        ([[x]], [x, y], "1 components for 2 variables"),
        ([[x * d, y]], None, "2 components for 3 variables; name the variables"),
        ([[x, y]], ["x", "y"], "sympy symbols"),
        ([[x, y]], [x, x], "not all different"),
        ([[0, 0]], [x, y], "all fields are zero"),
        ([[]], [], "no variables"),
    ],
)
def test_bad_fields(fields, variables, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        search_laws(fields, variables)


@pytest.mark.parametrize("degree", [0, -1, 1.5, "2"])
def test_bad_degrees(degree) -> None:
    with pytest.raises(ValueError, match="the degree of a law"):
        search_laws([[x, y]], [x, y], degree)


def test_absurd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"351 variables have .* monomials of degree at most 4"):
        search_laws(Chain((9, 9, 9, 9, 9), relu=True, bias=True), degree=4)
    with pytest.raises(ValueError, match=r"the largest class has .* monomials"):
        search_laws(Ungraded((9, 9, 9), relu=True))


# --- objects that evaluate fields -----------------------------------------------------------------------------------


def test_the_protocol() -> None:
    assert isinstance(Chain((2, 2, 2)), ExactFields) and isinstance(SympyFields([[x, y]]), ExactFields)
    with pytest.raises(ValueError, match="names its own variables"):
        search_laws(Chain((2, 2, 2)), [x])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda v, p: v.astype(float), r"int64 array of shape .* but gave float64"),
        (lambda v, p: v[:, 1:], "but gave int64"),
        (lambda v, p: v.tolist(), "but gave list"),
        (lambda v, p: v - p, r"residues in 0"),
        (lambda v, p: v + p, r"residues in 0"),
        (lambda v, p: v * 0, "all fields are zero"),
    ],
)
def test_bad_values(change, text: str) -> None:
    class Broken(Chain):
        def values(self, theta, p, rng):
            return change(super().values(theta, p, rng), p)

    with pytest.raises(ValueError, match=text):
        search_laws(Broken((2, 2, 2)))


def test_a_missing_mask() -> None:
    class Broken(Chain):
        def parities(self):
            return super().parities()[1:]

    with pytest.raises(ValueError, match="7 masks for 8 variables"):
        search_laws(Broken((2, 2, 2)))


def test_fields_that_change_with_the_prime_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lawful.theory.search.search.MAX_PRIMES", 12)

    class Broken(Chain):
        def values(self, theta, p, rng):
            return np.stack([theta[:, 1], theta[:, 0] * (p // 3) % p], axis=1)

    with pytest.raises(ArithmeticError, match="no law over the rational numbers fits"):
        broken = Ungraded((1, 1, 1))
        broken.values = Broken((1, 1, 1)).values
        search_laws(broken)


@pytest.mark.parametrize("relu", [False, True])
def test_declared_sign_flips_are_tested(relu: bool) -> None:
    """Free gates tell all paths apart, and the gradient of one path's product is blind to every single sign."""
    chain = Chain((2, 3, 3, 2), relu=relu, bias=relu)
    assert all(parities_hold(chain, seed=seed) for seed in range(4))
    laws = search_laws(chain).laws
    chain.masks = [1 << v for v in range(len(chain.masks))]  # every weight alone
    assert all(parities_hold(chain, seed=seed) for seed in range(8)) == relu
    assert (search_laws(chain).laws == laws) == relu


def test_sign_flips_of_sympy_fields_hold() -> None:
    fields, theta, _, _ = two_layers(2, 2, 1)
    family = SympyFields(fields, theta)
    assert all(parities_hold(family, seed=seed) for seed in range(4))
    assert len(set(family.parities())) > 1


def test_the_grading_changes_nothing_but_the_time() -> None:
    plain, graded = (search_laws(kind((2, 2, 2), bias=True)) for kind in (Ungraded, Chain))
    assert plain.classes == 1 < graded.classes
    assert span(plain.laws, plain.symbols) == span(graded.laws, graded.symbols)


def test_progress_is_told() -> None:
    lines: list[str] = []
    search_laws([[-y, x]], [x, y], progress=lines.append)
    assert lines[0].startswith("5 monomials in")


# --- false laws -----------------------------------------------------------------------------------------------------

TRUE = {(0, 0): 1, (1, 1): 1}


@pytest.mark.parametrize(
    "false",
    [
        {(0, 0): 1, (1, 1): -1},
        {(0, 0): 1, (1, 1): 1, (0,): 1},
        {(0,): 1},
        {(0, 1): 1},
        {(0, 0): 2**80 + 1, (1, 1): 2**80},
    ],
)
def test_a_false_law_is_refused(false: dict[tuple[int, ...], int]) -> None:
    family = SympyFields([[-y, x]], [x, y])
    rng = np.random.default_rng(0)
    passed, used = confirm(family, [TRUE, false, TRUE], primes(rng), rng)
    assert passed == [True, False, True] and len(set(used)) == 2
    assert family.conserves(TRUE) and not family.conserves(false)


def test_a_law_of_one_field_is_refused_by_another() -> None:
    family = SympyFields([[-y, x], [x, y]], [x, y])
    rng = np.random.default_rng(0)
    assert confirm(family, [TRUE], primes(rng), rng)[0] == [False] and not family.conserves(TRUE)
    assert search_laws([[-y, x], [x, y]], [x, y]).laws == ()


def test_a_false_law_of_a_network_is_refused() -> None:
    chain, rng = Chain((2, 3, 2), relu=True), np.random.default_rng(0)
    law = dict(search_laws(chain).polynomials[0])
    wrong = {m: (2 * c if i == 0 else c) for i, (m, c) in enumerate(law.items())}
    assert confirm(chain, [law, wrong], primes(rng), rng)[0] == [True, False]


def test_a_shift_of_the_data_is_noticed() -> None:
    """The proof reads the fields as given: it does not trust what was collected for sampling."""
    family = SympyFields([[-y, x]], [x, y])
    family._polynomials[0][0] = sp.Poly(-2 * y, x, y, domain=sp.QQ)
    assert not family.conserves(TRUE)


# --- oracle: a dense system ------------------------------------------------------------------------------------------

CUBICS = [sp.Mul(*m) for k in range(3) for m in combinations_with_replacement((x, y, z), k)]


@st.composite
def entries(draw: st.DrawFn) -> sp.Expr:
    terms = draw(st.lists(st.sampled_from(CUBICS), max_size=2))
    return sum((draw(st.sampled_from([-2, -1, sp.Rational(1, 2), 1, 3, d])) * m for m in terms), sp.Integer(0))


@st.composite
def field_lists(draw: st.DrawFn) -> list[list[sp.Expr]]:
    """Random fields, half of the time made to conserve a polynomial: `grad P x X`."""
    fields = [[draw(entries()) for _ in range(3)] for _ in range(draw(st.integers(1, 2)))]
    if draw(st.booleans()):
        law = sum(
            draw(st.sampled_from([-2, -1, 1, 3])) * m
            for m in draw(st.lists(st.sampled_from(CUBICS[1:]), min_size=1, max_size=3))
        )
        slope = sp.Matrix([sp.diff(law, v) for v in (x, y, z)])
        fields = [list(slope.cross(sp.Matrix(f)).applyfunc(sp.expand)) for f in fields]
    return [f for f in fields if any(f)] or [[-y, x, sp.Integer(0)]]


@given(field_lists(), st.integers(1, 3))
@settings(max_examples=50)
def test_the_search_agrees_with_a_dense_system(fields: list[list[sp.Expr]], degree: int) -> None:
    found = search_laws(fields, [x, y, z], degree)
    wanted = dense_kernel(fields, (x, y, z), degree)
    assert found.proved and len(found.laws) == len(wanted)
    assert span(found.laws, (x, y, z)) == span(wanted, (x, y, z))
    jacobian = sp.Matrix([[sp.diff(law, v) for v in (x, y, z)] for law in found.laws]) if found.laws else sp.zeros(0, 3)
    assert found.count == jacobian.subs({x: 10007, y: -313, z: 7919}).rank()


UNSHRUNK = settings(phases=[Phase.generate])


@pytest.mark.parametrize("laws", [0, 1, 2])
def test_the_strategy_reaches_fields_with_and_without_laws(laws: int) -> None:
    find(field_lists(), lambda fields: search_laws(fields, [x, y, z]).count == laws, settings=UNSHRUNK)


def test_the_strategy_reaches_laws_that_mix_degrees() -> None:
    def mixes(fields):
        return any(len({len(m) for m in law}) > 1 for law in search_laws(fields, [x, y, z]).polynomials)

    find(field_lists(), mixes, settings=UNSHRUNK)


@settings(max_examples=60)
@given(st.lists(st.integers(-30, 30), min_size=3, max_size=3), st.lists(st.integers(-30, 30), min_size=3, max_size=3))
def test_what_a_random_linear_law_spans_is_found(p: list[int], q: list[int]) -> None:
    """All laws of a constant field `p` are functions of the linear forms that vanish on it."""
    if not any(p):
        p = [1, *p[1:]]
    found = search_laws([p], [x, y, z], degree=1)
    assert found.count == 2 and all(law.subs(dict(zip((x, y, z), p, strict=True))) == 0 for law in found.laws)
    assert search_laws([p, q], [x, y, z], degree=1).count == 3 - sp.Matrix([p, q]).rank()


# --- pieces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variables", "degree"), [(1, 1), (1, 4), (4, 1), (4, 2), (3, 5)])
def test_monomials_are_all_there(variables: int, degree: int) -> None:
    rows = all_monomials(variables, degree)
    wanted = [m for k in range(1, degree + 1) for m in combinations_with_replacement(range(variables), k)]
    assert [tuple(v for v in row if v < variables) for row in rows.tolist()] == wanted
    assert len(rows) == number_of_monomials(variables, degree)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(-3, 3)), min_size=2, max_size=5))
@settings(max_examples=60)
def test_classes_are_the_characters(grades: list[tuple[int, int]]) -> None:
    rows = all_monomials(len(grades), 3)
    found = classes(Grading(tuple(g for g, _ in grades), (tuple(w for _, w in grades),)).labels(rows))

    def character(row):
        flip, weight = 0, 0
        for v in row:
            if v < len(grades):
                flip, weight = flip ^ grades[v][0], weight + grades[v][1]
        return flip, weight

    wanted: dict[tuple[int, int], list[int]] = {}
    for i, row in enumerate(rows.tolist()):
        wanted.setdefault(character(row), []).append(i)
    assert sorted(c.tolist() for group in found for c in group) == sorted(wanted.values())


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**12))
@settings(max_examples=100)
def test_fractions_come_back(n: int, m: int) -> None:
    modulus = 2**127 - 1
    wanted = sp.Rational(n, m)
    found = rational(n * pow(m, -1, modulus) % modulus, modulus)
    assert found is not None and (found.numerator, found.denominator) == (wanted.p, wanted.q)


@pytest.mark.parametrize("columns", [3, 30])  # side by side, and by FLINT
def test_kernels_modulo_a_prime(columns: int) -> None:
    p, rng = 2147483629, np.random.default_rng(0)
    rows = rng.integers(0, p, (4, columns + 2, columns))
    rows[1, :, -1] = (rows[1, :, 0] * 5 + rows[1, :, 1]) % p
    rows[2] = 0
    rows[3, :, 0] = 0
    found = dict(kernels(rows, p))
    assert {i: len(k.free) for i, k in found.items()} == {1: 1, 2: columns, 3: 1}
    for i, kernel in found.items():
        product = (rows[i][None] * kernel.basis[:, None] % p).sum(-1) % p
        assert not product.any() and (kernel.basis[:, list(kernel.free)] == np.eye(len(kernel.free))).all()
    lifted = found[1].over_q()
    assert lifted is not None and lifted.tolist() == [[5, 1, *[0] * (columns - 3), -1]]


def test_an_unlucky_prime_is_dropped() -> None:
    """It can only make the kernel larger, or its free columns come earlier."""
    good = Kernel(101, (2,), np.array([[1, 0, 1]]))
    larger = Kernel(103, (1, 2), np.array([[0, 1, 0], [0, 0, 1]]))
    earlier = Kernel(103, (1,), np.array([[1, 1, 0]]))
    for bad in (larger, earlier):
        assert good.merged(bad) is good and bad.merged(good) is good
    both = good.merged(Kernel(103, (2,), np.array([[7, 0, 1]])))
    assert both.modulus == 101 * 103 and both.basis[0, 0] % 101 == 1 and both.basis[0, 0] % 103 == 7


def test_fewer_terms_span_the_same_space() -> None:
    rows = np.array([[1, 1, -1, 0, 0], [1, 1, 0, -1, 1]], dtype=object)
    found = sparsified(rows, np.full(5, 2))
    assert np.count_nonzero(found) < np.count_nonzero(rows)
    assert sp.Matrix(found.tolist()).rref() == sp.Matrix(rows.tolist()).rref()
    kept = sparsified(rows, np.array([1, 1, 1, 2, 2]))
    assert [1, 1, -1, 0, 0] in kept.tolist()  # the linear law stays linear
