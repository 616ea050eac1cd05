"""Linear maps of complex numbers: Hermitian laws, of composed blocks and of modules with complex parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nights import at_night
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.check import gradient_rank
from lawful.graph.tracing.complex_maps import as_map

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]
pairs, joined = torch.view_as_real, torch.view_as_complex

# Maps, and how many laws they have under the mean squared error and under cross-entropy, counted by the oracle.
COMPOSED: dict[str, tuple[b.Net, int, int]] = {
    "two maps": (b.ComplexLinear(3, 4, False) >> b.ComplexLinear(4, 2, False), 16, 16),
    "biases": (b.ComplexLinear(3, 4) >> b.ComplexLinear(4, 2), 16, 17),
    "real ends": (
        b.ComplexLinear(3, 4, False, reads="real") >> b.ComplexLinear(4, 2, False, writes="real"),
        30,
        34,
    ),
    "stored the other way round": (
        b.ComplexLinear(3, 4, False, transposed=True) >> b.ComplexLinear(4, 2, False),
        16,
        16,
    ),
    "a real activation": (
        b.ComplexLinear(3, 4, False, reads="real") >> b.ReLU() >> b.ComplexLinear(4, 2, False, writes="real"),
        8,
        16,
    ),
    "a skip": (
        b.ComplexLinear(3, 3, False)
        >> b.residual(b.ComplexLinear(3, 2, False) >> b.ComplexLinear(2, 3, False))
        >> b.ComplexLinear(3, 2, False),
        13,
        13,
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_engine_and_oracle_agree(name: str) -> None:
    net, mse, entropy = COMPOSED[name]
    for loss, wanted in (("mse", mse), ("cross_entropy", entropy)):
        laws = lw.derive(net, loss=loss)
        assert laws.exact_independent == wanted == lw.count(net, loss=loss).laws
        assert laws.verify(lw.Architecture(net)).verdict is lw.Verdict.HOLDS


@pytest.mark.parametrize("sizes", [(3, 11, 2), (1, 4, 1), (2, 5, 2)])
def test_few_vectors_leave_a_hermitian_matrix_partly_dependent(sizes: tuple[int, int, int]) -> None:
    """`n^2 - (n - r)^2` scalars are independent for `r` complex vectors, also of readers that are real."""
    m, n, p = sizes
    for first, last in (
        (b.ComplexLinear(m, n, False), b.ComplexLinear(n, p, False)),
        (b.ComplexLinear(m, n), b.ComplexLinear(n, p, False)),
        (b.ComplexLinear(m, n, False), b.Linear(2 * n, p, False)),
    ):
        arch = lw.Architecture(first >> last)
        assert lw.derive(arch).independent == gradient_rank(arch, lw.derive(arch))


def test_formulas_read_as_in_papers() -> None:
    laws = lw.derive(COMPOSED["two maps"][0])
    assert [law.text for law in laws] == [
        "Re(0.weight @ 0.weight.H) - Re(1.weight.H @ 1.weight)",
        "-Im(0.weight @ 0.weight.H) + Im(1.weight.H @ 1.weight)",
    ]
    assert r"\mathrm{Re}\left(W_{\mathrm{0}} W_{\mathrm{0}}^\dagger\right)" in laws[0].latex


def test_a_law_has_the_value_of_its_formula() -> None:
    net = lw.Architecture(COMPOSED["two maps"][0])
    model = net.to_torch(dtype=torch.float64)
    u, v = (joined(model.get_parameter(f"{i}.weight").detach()) for i in (0, 1))
    wanted = u @ u.mH - v.mH @ v
    real, imaginary = (law.value(model) for law in lw.derive(net))
    assert torch.allclose(real, wanted.real) and torch.allclose(imaginary, -wanted.imag)


def test_the_symmetries_are_complex_matrices() -> None:
    found = lw.symmetries(COMPOSED["biases"][0])
    assert [s.group for s in found] == ["general linear", "complex linear"]
    assert all(s.verify().verdict is lw.Verdict.HOLDS for s in found)


def test_planes_that_turn_alike_have_symmetries() -> None:
    found = [s for net in b.Rotary.examples(b.Signal(4, (3,))) for s in lw.symmetries(lw.Architecture(net, space=(3,)))]
    alike = [s for s in found if s.group == "complex linear"]
    assert alike and all(s.verify().verdict is lw.Verdict.HOLDS for s in alike)


class Plain(nn.Module):
    """A forward with complex parameters, and real ones where a list gives the shape."""

    def __init__(self, forward: Forward, **shapes: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        self._forward = forward
        for name, shape in shapes.items():
            kind = torch.float64 if isinstance(shape, list) else torch.complex128
            setattr(self, name, nn.Parameter(0.5 * torch.randn(*shape, dtype=kind)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(self, x)


def mod_relu(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return z * torch.relu(z.abs() + bias) / z.abs()


def of_hidden(function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> Forward:
    return lambda m, x: pairs(function(m, joined(x) @ m.a) @ m.d).flatten(1)


def recurrence(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    rate = torch.complex(0.9 * torch.tanh(m.l), m.t)
    h, out = torch.zeros(len(x), 4, dtype=rate.dtype), []
    for t in range(x.shape[1]):
        h = rate * h + x[:, t].to(h.dtype) @ m.a.t()
        out.append((h @ m.d.t()).real)
    return torch.stack(out, 1)


TWO = {"a": (3, 4), "d": (4, 2)}
# Modules, what they read, and how many laws are listed and counted under the mean squared error.
TRACED: dict[str, tuple[Forward, dict, tuple[int, ...], int, int]] = {
    "two maps": (of_hidden(lambda m, z: z), TWO, (6, 3, 2), 16, 16),
    "a sum": (of_hidden(lambda m, z: z + m.c), {**TWO, "c": (4,)}, (6, 3, 2), 16, 16),
    "one map twice": (of_hidden(lambda m, z: z @ m.e @ m.e), {**TWO, "e": (4, 4)}, (6, 3, 2), 17, 17),
    "einsum": (
        lambda m, x: pairs(torch.einsum("bi,ij->bj", joined(x), m.a) @ m.d).flatten(1),
        TWO,
        (6, 3, 2),
        16,
        16,
    ),
    "the real part of the output": (lambda m, x: ((joined(x) @ m.a) @ m.d).real, TWO, (6, 3, 2), 16, 16),
    "the size of the output": (lambda m, x: ((joined(x) @ m.a) @ m.d).abs(), TWO, (6, 3, 2), 16, 16),
    "real inputs and outputs": (lambda m, x: ((x.to(m.a.dtype) @ m.a) @ m.d).real, TWO, (6, 3), 30, 30),
    "modReLU": (of_hidden(lambda m, z: mod_relu(z, m.c)), {**TWO, "c": [4]}, (6, 3, 2), 4, 4),
    "CReLU": (of_hidden(lambda m, z: torch.complex(z.real.relu(), z.imag.relu())), TWO, (6, 3, 2), 4, 4),
    "a diagonal recurrence": (recurrence, {"a": (4, 3), "d": (2, 4), "l": [4], "t": [4]}, (5, 3, 3), 4, 4),
    "tied by its transpose": (
        lambda m, x: pairs((joined(x) @ m.a) @ m.a.t()).flatten(1),
        {"a": (3, 4)},
        (6, 3, 2),
        6,
        6,
    ),
    "tied by its transpose around a map": (
        lambda m, x: pairs(joined(x) @ m.a @ m.e @ m.a.t()).flatten(1),
        {"a": (3, 4), "e": (4, 4)},
        (6, 3, 2),
        16,
        16,
    ),
    "tied by its transpose, of which the real part is taken": (
        lambda m, x: (joined(x) @ m.a @ m.e @ m.a.t()).real,
        {"a": (3, 4), "e": (4, 4)},
        (6, 3, 2),
        0,
        16,
    ),
    "a slice": (
        lambda m, x: pairs(joined(x) @ m.a[:, :4] @ m.d[1:5]).flatten(1),
        {"a": (3, 4), "d": (5, 2)},
        (6, 3, 2),
        20,
        20,
    ),
    "layers in one tensor": (
        lambda m, x: pairs(joined(x) @ m.a[0] @ m.a.unbind(0)[1] @ m.d).flatten(1),
        {"a": (2, 3, 3), "d": (3, 2)},
        (6, 3, 2),
        18,
        18,
    ),
    "a vector as a matrix": (
        lambda m, x: pairs(joined(x) @ m.a.reshape(3, 4) @ m.d).flatten(1),
        {"a": (12,), "d": (4, 2)},
        (6, 3, 2),
        16,
        16,
    ),
    "tied by its adjoint": (
        lambda m, x: pairs((joined(x) @ m.a) @ m.a.mH).flatten(1),
        {"a": (3, 4)},
        (6, 3, 2),
        0,
        7,
    ),
}


def test_a_diagonal_is_no_map() -> None:
    """`ii,ij->ij` scales rows by the diagonal of its input, whatever maps look like."""
    node = torch.fx.Graph().call_function(torch.ops.aten.einsum.default, ("ii,ij->ij", ["x", "w"]))
    assert as_map(node)[1] is None
    node = torch.fx.Graph().call_function(torch.ops.aten.einsum.default, ("bti,ij->btj", ["x", "w"]))
    assert as_map(node)[:3] == ("x", "w", True)


@pytest.mark.parametrize(
    "name",
    at_night(
        TRACED,
        "one map twice",
        "tied by its transpose, of which the real part is taken",
        "the size of the output",
        "tied by its transpose around a map",
        "two maps",
        "a sum",
        "CReLU",
        "the real part of the output",
        "a vector as a matrix",
        "a slice",
        "layers in one tensor",
    ),
)
def test_modules_keep_hermitian_matrices(name: str) -> None:
    torch.manual_seed(0)
    forward, shapes, size, listed, counted = TRACED[name]
    module, args = Plain(forward, **shapes), (torch.randn(size, dtype=torch.float64),)
    laws = lw.derive(module, args=args)
    assert laws.exact_independent == listed
    assert lw.count(module, args=args).laws == counted
    assert not len(laws) or laws.verify(module, args=args).verdict is lw.Verdict.HOLDS
    assert bool(laws.gaps) == (listed < counted)


def test_parts_are_named_as_parts() -> None:
    forward, shapes, size, *_ = TRACED["a diagonal recurrence"]
    laws = lw.derive(Plain(forward, **shapes), args=torch.randn(size, dtype=torch.float64))
    assert laws[0].text == "‖Re(a)[i,:]‖² + ‖Im(a)[i,:]‖² - ‖Re(d)[:,i]‖² - ‖Im(d)[:,i]‖²"


def test_complex_layers_of_torch_are_maps_with_biases() -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 4, dtype=torch.complex128)
            self.d = nn.Linear(4, 2, dtype=torch.complex128)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pairs(self.d(self.a(joined(x)))).flatten(1)

    torch.manual_seed(0)
    laws = lw.derive(Layers(), args=torch.randn(6, 3, 2, dtype=torch.float64))
    assert laws[0].text == "Re(a.weight @ a.weight.H) + Re(a.bias @ a.bias.H) - Re(d.weight.H @ d.weight)"
    assert laws.exact_independent == 16


def test_a_part_that_nothing_reads_never_moves_and_is_counted() -> None:
    module, x = Plain(lambda m, x: torch.relu(x @ m.a.imag.T) @ m.d, a=(2, 3), d=[2, 2]), torch.randn(3, 3).double()
    laws = lw.derive(module, args=x)
    assert [law.text for law in laws][1:] == ["Re(a)"] and not laws.gaps
    assert laws.exact_independent == lw.count(module, args=x).laws == lw.count(module, args=x, exact=True).laws == 8
    assert lw.certificate(module, args=x).at_least == 8 and lw.parameter_count(module, args=x).laws == 8
