"""Calls that no table names, read by what they do to numbers; complex numbers, products of any kind, fixed maps.

Every count is that of the oracle, which knows no block.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lawful as lw
from lawful import blocks as b
from lawful.graph.questions.derive import by_rules
from lawful.theory.verdict import Verdict


class Between(nn.Module):
    """Something between linear maps."""

    def __init__(
        self, middle: Callable[..., torch.Tensor], ins: tuple[int, ...], width: int, conv: bool = False
    ) -> None:
        super().__init__()
        self.ins = nn.ModuleList(nn.Linear(4, n) for n in ins)
        self.out = nn.Linear(width, 2)
        self.middle = middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.middle(*(f(x) for f in self.ins)))
        return y


def known(model: nn.Module, *args: torch.Tensor) -> lw.LawSet:
    """The laws of a module that is read by rules alone, and that hold on it."""
    trace = lw.trace(model, *args).trace
    assert trace is not None and not trace.opaque and not trace.narrow, trace
    laws = lw.derive(model, args=args)
    assert not laws or lw.verify(model, args=args).verdict in (Verdict.HOLDS, Verdict.APPROXIMATE)
    assert not any("bug of lawful" in str(n) for n in laws.notes)
    return laws


def frequency_mlp(h: torch.Tensor) -> torch.Tensor:
    f = torch.fft.rfft(h, dim=1)
    y = torch.stack([F.relu(f.real - f.imag), F.relu(f.imag + f.real)], -1)
    return torch.fft.irfft(torch.view_as_complex(y), n=8, dim=1)


ALONG: dict[str, tuple[Callable[..., torch.Tensor], int, int]] = {
    "fourier": (frequency_mlp, 4, 4),
    "sizes of frequencies": (lambda h: torch.fft.rfft(h, dim=1).abs(), 4, 4),
    "products of frequencies": (lambda h: (torch.fft.rfft(h, dim=1) * torch.fft.rfft(h, dim=1).conj()).real, 4, 4),
    "order and spread": (lambda h: torch.cat([h.sort(1)[0][:, 0], h.median(1)[0], h.std(1)], -1), 12, 4),
    "quantile and variance": (lambda h: torch.cat([torch.quantile(h, 0.3, dim=1), h.var(1)], -1), 8, 4),
    "largest few": (lambda h: F.relu(h).transpose(1, 2).topk(2, -1)[0].flatten(1), 8, 4),
    "differences": (lambda h: torch.diff(h, dim=1), 4, 14),
    "no degree": (lambda h: torch.logcumsumexp(h, 1), 4, 0),
}


@pytest.mark.parametrize("kind", ALONG)
def test_a_function_of_the_positions_of_every_feature_has_a_rule(kind: str) -> None:
    middle, width, laws = ALONG[kind]
    torch.manual_seed(0)
    assert known(Between(middle, (4,), width), torch.randn(3, 8, 4)).independent == laws


def test_a_function_that_mixes_features_or_examples_is_not_taken_for_one_that_does_not() -> None:
    torch.manual_seed(0)
    for middle in (lambda h: torch.fft.fft(h, dim=-1).real, lambda h: torch.fft.fft(h, dim=0).real):
        trace = lw.trace(Between(middle, (4,), 4), torch.randn(3, 8, 4)).trace
        assert trace is not None and [o.op for o in (*trace.narrow, *trace.opaque)]


def test_what_a_transform_leaves_out_is_noted() -> None:
    torch.manual_seed(0)
    arch = lw.trace(Between(frequency_mlp, (4,), 4), torch.randn(3, 8, 4))
    assert any("zeros at" in str(note) for note in by_rules(arch, "mse").notes)


class Filter(nn.Module):
    """A complex factor for every frequency and channel (GFNet), and complex maps of single frequencies (FNO)."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.maps, self.a, self.b = maps, nn.Linear(4, 4), nn.Linear(4, 2)
        self.w = nn.Parameter(torch.randn((3, 4, 4) if maps else (5, 4), dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = torch.fft.rfft(self.a(x), dim=1)
        if self.maps:
            out = torch.zeros_like(f)
            out[:, :3] = torch.einsum("bki,kio->bko", f[:, :3], self.w)
        else:
            out = f * self.w
        y: torch.Tensor = self.b(torch.fft.irfft(out, n=8, dim=1))
        return y


@pytest.mark.parametrize(("maps", "laws"), [(False, 8), (True, 20)])
def test_complex_parameters_are_pairs_of_real_ones(maps: bool, laws: int) -> None:
    torch.manual_seed(0)
    assert known(Filter(maps), torch.randn(3, 8, 4)).independent == laws


def heads(t: torch.Tensor) -> torch.Tensor:
    return t.unflatten(-1, (2, -1)).transpose(1, 2)


def attention(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        weights = change(heads(q) @ heads(k).transpose(-1, -2))
        return (weights @ heads(v)).transpose(1, 2).flatten(2)

    return run


SEEN = torch.ones(4, 4).tril()
DECAY = torch.stack([SEEN * 0.9, SEEN * 0.5 ** torch.arange(4.0)])
WEIGHTS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {
    "relu": (lambda s: F.relu(s) / 4, 14),
    "causal and linear": (lambda s: s.masked_fill(SEEN == 0, 0.0), 14),
    "decaying": (lambda s: s * DECAY, 14),
    "turned": (lambda s: s.permute(0, 2, 3, 1).softmax(2).permute(0, 3, 1, 2), 12),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_attention_may_be_multiplied_and_turned(kind: str) -> None:
    change, laws = WEIGHTS[kind]
    torch.manual_seed(0)
    model = Between(attention(change), (4, 4, 4), 4)
    for f in (*model.ins, model.out):
        f.bias = None  # type: ignore[assignment]
    assert known(model, torch.randn(2, 4, 4)).independent == laws


def test_a_query_that_sees_nothing_gets_zeros_from_a_fused_kernel() -> None:
    seen = torch.ones(4, 4, dtype=torch.bool)
    seen[1] = False
    torch.manual_seed(0)
    model = Between(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=seen), (4, 4, 4), 4)
    assert known(model, torch.randn(2, 4, 4)).independent == 24


def test_heads_that_are_mixed_by_a_parameter_are_maps() -> None:
    class Talking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.pre, self.post, self.o = nn.Linear(4, 12), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 2).permute(2, 0, 3, 1, 4)
            a = self.pre((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            a = self.post(a.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            y: torch.Tensor = self.o((a @ v).transpose(1, 2).flatten(2))
            return y

    torch.manual_seed(0)
    assert known(Talking(), torch.randn(2, 4, 4)).independent == 18


MEETING: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...], int, int]] = {
    "outer product": (lambda u, v: torch.bmm(u.unsqueeze(2), v.unsqueeze(1)).flatten(1), (3, 2), 6, 5),
    "pairs": (lambda u, v: torch.einsum("bi,bj->bij", u, v).flatten(1), (3, 2), 6, 5),
    "one number and many": (lambda u, v: F.relu(v + u - u.mean(1, keepdim=True)), (3, 1), 3, 6),
}


@pytest.mark.parametrize("kind", MEETING)
def test_features_meet_those_of_another_tensor(kind: str) -> None:
    middle, ins, width, laws = MEETING[kind]
    torch.manual_seed(0)
    assert known(Between(middle, ins, width), torch.randn(3, 4)).independent == laws


def test_a_fixed_matrix_lets_one_scale_through() -> None:
    bank = torch.rand(5, 4)
    torch.manual_seed(0)
    laws = known(Between(lambda h: h @ bank, (5,), 4), torch.randn(2, 7, 4))
    assert laws.independent == 1 and any("fixed matrix" in str(note) for note in laws.notes)


def test_kernels_with_normalised_weights_are_read() -> None:
    torch.manual_seed(0)
    first = nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 3, 3, padding=2, dilation=2))
    assert known(nn.Sequential(first, nn.ReLU(), nn.Conv1d(3, 2, 1)), torch.randn(2, 6, 5)).independent == 6


