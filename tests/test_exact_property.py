"""Random polynomial networks: the exact count is the float count is the engine's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import Phase, assume, example, find, given, note, settings
from hypothesis import strategies as st

import lawful as lw
from lawful import blocks as b
from lawful.blocks import Run
from lawful.theory.verdict import Verdict

LARGEST = 40  # trainable scalars
EXAMPLES = max(6, settings().max_examples // 40)  # about a second each: 7 by default, 125 at night

Draw = st.DrawFn


def size(arch: lw.Architecture) -> int:
    return sum(p.size for p in arch.parameters.values() if not p.frozen)


class Pieces:
    """Grows a network on vectors or on a line of pixels, and remembers the maps that may be used again."""

    def __init__(self, draw: Draw, convolutional: bool, least: int) -> None:
        self.draw, self.convolutional, self.least = draw, convolutional, least
        self.known: list[b.Block] = []

    def pick(self, *options: object) -> object:
        return self.draw(st.sampled_from(options))

    def width(self) -> int:
        return self.draw(st.integers(self.least, 3))

    def map(self, features: int, width: int) -> b.Net:
        """A linear map or a convolution, new or one that is there already (or its transpose)."""
        bias = self.draw(st.booleans())
        same = [m for m in self.known if (m.features, m.width) == (features, width)]
        turned = [m for m in self.known if (m.width, m.features) == (features, width) and m.tie is None]
        use = self.pick("new", "new", "new", *["same"] * len(same), *["turned"] * len(turned))
        if use == "same":
            return self.pick(*same)
        if use == "turned":
            return b.Linear(features, width, bias, tie=b.Tie(self.pick(*turned), transposed=True))
        if self.convolutional:
            kernel = self.pick(1, 3)
            return b.Conv1d(features, width, kernel, padding=kernel // 2, bias=bias)
        new = b.Linear(features, width, bias)
        self.known.append(new)
        return new

    def activated(self, net: b.Net) -> b.Net:
        """With an activation after it, or none."""
        act = self.pick(b.ReLU, lambda: b.LeakyReLU(0.25), lambda: b.Power(2), None)
        return net if act is None else net >> act()

    def hidden(self, features: int, out: int) -> b.Net:
        """Two maps with an activation between them."""
        n = self.width()
        return self.activated(self.map(features, n)) >> self.map(n, out)

    def product(self, features: int, out: int) -> b.Net:
        """Two branches, one with an activation, multiplied entry by entry."""
        return b.parallel(self.activated(self.map(features, out)), self.map(features, out), join=b.Product())

    def piece(self, features: int) -> tuple[b.Net, int]:
        kind = self.pick("map", "map", "skip", "sum", "product")
        if kind == "skip":
            return b.residual(self.hidden(features, features)), features
        n = self.width()
        if kind == "product":
            return self.product(features, n), n
        if kind == "sum":
            return b.parallel(self.hidden(features, n), self.map(features, n)), n
        return self.activated(self.map(features, n)), n


@st.composite
def polynomial_networks(draw: Draw, least: int = 2) -> lw.Architecture:
    """Chains, skips, sums, products and shared maps of at most `LARGEST` parameters; every axis has `least` entries."""
    convolutional = draw(st.sampled_from([False, False, True]))
    pieces = Pieces(draw, convolutional, least)
    n = start = pieces.width()
    net: b.Net | None = None
    for _ in range(draw(st.integers(1, 3))):
        new, n = pieces.piece(n)
        net = net >> new if net else new
    assert net is not None
    net = net >> pieces.map(n, draw(st.integers(least, 3)))
    signal = b.Signal(start, (4,), channels_first=True) if convolutional else b.Signal(start)
    arch = lw.Architecture(net, input=signal)
    assume(0 < size(arch) <= LARGEST)
    return arch


losses = st.sampled_from(["mse", "cross_entropy"])


def counts(arch: lw.Architecture, loss: str) -> tuple[lw.Count, lw.Count, lw.LawSet]:
    """The exact count, the float count if it decides, and the laws of the engine."""
    exact, rounded, laws = lw.count(arch, loss, exact=True), lw.count(arch, loss), lw.derive(arch, loss)
    assert exact.verdict is Verdict.HOLDS
    agree(exact, rounded)
    return exact, rounded, laws


def agree(exact: lw.Count, rounded: lw.Count) -> None:
    """The float count is the exact one where it decides."""
    if rounded.verdict is not Verdict.UNDECIDED:  # rounding is no reason to disagree, and none to agree
        assert rounded.verdict is Verdict.HOLDS
        assert (exact.laws, exact.ranks[0]) == (rounded.laws, rounded.ranks[0])


@given(polynomial_networks(), losses)
@settings(max_examples=EXAMPLES)
def test_exact_count_is_float_count_is_engine_is_certified(arch: lw.Architecture, loss: str) -> None:
    """Without axes of one entry nothing is accidental; a limit that the engine names may hide laws, never add one."""
    assume(loss == "mse" or arch.output.features >= 3)
    note(arch.to_json())
    exact, _, laws = counts(arch, loss)
    assert laws.independent <= exact.laws if laws.gaps else laws.independent == exact.laws
    proved = lw.certificate(arch, loss).check()
    assert (proved.at_least, proved.at_most) == (laws.independent, exact.laws)


def scalar_stream() -> lw.Architecture:
    """A linear branch around a wire of one entry is a factor `1 + v u`: it moves `u` and `v` along one field only."""
    branch = b.Linear(1, 2, False) >> b.Linear(2, 1, False)
    return lw.Architecture(b.Linear(2, 1, False) >> b.residual(branch) >> b.Linear(1, 2, False), input=b.Signal(2))


def tied_scalar_stream() -> lw.Architecture:
    """The same with `u = v`: the factor `1 + |u|^2` moves `u` along itself, so its direction is conserved too."""
    up = b.Linear(1, 2, False)
    branch = up >> b.Linear(2, 1, False, tie=b.Tie(up, transposed=True))
    return lw.Architecture(b.Linear(2, 1, False) >> b.residual(branch) >> b.Linear(1, 2, False), input=b.Signal(2))


def scalar_chain() -> lw.Architecture:
    """From one number to one number by way of two layers: 7 laws, of which 6 come from gauges."""
    return lw.Architecture(b.Linear(1, 2, False) >> b.Linear(2, 2, False) >> b.Linear(2, 1, False), input=b.Signal(1))


def has_scalar_wire(arch: lw.Architecture) -> bool:
    return any(wire.size == 1 for wire in arch.diagram().wires)


@given(polynomial_networks(least=1), losses)
@settings(max_examples=EXAMPLES)
@example(scalar_chain(), "mse")
@example(scalar_stream(), "mse")
@example(tied_scalar_stream(), "mse")
def test_accidental_laws_need_an_axis_of_one_entry(arch: lw.Architecture, loss: str) -> None:
    assume(loss == "mse" or arch.output.features >= 2)
    note(arch.to_json())
    # Units that read multiples of one number are on together: no point has the patterns of all, and at some none is on.
    exact = lw.count(arch, loss, exact=True)
    assume(exact.verdict is Verdict.HOLDS)
    rounded, laws = lw.count(arch, loss), lw.derive(arch, loss)
    agree(exact, rounded)
    assert laws.independent <= exact.laws
    if exact.laws > laws.independent and not laws.gaps:
        assert has_scalar_wire(arch) or arch.output.features == 2


@pytest.mark.parametrize(
    ("network", "counted", "derived"), [(scalar_chain, 7, 6), (scalar_stream, 5, 4), (tied_scalar_stream, 3, 1)]
)
def test_accidental_laws(network: Callable[[], lw.Architecture], counted: int, derived: int) -> None:
    exact, rounded, laws = counts(network(), "mse")
    assert (exact.laws, rounded.laws, laws.independent) == (counted, counted, derived)


def tied_linear_skip() -> lw.Architecture:
    """`W (x + U^T U x)`: found by this test, with a law that is no polynomial."""
    up = b.Linear(2, 2, False)
    branch = up >> b.Linear(2, 2, False, tie=b.Tie(up, transposed=True))
    return lw.Architecture(b.chain(skip=b.residual(branch), head=b.Linear(2, 2, False)), input=b.Signal(2))


def test_a_law_with_a_logarithm() -> None:
    """With `g = W^T w` training moves `U' = U (g x^T + x g^T)`, so that `log det U` grows by `2 g^T x`, as a part of
    `|W|^2 - |U|^2 / 2` does: their difference is conserved, and the engine says that it lists no such laws."""
    arch = tied_linear_skip()
    exact, rounded, laws = counts(arch, "mse")
    assert (exact.laws, rounded.laws, laws.independent) == (1, 1, 0)
    assert "has just computed" in " ".join(laws.notes)
    assert lw.search_laws(arch, degree=4).count == 0

    generator = torch.Generator().manual_seed(0)
    params = {n: p.requires_grad_() for n, p in arch.random_parameters(generator).items()}
    u, w = params.values()
    out = arch.forward(params, arch.random_inputs(5, generator))
    push = torch.autograd.grad((out - 1.0).square().sum(), (u, w))

    def drift(law: torch.Tensor) -> float:
        slopes = torch.autograd.grad(law, (u, w))
        sizes = sum(float(s.norm() * p.norm()) for s, p in zip(slopes, push, strict=True))
        return abs(sum(float((s * p).sum()) for s, p in zip(slopes, push, strict=True))) / sizes

    quadratic = w.square().sum() - u.square().sum() / 2
    assert drift(quadratic - u.det().abs().log()) < 1e-12
    assert drift(w.square().sum() - u.square().sum() / 2) > 1e-2  # without the logarithm


# --- what the strategy reaches ---------------------------------------------------------------------------------------

REACHED = settings(max_examples=2_000, phases=[Phase.generate])


def blocks(arch: lw.Architecture) -> list[b.Block]:
    return [arch.block(n) for n in arch.nodes]


def gates(arch: lw.Architecture) -> bool:
    """Whether activation patterns are drawn at all."""
    generator, run = torch.Generator().manual_seed(0), Run(recording=True)
    arch.forward(arch.random_parameters(generator), arch.random_inputs(1, generator), run)
    return bool(run.recorded)


CASES: dict[str, Callable[[lw.Architecture], bool]] = {
    "sharing": lambda a: len({id(x) for x in blocks(a) if x.parameters}) < sum(bool(x.parameters) for x in blocks(a)),
    "a transpose": lambda a: any(t.transposed for x in blocks(a) for t in x.ties.values()),
    "a skip": lambda a: any(n.endswith("skip") for n in a.nodes),
    "a product": lambda a: any(x.kind == "Product" for x in blocks(a)),
    "a leaky ReLU": lambda a: any(isinstance(x, b.ReLU) and x.slope for x in blocks(a)),
    "a square": lambda a: any(x.kind == "Power" for x in blocks(a)),
    "a convolution": lambda a: any(x.kind == "Conv1d" and x.kernel == 3 for x in blocks(a)),
    "a bias": lambda a: any(n.endswith("bias") for n in a.parameters),
    "free gates": gates,
    "linear": lambda a: not gates(a) and not any(x.kind in ("Power", "Product") for x in blocks(a)),
    "five kinds of blocks": lambda a: len({x.kind for x in blocks(a)}) >= 5,
    "laws and brackets": lambda a: 0 < lw.derive(a).independent and len(lw.count(a, exact=True).ranks) > 2,
}


@pytest.mark.parametrize("case", CASES)
def test_the_strategy_reaches(case: str) -> None:
    find(polynomial_networks(), CASES[case], settings=REACHED)


def test_the_strategy_reaches_accidental_laws() -> None:
    def accidental(arch: lw.Architecture) -> bool:
        laws = lw.derive(arch)
        return size(arch) <= 16 and lw.count(arch, exact=True).laws > laws.independent and not laws.notes

    find(polynomial_networks(least=1), accidental, settings=REACHED)
