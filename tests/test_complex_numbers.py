"""Complex parameters, features and inputs: read as real numbers, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.parts import base
from lawful.theory.verdict import Verdict


class Complex(nn.Module):
    """Two real layers with a hidden one between, then two complex maps."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = nn.Linear(2, 3), nn.Linear(3, 2)
        self.a = nn.Parameter(torch.randn(2, 2, dtype=torch.cfloat))
        self.b = nn.Parameter(torch.randn(2, 1, dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.g(torch.relu(self.f(x)))
        y: torch.Tensor = ((x.to(self.a.dtype) @ self.a) @ self.b).real
        return y


class Alone(nn.Module):
    """Two complex maps, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a = nn.Parameter(torch.randn(2, 2, dtype=torch.cfloat))
        self.b = nn.Parameter(torch.randn(2, 1, dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = ((x.to(self.a.dtype) @ self.a) @ self.b).real
        return y


class Spectrum(nn.Module):
    """A function of the complex features of a transform."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.u, self.v = kind, nn.Linear(2, 4), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.fft.rfft(self.u(x))
        y: torch.Tensor = self.v(z.abs() if self.kind == "abs" else getattr(torch, self.kind)(z).real)
        return y


def module() -> Complex:
    torch.manual_seed(1)
    return Complex()


def test_a_law_reads_complex_parameters_as_their_real_and_imaginary_parts() -> None:
    """What reads the real part of real data is two networks, and a law joins the two."""
    model, x = module(), torch.randn(5, 2)
    laws = lw.derive(model, args=(x,))
    assert laws.exact_independent == lw.count(model, args=(x,)).laws == 15
    found = [w for w in laws if set(map(base, w.parameters)) == {"a", "b"}]
    assert [w.count for w in found] == [3, 3, 4]
    a, b = model.a.detach(), model.b.detach()
    for law, part in zip(found, ("real", "imag"), strict=False):
        one, two = getattr(a, part), getattr(b, part)
        wanted = one.mT @ one - two @ two.mT
        scale = 1 if law.value(model).trace() * wanted.trace() > 0 else -1
        for given in (model, model.state_dict(), dict(model.named_parameters())):
            assert torch.allclose(law.value(given), scale * wanted)
        unit = 1 + 0j if part == "real" else 1j
        gradient = law.gradient(model, index=(0, 0))
        first = torch.tensor([1.0, 0.0])
        assert torch.allclose(gradient["a"], scale * 2 * unit * one * first)
        assert torch.allclose(gradient["b"], -scale * 2 * unit * two * first[:, None])


def test_hermitian_laws_that_are_not_listed_are_a_gap_with_a_name() -> None:
    """Two complex maps of which the second is conjugated: half of the Hermitian matrix that they keep is listed."""

    class Conjugated(Alone):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.view_as_real((x.to(self.a.dtype) @ self.a) @ self.b.conj())

    found = lw.check(Conjugated(), args=torch.randn(5, 2))
    assert found.verdict is Verdict.UNDECIDED and "for a reason named below" in found.summary
    assert any("a, b are complex" in gap for gap in found.laws.gaps)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_ledger_says_that_it_does_not_follow_complex_parameters_and_lets_training_go_on(optimizer: type) -> None:
    model = Alone()
    optim = optimizer(model.parameters(), 0.01)
    ledger = lw.Ledger(model, optim)
    for _ in range(2):
        optim.zero_grad()
        model(torch.randn(5, 2)).square().mean().backward()
        optim.step()
    assert "whose numbers are complex" in str(ledger) and "undecided" in str(ledger)


def test_a_ledger_derives_the_real_laws_beside_complex_parameters() -> None:
    model = module()
    optim = torch.optim.SGD(model.parameters(), 0.01)
    ledger = lw.Ledger(model, optim)
    for _ in range(3):
        optim.zero_grad()
        model(torch.randn(5, 2)).square().mean().backward()
        optim.step()
    assert ledger.laws and not {"a", "b"} & {n for law in ledger.laws for n in law.parameters}
    assert {"a", "b"} <= set(ledger.unread) and ledger.verdict in ("ok in part", "rounding in part"), ledger.health()


def test_a_ledger_follows_the_real_laws_that_it_is_given_beside_complex_parameters() -> None:
    model, x = module(), torch.randn(5, 2)
    laws = [w for w in lw.derive(model, args=(x,)) if not {"a", "b"} & set(map(base, w.parameters))]
    optim = torch.optim.SGD(model.parameters(), 0.01)
    ledger = lw.Ledger(model, optim, laws=laws)
    for _ in range(3):
        optim.zero_grad()
        model(x).square().mean().backward()
        optim.step()
    assert len(ledger.laws) == len(laws) > 0 and ledger.steps == 3 and "violated" not in str(ledger)


def test_symmetries_leave_complex_parameters_out_and_move_the_real_ones() -> None:
    model, x = module(), torch.randn(5, 2)
    found = lw.symmetries(model, args=(x,))
    assert any("complex parameters (a, b)" in n for n in found.notes)
    assert found and all(s.verify().verdict is Verdict.HOLDS for s in found)
    moved = found[0].apply(model, found[0].random())
    assert torch.allclose(moved(x), model(x), atol=1e-5) and not torch.equal(moved.f.weight, model.f.weight)
    assert lw.audit({"scale": "f", "compensate": ["g"]}, found).verdict is Verdict.HOLDS
    assert lw.audit({"scale": "a", "compensate": ["b"]}, found).verdict is not Verdict.HOLDS


@pytest.mark.parametrize("kind", ["abs", "exp", "sin", "tanh", "square", "reciprocal"])
def test_a_function_of_complex_features_is_known_by_its_degrees_or_not_at_all(kind: str) -> None:
    torch.manual_seed(0)
    report = lw.check(Spectrum(kind), args=(torch.randn(5, 2),))
    assert report.verdict in (Verdict.HOLDS, Verdict.UNDECIDED), report


def test_a_complex_input_is_refused_in_one_sentence_with_a_way_out() -> None:
    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Parameter(torch.randn(2, 2, dtype=torch.cfloat))

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (z @ self.c).real

    z = torch.randn(5, 2, dtype=torch.cfloat)
    for ask in (lw.derive, lw.check, lw.symmetries):
        with pytest.raises(ValueError, match=r"complex inputs are not read \(z\); pass torch.view_as_real"):
            ask(Given(), args=(z,))


class Mixed(nn.Module):
    """A complex matrix on what is real or a transform of it, before all parameters."""

    def __init__(self, transform: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.transform = transform
        self.weight, self.out = nn.Parameter(torch.randn(4, 3, dtype=torch.cfloat)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fft.rfft(x)[..., :3] if self.transform else x.to(torch.cfloat)
        return self.out((x @ self.weight.t()).abs())


@pytest.mark.filterwarnings("error:.*complex.*")
@pytest.mark.parametrize("transform", [False, True])
def test_complex_numbers_made_of_the_inputs_run_in_the_traced_network(transform: bool) -> None:
    module, x = Mixed(transform), torch.randn(5, 6 if transform else 3)
    found = lw.check(module, args=x)
    assert found.count is not None and found.count.laws == lw.count(module, args=x).laws
    assert found.lawful or "not complete" in str(found)
    assert all(r.verdict is lw.Verdict.HOLDS for r in found.report.laws) and found.report.laws
    assert lw.parameter_count(module, args=x).laws == found.count.laws


class Abs(torch.autograd.Function):
    """The absolute value of complex numbers, whose backward turns them the wrong way."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.abs()

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * z.conj() / z.abs()


class Polar(torch.autograd.Function):
    """Complex numbers of real angles, with a backward of half the size."""

    @staticmethod
    def forward(ctx, angle):
        z = torch.polar(torch.ones_like(angle), angle)
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return 0.5 * (g * (1j * z).conj()).real


class Wrong(nn.Module):
    """A map, complex features whose backward is wrong, and a map."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.a, self.w, self.o = kind, nn.Linear(3, 4), nn.Parameter(torch.randn(4)), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        if self.kind == "polar":
            z = Polar.apply(h[:, :2]) * h[:, 2:]
            y: torch.Tensor = self.o(z.real + 2 * z.imag)
            return y
        z = torch.view_as_complex(h.reshape(-1, 2, 2)) * torch.view_as_complex(self.w.reshape(2, 2))
        y = self.o(Abs.apply(z))
        return y


@pytest.mark.parametrize(("kind", "words"), [("abs", "complex conjugate"), ("polar", "the backward of Polar")])
def test_a_wrong_backward_of_complex_numbers_is_found_and_named(kind, words):
    with pytest.raises(AssertionError, match=words):
        lw.testing.assert_lawful(Wrong(kind), (torch.randn(3, 3),), "mse")


class Made(nn.Module):
    """A function of the complex numbers that two real layers make, or parameters beside them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.a, self.b = kind, nn.Linear(4, 4), nn.Linear(4, 4)
        self.nu, self.theta = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.complex(self.a(x), self.b(x))
        if self.kind == "mH":
            return (z @ z.mH).real
        if self.kind == "conj":
            return (z.conj() * (1 + 2j) * z).real + z.conj().imag
        if self.kind == "resolved":
            return ((z * 1j).conj().resolve_conj() * (2 + 1j)).imag
        return ((-self.nu.exp() + 1j * self.theta) * z).real


@pytest.mark.parametrize("kind", ["mH", "conj", "resolved"])
def test_lazily_conjugated_tensors_are_run_again_by_the_kit(kind: str) -> None:
    unused = ["nu", "theta"]
    lw.testing.assert_lawful(Made(kind), (torch.randn(3, 4),), "mse", allow_untested=unused)


def test_a_function_of_parameters_may_be_the_real_part_of_complex_ones() -> None:
    found = lw.derive(Made("function"), args=torch.randn(3, 4))
    assert not any("fault of lawful" in g for g in found.gaps), found.gaps


def test_a_stack_of_rows_of_tables_is_taken_apart_as_it_was_put_together() -> None:
    class Tables(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.re, self.im, self.out = nn.Embedding(4, 2), nn.Embedding(4, 2), nn.Linear(2, 1)

        def forward(self, i: torch.Tensor) -> torch.Tensor:
            z = torch.complex(self.re(i[:, 0]), self.im(i[:, 0]))
            return self.out((z * z.conj()).real)

    torch.manual_seed(0)
    found = lw.check(Tables(), args=torch.randint(0, 4, (3, 2)))
    assert "fault of lawful" not in str(found) and found.report.verdict is Verdict.HOLDS, found


class Parts(nn.Module):
    """A real function of the complex numbers that two maps make, and a map."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.out, self.function = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.function(torch.complex(self.a(x), self.b(x))))
        return y


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda z: z.to(torch.float64), id="cast"),
        pytest.param(lambda z: (z + 2j).real, id="sum with a number", marks=pytest.mark.nightly),
        pytest.param(lambda z: (1j * z).imag, id="product with a number"),
        pytest.param(lambda z: (z / 2j).imag, id="quotient by a number", marks=pytest.mark.nightly),
    ],
)
def test_the_parts_of_complex_numbers_are_read_by_themselves(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """A cast to real numbers was refused, and numbers of Python made an unknown function of both parts."""
    net, x = Parts(function).double(), torch.randn(5, 3, dtype=torch.float64)
    laws = lw.derive(net, args=(x,))
    assert laws.notes == () and laws.exact_independent == lw.count(net, args=(x,)).laws == 26
    assert laws.verify(net, args=(x,)).verdict is Verdict.HOLDS


def test_a_complex_exponential_turns_constants_into_factors() -> None:
    laws = lw.derive(Parts(lambda z: z.exp().real), args=(torch.randn(5, 3),))
    assert any("makes factors of constants" in note for note in laws.notes)
