"""What is zero up to rounding, or no number, in the module itself is no difference between the two networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lawful as lw
from lawful.graph.tracing.faults import same
from lawful.graph.tracing.gaps import Run, gap_of, settled


class Centred(nn.Module):
    """The sum of what instance norm centres: zero, whatever the weights are."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 3, 1, bias=False), nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.b(F.instance_norm(self.a(x)).sum((2, 3)))


class Equal(nn.Module):
    """Equal outputs, which cross-entropy does not see."""

    def __init__(self):
        super().__init__()
        self.a, self.p = nn.Linear(4, 3), nn.Parameter(torch.randn(1))

    def forward(self, x):
        return F.linear(self.a(x).exp(), self.p.expand(3, 3))


class Quotient(nn.Module):
    """0 / 0 in a sample all of whose units are off."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.b(h / h.norm(dim=-1, keepdim=True))


class Cut(nn.Module):
    """A parameter that is repeated for all features, cut into single ones behind."""

    def __init__(self):
        super().__init__()
        self.a, self.p, self.b = nn.Linear(4, 2, bias=False), nn.Parameter(torch.randn(1)), nn.Linear(2, 4, bias=False)

    def forward(self, x):
        h = self.a(x) * self.a.weight.sum(1) + self.p.expand(2)
        return self.b((h * torch.tensor([2.0, 0.0])).mean(1))


IMAGE, ROWS, WORDS = torch.randn(4, 4, 3, 3), torch.randn(4, 4), torch.randn(4, 4, 4)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("case", [(Centred, IMAGE), (Equal, ROWS), (Quotient, ROWS), (Cut, WORDS)])
def test_rounding_refuses_and_refutes_nothing(case, loss: str) -> None:
    kind, x = case
    for seed in range(3):
        torch.manual_seed(seed)
        laws = lw.derive(kind(), loss, args=(x,))
        assert not any("fault of lawful" in n or "bug of lawful" in n for n in laws.notes)


def test_only_what_is_rounding_in_the_module_is_cleared() -> None:
    noise = torch.tensor([1e-17, -2e-17])
    run = Run({"y": torch.ones(2)}, {"w": noise, "v": torch.ones(2)})
    shaken = Run({"y": torch.ones(2)}, {"w": -noise, "v": torch.ones(2)})
    for got, agrees in ((3 * noise, True), (torch.full((2,), 1e-9), False), (torch.ones(2), False)):
        other = Run({"y": torch.ones(2)}, {"w": got, "v": torch.ones(2)})
        assert gap_of(*settled(run, shaken, other, 1.0)).same is agrees or gap_of(run, other).same
    small = Run({"y": torch.ones(2)}, {"w": 1e5 * noise, "v": torch.ones(2)})
    assert settled(small, small, small, 1.0)[0].gradients["w"].equal(1e5 * noise)  # it does not move: no rounding
    assert not settled(run, run, run, 1.0)[0].gradients["w"].any()  # below the last bits of what beside it is not zero


def test_a_value_of_another_kind_is_another_value() -> None:
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    nan = torch.tensor([float("nan"), 1.0], dtype=torch.float64)
    assert same(x, x + 1e-16) and same(nan, nan) and same(x > 0, x > 0)
    assert not same(x, x > 0) and not same(x, nan) and not same(x, x[None]) and not same(x, x + 1e-6)


class Spectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, dtype=torch.complex64))

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x) * self.w, n=4)


def test_complex_parameters_are_pairs_of_real_ones() -> None:
    module = Spectrum()
    before, kind = module.w, type(module)
    laws = lw.derive(module, args=(ROWS,))
    assert module.w is before and type(module) is kind
    assert not len(laws) or laws.verify(module, args=(ROWS,)).verdict is lw.Verdict.HOLDS


class Sparse(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 4, **options), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.table(x))


def test_gradients_of_every_layout_and_scale() -> None:
    words = torch.arange(12).reshape(4, 3) % 5
    assert lw.derive(Sparse(), args=(words,)).independent == 10
    assert lw.derive(Sparse(sparse=True), args=(words,)).independent == 10
    scaled = lw.derive(Sparse(scale_grad_by_freq=True), args=(words,))  # its backward is no derivative
    assert not len(scaled) and "embedding" in scaled.notes[0] and "scale_grad_by_freq" in scaled.notes[0]


def test_the_default_epsilon_of_a_norm_is_that_of_float32() -> None:
    module = nn.Sequential(nn.Linear(3, 8, bias=False), nn.RMSNorm(8), nn.Linear(8, 3, bias=False))
    laws = lw.derive(module, args=(torch.randn(4, 3),))
    assert (laws.exact_independent, laws.independent) == (8, 9) and not laws.notes


class Masked(nn.Module):
    """A mask that is made of the inputs and of the number of examples."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False)

    def forward(self, x, mask):
        rows = torch.arange(x.shape[0])
        kept = mask[rows].float()[:, :, None].expand(x.shape[0], x.shape[1], 3)
        return self.b(self.a(x) * kept)


def test_inputs_that_are_prepared_for_one_batch_size() -> None:
    mask = torch.tensor([[1, 1, 0, 1]]).expand(4, 4).contiguous()
    laws = lw.derive(Masked(), args=(WORDS, mask))
    assert not any("fault of lawful" in n for n in laws.notes)
    assert laws.exact_independent in (3, 6)
