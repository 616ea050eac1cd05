"""Weights that are computed of parameters: directions, filters, factors, and maps by any matrix of parameters."""

import pytest
import torch
import torch.nn.functional as F
from nights import at_night
from torch import nn

import lawful as lw
from lawful.graph.questions.derive import by_rules


class Made(nn.Module):
    """A layer whose weight a function makes, between two others."""

    def __init__(self, run, before=None, **shapes):
        super().__init__()
        self.run, self.before, self.out = run, before, nn.Linear(4, 2)
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(*shape)))

    def forward(self, x):
        return self.out(self.run(self, x if self.before is None else self.before(x)))


def unit(w, *dims):
    return w / w.norm(dim=dims, keepdim=True)


def flat(w):
    return F.normalize(w.flatten(1), dim=1).view_as(w) * 3.0


def curve(weight):
    return lambda m, x: torch.tanh(F.linear(x, weight(m)))


def conv(weight):
    return lambda m, x: torch.tanh(F.conv1d(x.mT, weight(m))).mean(-1)


ROW, FILTER = {"w": (4, 3)}, {"w": (4, 3, 2)}
DERIVED = {
    "rows": Made(curve(lambda m: unit(m.w, 1)), **ROW),
    "rows and a factor": Made(curve(lambda m: 2 * F.normalize(m.w, dim=-1)), **ROW),
    "rows and lengths": Made(curve(lambda m: m.g * F.normalize(m.w, dim=-1)), **ROW, g=(4, 1)),
    "columns": Made(curve(lambda m: F.normalize(m.w, dim=0)), **ROW),
    "columns behind a map": Made(curve(lambda m: F.normalize(m.w, dim=0)), nn.Linear(3, 3), **ROW),
    "filters": Made(conv(lambda m: unit(m.w, 1, 2)), **FILTER),
    "filters that are flattened": Made(conv(lambda m: flat(m.w) / 2), **FILTER),
    "a vector": Made(lambda m, x: torch.tanh(x @ m.w.mT * F.normalize(m.g, dim=-1)), **ROW, g=(4,)),
    "a table": Made(lambda m, x: torch.tanh(x @ m.w.mT + F.normalize(m.p, dim=-1)), **ROW, p=(5, 4)),
    "rows of a table": Made(
        lambda m, x: torch.tanh(x @ m.w.mT + F.normalize(m.p, dim=-1)[torch.arange(5)]), **ROW, p=(6, 4)
    ),
    "softmax of rows": Made(curve(lambda m: m.w.softmax(-1)), **ROW),
    "softmax of columns": Made(curve(lambda m: m.w.softmax(0)), nn.Linear(3, 3), **ROW),
}


@pytest.mark.parametrize(
    "name",
    at_night(
        DERIVED,
        "columns behind a map",
        "rows of a table",
        "rows and lengths",
        "rows and a factor",
        "filters that are flattened",
    ),
)
def test_the_laws_of_a_weight_that_is_computed(name):
    module, x = DERIVED[name], torch.randn(2, 5, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque, arch.trace
    laws = by_rules(arch, "mse")
    assert laws.independent == lw.count(module, args=x).laws, str(laws)
    assert laws.verify(module, args=x).verdict.passed


TABLES = {
    "a lookup": lambda w, i: F.embedding(i, F.normalize(w, dim=-1)),
    "a lookup and a factor": lambda w, i: F.embedding(i, 2 * F.normalize(w, dim=-1)),
    "rows by numbers": lambda w, i: F.normalize(w, dim=-1)[i],
    "a tied head": lambda w, i: torch.tanh(F.embedding(i, F.normalize(w, dim=-1))) @ F.normalize(w, dim=-1).mT,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_directions(name):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.out = nn.Parameter(torch.randn(5, 3)), nn.LazyLinear(2)

        def forward(self, i):
            return self.out(torch.tanh(TABLES[name](self.w, i)))

    module, words = Words(), torch.randint(0, 5, (4, 6))
    module(words)
    laws = by_rules(lw.trace(module, words), "mse")
    assert laws.independent == lw.count(module, args=words).laws == 5
    assert laws.verify(module, args=words).verdict.passed


@pytest.mark.parametrize("function", [torch.tanh, torch.exp, torch.square, torch.relu, lambda w: w / w.norm()])
@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 3)])
def test_any_matrix_of_parameters_is_true_or_named(function, shape):
    module = Made(lambda m, x: torch.relu(F.linear(x, function(m.w), m.b)), nn.Linear(3, 3), **ROW, b=(4,))
    x = torch.randn(*shape)
    laws = by_rules(lw.trace(module, x), "mse")
    assert laws.verify(module, args=x).verdict.passed
    assert laws.gaps or laws.independent == lw.count(module, args=x).laws


def test_a_weight_that_depends_on_the_examples_is_no_matrix():
    module = Made(lambda m, x: F.linear(x, torch.outer(m.w[:, 0], x.mean((0, 1)))), **ROW)
    x = torch.randn(2, 5, 3)
    assert lw.derive(module, args=x).verify(module, args=x).verdict.value != "violated"


