"""What models of other packages compute by einsum, by broadcasting and by masks, with the number of laws that hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from whole import laws_of_whole

import lawful as lw
from lawful.graph.tracing import TraceError, trace


def einsum(equation: str, *operands: torch.Tensor) -> torch.Tensor:
    return torch.einsum(equation, *operands)


class Shared(nn.Module):
    """Attention in which one head of keys and values serves all heads of queries."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False)
        self.v, self.o = nn.Linear(6, 3, bias=False), nn.Linear(6, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(x).unflatten(-1, (2, 3)).transpose(1, 2)
        weights = einsum("b h i d, b j d -> b h i j", q, self.k(x)).softmax(-1)
        return self.o(einsum("b h i j, b j d -> b h i d", weights, self.v(x)).transpose(1, 2).flatten(2))


class Two(nn.Module):
    """Two maps of one input, and one of what they become."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)
        self.g = nn.Parameter(torch.tensor([0.7, -1.2, 0.4, 1.1]))
        self.w = nn.Parameter(torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0)))


class Gain(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(einsum("... c, c -> ... c", self.a(x).relu(), self.g))


class Headwise(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = einsum("...hd,hod->...ho", self.a(x).unflatten(-1, (2, 2)), self.w)
        return self.o(h.relu().flatten(-2))


class Axes(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return einsum("bnd,od", einsum("bdn->bnd", self.a(x).relu().mT), self.o.weight)


class Pairs(Two):
    """Every position beside every other one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o((self.a(x)[:, :, None] + self.b(x)[:, None]).relu()).mean(2)


class Differences(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        return self.o((h[:, :, None] - h[:, None]).relu()).sum(2)


class Weighed(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x).relu()
        return self.o(einsum("b i, b i c -> b c", self.b(x).sigmoid().mean(-1), h))


COUNTS = [(Shared(), 6, 12), (Gain(), 3, 8), (Headwise(), 3, 10), (Pairs(), 3, 8), (Differences(), 3, 4)]


@pytest.mark.parametrize(("module", "width", "count"), COUNTS, ids=lambda v: type(v).__name__)
def test_contractions_and_pairs_have_all_their_laws(module: nn.Module, width: int, count: int) -> None:
    x = torch.randn(4, 5, width)
    arch = trace(module, x)
    laws = lw.derive(module, args=(x,))
    assert not arch.trace.narrow and not arch.trace.opaque
    assert sum(law.count for law in laws if law.kind != "frozen") == count
    assert str(lw.verify(module, laws, args=(x,)).verdict) == "holds"


@pytest.mark.parametrize("module", [Axes(), Weighed()], ids=lambda m: type(m).__name__)
def test_contractions_are_read(module: nn.Module) -> None:
    x = torch.randn(4, 5, 3)
    arch = trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque
    laws = lw.derive(module, args=(x,))
    assert laws.count and str(lw.verify(module, laws, args=(x,)).verdict) == "holds"


class Linear(nn.Module):
    """Attention without a softmax: the keys are mixed with the values first."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)
        self.v, self.o = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(einsum("bnd,bde->bne", self.q(x), einsum("bnd,bne->bde", self.k(x), self.v(x))))


class Inner(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return einsum("bid,bjd->bij", self.a(x), self.b(x))


@pytest.mark.parametrize(("module", "least"), [(Linear(), 12), (Inner(), 14)], ids=lambda v: type(v).__name__)
def test_products_of_streams_say_what_they_leave_out(module: nn.Module, least: int) -> None:
    x = torch.randn(4, 5, 3)
    laws = lw.derive(lw.trace(module, x))
    assert laws.count >= least and laws.notes
    assert str(lw.verify(module, laws, args=(x,)).verdict) == "holds"


class Apart(Two):
    """Every second feature by itself, behind what no map wrote."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, v = (self.a(x).relu() + self.b(x).relu()).unflatten(-1, (2, 2)).unbind(-1)
        return self.o(torch.cat([u * v.sigmoid(), v], -1))


def test_features_that_lie_apart_are_brought_together() -> None:
    x = torch.randn(6, 3)
    arch = trace(module := Apart(), x)
    assert not arch.trace.narrow and not arch.trace.opaque
    laws = lw.derive(module, args=(x,))
    assert laws.count and str(lw.verify(module, laws, args=(x,)).verdict) == "holds"


class Inside(nn.Module):
    """Raises inside of a vmap of its own while it is exported."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def one(row: torch.Tensor) -> torch.Tensor:
            if torch.compiler.is_exporting():
                raise RuntimeError("not here")
            return self.a(row)

        return torch.vmap(one)(x)


def test_a_refused_trace_leaves_no_transform_open() -> None:
    try:
        trace(Inside(), torch.randn(4, 3))
    except TraceError:
        pass
    torch.randn(3)
    assert torch._C._functorch.get_dynamic_layer_stack_depth() == 0


class Announced(nn.Module):
    """A class that wants a name of every subclass."""

    def __init_subclass__(cls, name: str, **named: object) -> None:
        super().__init_subclass__(**named)


class Spectral(Announced, name="spectral"):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 4, dtype=torch.complex64))
        self.o = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        part = type(self)()  # of its own class, which holds what it needs as a buffer
        del part.w
        part.register_buffer("w", self.w[:, :4])
        return self.o((x.to(self.w.dtype) @ part.w).abs())


def test_complex_parameters_of_a_class_that_announces_its_subclasses() -> None:
    module = Spectral()
    laws = lw.derive(module, args=(torch.randn(6, 3),))
    assert str(lw.verify(module, laws, args=(torch.randn(6, 3),)).verdict) in ("holds", "vacuous")
    with pytest.raises(TypeError, match="name"):
        type("Sub", (Spectral,), {})


class Autoregressive(nn.Module):
    """MADE: maps by weights that fixed masks cut, of which the last one leaves an output without inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 3)
        inner, outer = torch.tensor([1, 2, 1, 2, 2, 1]), torch.arange(1, 4)
        self.register_buffer("first", (inner[:, None] >= outer).float())
        self.register_buffer("second", outer[:, None] > inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.linear(x, self.a.weight * self.first, self.a.bias).relu()
        return nn.functional.linear(h, self.second * self.b.weight, self.b.bias)


def test_masked_maps_have_all_their_laws() -> None:
    x = torch.randn(8, 3)
    arch = trace(module := Autoregressive(), x)
    assert not arch.trace.narrow and not arch.trace.opaque
    laws = lw.derive(module, args=(x,))
    assert laws.count == 24 == lw.count(module, args=(x,)).laws  # 6 units, 18 entries that are never read
    assert not lw.verify(module, laws, args=(x,)).violated


class Pooled(nn.Module):
    """Attention pooling: a softmax over the positions, of one number for each."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w, self.o = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.v(x).relu()
        return self.o((self.w(h).softmax(1) * h).sum(1))


class Image(nn.Module):
    """Linear attention over the pixels of an image, in two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Conv2d(3, 12, 1, bias=False), nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.reshape(len(x), 2, 2, -1) for t in self.qkv(x).chunk(3, 1))
        mixed = einsum("b h d n, b h e n -> b h d e", k.softmax(-1), v)
        y = einsum("b h d e, b h d n -> b h e n", mixed, q.softmax(-2))
        return self.o(y.reshape(len(x), 4, *x.shape[2:]))


@pytest.mark.parametrize(
    ("module", "shape", "count"),
    [(Pooled(), (6, 5, 3), 5), (Image(), (6, 3, 2, 3), 12)],
    ids=lambda v: type(v).__name__,
)
def test_a_softmax_over_positions_is_one_over_features_of_what_is_turned(
    module: nn.Module, shape: tuple[int, ...], count: int
) -> None:
    x = torch.randn(shape)
    laws = laws_of_whole(module, x)
    assert laws.count == count
    assert str(lw.verify(module, laws, args=(x,)).verdict) == "holds"


class Padded(nn.Module):
    """An image between two convolutions, with its own pixels around it."""

    def __init__(self, mode: str, around: tuple[int, ...] = (1, 1, 2, 0)) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 3)
        self.mode, self.around = mode, around

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(nn.functional.pad(self.a(x).relu(), self.around, self.mode))


@pytest.mark.parametrize(
    "module", [Padded("reflect"), Padded("replicate"), Padded("circular"), Padded("replicate", (0,) * 4)]
)
def test_a_border_of_the_image_itself_keeps_the_laws(module: Padded) -> None:
    x = torch.randn(5, 2, 4, 5)
    arch = trace(module, x)
    assert not arch.trace.narrow and not arch.trace.opaque
    laws = lw.derive(module, args=(x,))
    assert laws.count == 3 and str(lw.verify(module, laws, args=(x,)).verdict) == "holds"