def test_a_detached_value_that_changes_nothing_is_not_opaque_and_any_other_is() -> None:
    def softmax(h: torch.Tensor, kept: bool) -> torch.Tensor:
        e = (h - h.detach().amax(1, keepdim=True)).exp()
        return e if kept else e / e.sum(1, keepdim=True)

    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)
    quiet = lw.trace(Between(lambda h: softmax(h, False), (3,), 3), x).trace
    loud = lw.trace(Between(lambda h: softmax(h, True), (3,), 3), x).trace
    assert quiet is not None and loud is not None
    assert not quiet.opaque and [o.op.partition(".")[0] for o in loud.opaque] == ["detach"]
    assert any("no output changes with it" in str(note) for note in quiet.limits)


def test_features_that_become_pixels_of_an_output_leave_its_channels() -> None:
    class Unpatch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p, self.f = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.f(F.relu(self.p(x)).flatten(2).transpose(1, 2)).reshape(-1, 2, 2, 2, 2, 3)
            return torch.einsum("nhwpqc->nchpwq", z).reshape(-1, 3, 4, 4)

    torch.manual_seed(0)
    assert known(Unpatch(), torch.randn(2, 3, 4, 4)).independent == 4


def test_a_parameter_gives_a_tensor_the_axes_that_it_lacks() -> None:
    class Tokenizer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f, self.w, self.out = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 3)), nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.out(torch.relu(self.f(x)[..., None] * self.w).flatten(1))
            return y

    torch.manual_seed(0)
    assert known(Tokenizer(), torch.randn(3, 4)).independent == 16