POLICIES = {
    "entropy": lambda m, x: torch.distributions.Categorical(logits=m(x)).entropy(),
    "normalised logits": lambda m, x: (z := m(x)) - z.logsumexp(-1, keepdim=True),
    "a bound that nothing reaches": lambda m, x: torch.clamp(m(x), min=torch.finfo(torch.float32).min),
}


class Policy(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run, self.net = run, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x):
        return self.run(self.net, x)


@pytest.mark.parametrize("name", POLICIES)
def test_what_distributions_compute_of_logits(name):
    module, x = Policy(POLICIES[name]), torch.randn(6, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque, arch.trace
    assert by_rules(arch, "mse").independent == lw.count(module, args=x).laws


class Spectral(nn.Module):
    """Some low frequencies of two axes are kept, written into zeros: a layer of a neural operator."""

    def __init__(self):
        super().__init__()
        self.lift, self.out = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 1, 1)

    def forward(self, x):
        f = torch.fft.rfftn(self.lift(x), dim=[-2, -1])
        kept = torch.zeros(*x.shape[:1], 3, 8, 5, dtype=f.dtype)
        kept[:, :, 2:6, :3] = f[:, :, 2:6, :3] * 2
        return self.out(torch.fft.irfftn(kept, s=(8, 8), dim=[-2, -1]))


def test_a_part_of_complex_numbers_is_overwritten():
    """Was refused: of the call that puts a part back, start and end were lost."""
    module, x = Spectral(), torch.randn(2, 2, 8, 8)
    arch = lw.trace(module, x)
    assert arch.trace.comparison.agrees and not arch.trace.opaque
    laws = lw.derive(module, args=x)
    assert laws.independent == 6 and laws.gaps  # a constant has a frequency of its own, which is left out


TURNED = {
    "a gain of channels": lambda m, x: m.g * m.tokens(m.lift(x).mT).mT,
    "a shift of channels": lambda m, x: torch.relu(m.g + m.tokens(torch.relu(m.lift(x)).mT).mT),
    "both": lambda m, x: m.g * m.tokens(m.b + (m.lift(x) * m.a).mT).mT,
}


@pytest.mark.parametrize("name", TURNED)
def test_a_parameter_of_the_axis_that_was_turned_away(name):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.tokens, self.out = nn.Linear(3, 5), nn.Linear(4, 4), nn.Linear(5, 2)
            self.a, self.b, self.g = (nn.Parameter(torch.randn(n)) for n in (5, 4, 5))

        def forward(self, x):
            return self.out(TURNED[name](self, x))

    module, x = Mixed(), torch.randn(2, 4, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.narrow, arch.trace
    laws = by_rules(arch, "mse")
    assert laws.independent == lw.count(module, args=x).laws and laws.verify(module, args=x).verdict.passed


NUMBERS = {
    "a mean": lambda m, h: h * m.a.mean(),
    "an exponential of products": lambda m, h: h - (m.a * m.b).sum(-1).exp() * torch.tanh(h),
    "a sigmoid of a sum": lambda m, h: h * torch.sigmoid(m.a.sum()),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_one_number_that_is_computed_of_vectors(name):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.out = nn.Linear(3, 3), nn.Linear(3, 2)
            self.a, self.b = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))

        def forward(self, x):
            return self.out(NUMBERS[name](self, self.lift(x)))

    module, x = Scaled(), torch.randn(2, 4, 3)
    arch = lw.trace(module, x)
    assert not arch.trace.narrow, arch.trace
    laws = by_rules(arch, "mse")
    assert laws.verify(module, args=x).verdict.passed
    assert laws.gaps or laws.independent == lw.count(module, args=x).laws


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    "divided",
    [
        lambda w: F.normalize(w, dim=1, eps=1.0),
        lambda w: w / w.norm(dim=1, keepdim=True).clamp(min=1.0),
        lambda w: w / w.norm(dim=1, keepdim=True).clamp(1e-9, 1.0),
    ],
)
def test_a_length_below_a_bound_is_seen(divided, small):
    """Found by a third adversary: lengths of rows were exact laws, which hold only above the bound."""
    module, x = Made(lambda m, x: torch.tanh(F.linear(x, divided(m.w))), **ROW), torch.randn(2, 5, 3)
    module.w.data *= 0.2 if small else 1.0
    arch = lw.trace(module, x)
    laws = by_rules(arch, "mse")
    assert not laws.exact_independent and laws.gaps and not arch.trace.opaque, laws


@pytest.mark.parametrize("stream", [False, True])
def test_lengths_without_their_dimension_are_those_of_other_rows(stream):
    """`w / w.norm(dim=1)` of a square divides columns by the lengths of rows: it was read as a norm of each row."""
    square = {"w": (4, 4)}

    def run(m, x):
        return torch.tanh(F.linear(x, m.w if stream else m.w / m.w.norm(dim=1)))

    module = Made((lambda m, x: (h := run(m, x)) / h.norm(dim=-1)) if stream else run, **square)
    x = torch.randn(4, 4)
    arch = lw.trace(module, x)
    assert not any("fault of lawful" in str(op) for op in arch.trace.opaque), arch.trace
    laws = by_rules(arch, "mse")
    assert laws.gaps or laws.independent == lw.count(module, args=x).laws
