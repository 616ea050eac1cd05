"""Functions of one parameter that several calls compute, one of which no rule knows; calls that write into `out=`."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm

import lawful as lw

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def between(layer: nn.Module, *after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), layer, *after)


class Made(nn.Module):
    """A layer whose weight a function makes of the parameter `w` and two fixed vectors."""

    def __init__(self, weight, *shape: int) -> None:
        super().__init__()
        self.weight, self.w = weight, nn.Parameter(torch.randn(shape))
        self.u, self.v = nn.Buffer(torch.randn(shape[0])), nn.Buffer(torch.randn(shape[1]))

    def forward(self, x):
        return F.linear(x, self.weight(self))


def sigma(m: Made) -> torch.Tensor:
    return torch.dot(m.u, torch.mv(m.w, m.v))


# what makes the layer, independent laws that are listed, and that are counted
FUNCTIONS = {
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(6, 3)), 1, 1),
    "spectral norm with hooks": (lambda: spectral_norm(nn.Linear(6, 3)), 1, 1),
    "largest singular value": (lambda: Made(lambda m: m.w / torch.linalg.matrix_norm(m.w, 2), 3, 6), 1, 1),
    "a bilinear form": (lambda: Made(lambda m: m.w / sigma(m), 3, 6), 1, 1),
    "its root": (lambda: Made(lambda m: m.w / sigma(m).abs().sqrt(), 3, 6), 1, 1),  # the degree is a half
    "orthogonal rows": (lambda: Made(lambda m: torch.linalg.qr(m.w.T)[0].T, 3, 6), 1, 3),
    "over its determinant": (lambda: Made(lambda m: m.w / torch.linalg.det(m.w), 6, 6), 1, 6),
    "two uses": (lambda: Made(lambda m: m.w / sigma(m) + m.w, 3, 6), 0, 0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_parameter_lets_its_size_through(name: str) -> None:
    torch.manual_seed(0)
    make, listed, counted = FUNCTIONS[name]
    module = between(make()).eval()
    laws = lw.derive(module, args=X)
    assert laws.exact_independent == listed, str(laws)
    assert lw.count(module, args=X).laws == counted
    assert not listed or laws.verify(module, args=X).verdict is lw.Verdict.HOLDS
    assert laws.gaps or listed == counted


def test_filters() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv1d(2, 4, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
    )
    x = torch.randn(5, 2, 4)
    laws = lw.derive(module.eval(), args=x)
    assert "‖0.parametrizations.weight.original‖²" in {law.text for law in laws}
    assert laws.exact_independent == lw.count(module, args=x).laws


@pytest.mark.parametrize("value", [lambda m: torch.linalg.matrix_norm(m.w, 2), sigma])
def test_what_is_divided_by_a_detached_number_has_no_such_law(value) -> None:
    """Its numbers have the degree zero, its gradient has not."""
    torch.manual_seed(0)
    module = between(Made(lambda m: m.w / value(m).detach(), 3, 6))
    assert not lw.derive(module, args=X)
    assert not lw.derive(module.to("meta"), args=X.to("meta"))


def test_spectral_norm_in_training_is_read_where_it_writes() -> None:
    """`F.normalize(..., out=self._u)` writes into what is no first argument."""
    torch.manual_seed(0)
    module = between(parametrizations.spectral_norm(nn.Linear(6, 3)))
    laws = lw.derive(module, args=X)
    assert [law.text for law in laws] == ["‖2.parametrizations.weight.original‖²"]
    assert laws.verify(module, args=X).verdict is lw.Verdict.HOLDS
    assert sum("changes its buffer" in note for note in laws.notes) == 1


class IntoBuffer(nn.Module):
    """Writes into a buffer by `out=`, and reads the buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.kept = nn.Linear(4, 6), nn.Linear(6, 3), nn.Buffer(torch.zeros(4))

    def forward(self, x):
        with torch.no_grad():
            torch.add(self.kept, 1.0, out=self.kept)
        return self.b((self.a(x * self.kept)).relu())


def test_what_is_written_by_out_is_what_others_read() -> None:
    torch.manual_seed(0)
    module = IntoBuffer()
    arch = lw.trace(module, X)
    assert not arch.trace.opaque and arch.trace.comparison.agrees
    assert lw.derive(module, args=X).verify(module, args=X).verdict is lw.Verdict.HOLDS


class Between(nn.Module):
    """A layer that a function of its own weights follows, in which `w` may be read more than once."""

    def __init__(self, run) -> None:
        super().__init__()
        self.run, self.a, self.w = run, nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(6, 6))
        self.c, self.u, self.v = nn.Parameter(torch.randn(6, 2)), nn.Buffer(torch.randn(6)), nn.Buffer(torch.randn(6))

    def forward(self, x):
        return self.run(self, F.linear(x, self.a).relu()) @ self.c


# what runs, independent laws that are listed, and that are counted
USES = {
    "and its transpose": (lambda m, h: F.linear(F.linear(h, m.w / sigma(m)), m.w.T / sigma(m)), 2, 2),
    "and the plain matrix": (lambda m, h: F.linear(F.linear(h, m.w / sigma(m)).relu(), m.w), 0, 2),
    "both results of one call": (lambda m, h: F.linear(F.linear(h, torch.linalg.qr(m.w)[0]).relu(), m.w), 0, 2),
    "an order": (lambda m, h: h[:, torch.mv(m.w, m.v).argsort()], 0, 42),
}


@pytest.mark.parametrize("name", USES)
def test_other_uses_of_the_parameter(name: str) -> None:
    torch.manual_seed(0)
    run, listed, counted = USES[name]
    module = Between(run)
    laws = lw.derive(module, args=X)
    assert laws.exact_independent == listed and lw.count(module, args=X).laws == counted, str(laws)
    assert not listed or laws.verify(module, args=X).verdict is lw.Verdict.HOLDS
    assert laws.gaps or listed == counted