def test_a_group_norm_of_single_positions_reads_these_alone() -> None:
    def grouped(h: torch.Tensor) -> torch.Tensor:
        return F.group_norm(h.flatten(0, 1), 2).view(h.shape)

    torch.manual_seed(0)
    known(Between(grouped, (6,), 6), torch.randn(2, 5, 4))


def test_a_law_of_sums_over_the_features_of_a_head_reads_head_by_head() -> None:
    """It read sums over all features at once, and was listed as exact while it was false."""
    maps = b.Parallel(
        (("q", b.Linear(6, 6, False)), ("k", b.Linear(6, 6, False)), ("v", b.Linear(6, 6, False))), core()
    )
    net = maps >> b.HeadNormCore(2, True, 1e-5) >> b.Affine(6) >> b.Linear(6, 6, False)
    arch = lw.Architecture(net, input=b.Signal(6, (4,)))
    assert lw.verify(arch).verdict is Verdict.APPROXIMATE
    exact = {law.name for law in lw.derive(arch) if law.exact}
    assert all(r.verdict is Verdict.HOLDS for r in lw.verify(arch).laws if r.law in exact)


def core() -> b.DotProductAttention:
    return b.DotProductAttention(2, scores="linear")


def test_blank_queries_and_factors_are_what_the_block_says() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 6, dtype=torch.float64) for _ in range(3))
    mask = torch.zeros(4, 4, dtype=torch.float64)
    mask[1] = -math.inf
    arch = lw.Architecture(b.DotProductAttention(1, mask=b.Numbers(mask), blank=True), input=(b.Signal(6, (4,)),) * 3)
    got = arch.to_torch().double()(q, k, v)
    assert (
        torch.allclose(got, F.scaled_dot_product_attention(q, k, v, attn_mask=mask).nan_to_num())
        and not got[:, 1].any()
    )


@pytest.mark.parametrize(
    ("function", "derived", "counted"),
    [
        (lambda h: h.prod(1), 1, 4),
        (lambda h: h.exp().prod(1), 0, 4),
        (lambda h: h.cumprod(1)[:, -1], 0, 4),
        (lambda h: h.logsumexp(1), 0, 0),
        (lambda h: h.std(1), 8, 8),
        (lambda h: h.median(1).values, 4, 4),
    ],
    ids=["product", "product of exponentials", "running product", "log of a sum", "spread", "median"],
)
def test_products_along_positions_are_no_functions_of_features_alone(
    function: Callable[[torch.Tensor], torch.Tensor], derived: int, counted: int
) -> None:
    """A factor of one position is a factor of the product: laws of that are named, and were missing without a note."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.out(function(self.a(x)))
            return y

    net, x = Net(), torch.randn(5, 4, 3)
    laws = lw.derive(lw.trace(net, x))
    assert (laws.exact_independent, lw.count(net, args=(x,)).laws) == (derived, counted)
    assert bool(laws.notes) == (derived < counted)
