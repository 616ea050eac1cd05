"""Hypothesis strategies: random architectures and their parts.

Sizes are small enough for the oracle and large enough to avoid accidental laws: every axis has at least 2 entries,
norms, classes and token axes at least 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st

from lawful import blocks as b
from lawful.graph.architecture import Architecture
from lawful.graph.compile import output_signal

Draw = st.DrawFn
T = TypeVar("T")
FEATURES = ("residual", "parallel", "shared", "frozen", "norm", "attention", "image", "tokens")


@dataclass
class _Builder:
    """Grows a network piece by piece and remembers the linear maps that may be used again."""

    draw: Draw
    budget: int
    linears: list[b.Linear] = field(default_factory=list)
    tables: bool = False

    def pick(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def width(self, least: int = 2) -> int:
        return self.draw(st.integers(least, 4))

    # Pieces that may change the width

    def linear(self, features: int, width: int) -> b.Net:
        """A linear map: new, frozen, or one that is there already."""
        self.budget -= features * width
        known = [m for m in self.linears if (m.features, m.width) == (features, width)]
        if bool(known) and self.pick([False, False, True]):
            return self.pick(known)
        flipped = [
            m
            for m in self.linears
            if (m.width, m.features) == (features, width) and m.tie is None and m.width <= m.features
        ]
        if bool(flipped) and self.pick([False, False, True]):
            return b.Linear(features, width, self.flag(), tie=b.Tie(self.pick(flipped), transposed=True))
        new = b.Linear(features, width, self.flag())
        self.linears.append(new)
        return new

    def conv(self, s: b.Signal, first: bool = False) -> b.Net:
        """A convolution; all but the first keep the positions."""
        rank = len(s.space)
        kernel, padding, stride = 1, 0, 1
        if first:
            kernel, padding, stride = self.pick(
                [(1, 0, 1), (2, 0, 1), (3, 1, 1), (2, 0, 2)] if rank == 1 else [(1, 0, 1), (2, 0, 1)]
            )
        elif min(s.space) >= 3 and self.pick([False, True]) and (rank == 1 or self.budget > 60):
            kernel, padding = 3, 1
        groups = s.features if self.pick([False, False, False, True]) else 1
        n = self.width() if groups == 1 else s.features * self.draw(st.integers(1, 2))
        cls = b.Conv1d if rank == 1 else b.Conv2d
        self.budget -= s.features // groups * n * kernel**rank
        return cls(s.features, n, kernel, stride, padding, groups, self.flag())

    # Pieces that keep the signal

    def activation(self) -> b.Net:
        return self.pick(
            [
                b.ReLU(),
                b.LeakyReLU(0.3),
                b.Abs(),
                b.ReLU(0.0, 2),
                b.Power(2),
                b.GELU(),
                b.SiLU(),
                b.Tanh(),
                b.Dropout(0.5),
            ]
        )

    def norm(self, s: b.Signal) -> b.Net:
        gain, shift = self.flag(), self.flag()
        kinds = ["layer", "rms", "batch"]
        if (s.features == 4 and s.channels_first) or (s.features >= 6 and s.features % 2 == 0):
            kinds.append("group")
            gain = True  # the mean of a core over space is zero, which a pooling right after it would see
        kind = self.pick(kinds)
        self.budget -= s.features * (gain + shift)
        n = s.features
        if kind == "layer" and n >= 3:
            return b.LayerNorm(n, gain, shift, 0.0)
        if kind == "group":
            return b.GroupNorm(self.pick([1, 2] if n >= 6 else [1]), n, gain, shift, 0.0)
        if kind == "batch":
            return b.BatchNorm(n, gain, shift, 0.0)
        return b.RMSNorm(n, gain, 0.0)

    def affine(self, s: b.Signal) -> b.Net:
        gain = self.flag()
        self.budget -= s.features
        return b.Affine(s.features, gain, not gain or self.flag())

    def attention(self, s: b.Signal) -> b.Net:
        heads, kv = self.pick([(1, 1), (2, 2), (2, 1)])
        width = 2
        self.budget -= (2 * heads + 2 * kv) * width * s.features
        return b.SelfAttention(
            s.features,
            heads,
            kv,
            width,
            self.flag(),
            self.flag(),
            self.pick([0.0, 0.0, 10.0]),
            self.pick([True, True, True, False]),
        )

    def glu(self, s: b.Signal) -> b.Net:
        hidden = self.draw(st.integers(2, 3))
        self.budget -= 3 * s.features * hidden
        return b.GatedLinearUnit(
            s.features, hidden, self.pick([b.SiLU(), b.ReLU(), b.Identity(), b.Sigmoid()]), self.flag()
        )

    def mixture(self, s: b.Signal) -> b.Net:
        experts = [self.back_to(s, 1) for _ in range(self.draw(st.integers(2, 3)))]
        self.budget -= s.features * len(experts)
        return b.MixtureOfExperts(s.features, experts)

    def back_to(self, s: b.Signal, depth: int) -> b.Net:
        """A net that ends in the signal it began with."""
        net, out = self.chain(s, depth)
        if out == s and self.flag():
            return net
        if s.channels_first and s.space:
            last: b.Net = (
                b.Conv1d(out.features, s.features, 1, bias=self.flag())
                if len(s.space) == 1
                else b.Conv2d(out.features, s.features, 1, bias=self.flag())
            )
            self.budget -= out.features * s.features
        else:
            last = self.linear(out.features, s.features)
        return net >> last

    def fork(self, s: b.Signal, depth: int) -> b.Net:
        """Branches joined by a sum, a product or side by side."""
        join = self.pick([b.Add(), b.Product(), b.Concat()])
        branches = [self.back_to(s, depth) for _ in range(self.draw(st.integers(2, 3)))]
        return b.parallel(*branches, join=join)

    def chain(self, s: b.Signal, depth: int) -> tuple[b.Net, b.Signal]:
        """One to three pieces that keep the positions."""
        net: b.Net | None = None
        for _ in range(self.draw(st.integers(1, 3))):
            piece = self.piece(s, depth)
            net = piece if net is None else net >> piece
            s = output_signal(piece, s)
            if self.budget <= 0:
                break
        assert net is not None
        return net, s

    def piece(self, s: b.Signal, depth: int) -> b.Net:
        options = ["linear", "linear", "activation", "activation", "norm", "affine"]
        if depth > 0 and self.budget > 0:
            options += ["residual", "residual", "fork", "glu" if not s.channels_first else "residual"]
            if s.features >= 4:
                options.append("split")
            if not s.channels_first:
                options.append("mixture")
            if s.space and not s.channels_first:
                options += ["attention", "attention"]
        kind = self.pick(options)
        if kind == "linear":
            return self.conv(s) if s.channels_first and s.space else self.linear(s.features, self.width())
        if kind == "residual":
            return b.residual(self.back_to(s, depth - 1))
        if kind == "fork":
            return self.fork(s, depth - 1)
        if kind == "split":
            half = s.features // 2
            if s.features == 2 * half:
                return b.Split((half, half)) >> self.pick([b.Add(), b.Product(), b.Concat()])
            return b.Split((half, s.features - half)) >> b.Concat()
        if kind in ("glu", "mixture", "attention", "norm", "affine"):
            return getattr(self, kind)(s)
        return self.activation()


@st.composite
def vectors(draw: Draw, max_depth: int = 2) -> Architecture:
    """Networks on plain vectors."""
    builder = _Builder(draw, 90)
    s = b.Signal(builder.width())
    return _finish(builder, s, max_depth, draw)


@st.composite
def sequences(draw: Draw, max_depth: int = 2) -> Architecture:
    """Networks on tokens: embedding or vectors, positions, attention, pooling."""
    builder = _Builder(draw, 80)
    tokens = draw(st.integers(3, 4))
    net: b.Net | None = None
    if builder.flag():
        # More words than features, and always attention after them: a network of a few words is a few numbers.
        s = b.Signal(draw(st.integers(4, 5)), (tokens,), tokens=True)
        width = draw(st.integers(2, 3))
        net = b.Embedding(s.features, width)
        builder.budget -= s.features * width
    else:
        s = b.Signal(builder.width(), (tokens,))
    now = output_signal(net, s) if net else s
    start = builder.pick(["nothing", "position", "class", "both"]) if net or builder.flag() else "nothing"
    builder.tables = start != "nothing"
    for kind, make in (
        ("class", lambda n: b.ClassToken(n.features)),
        ("position", lambda n: b.LearnedPosition(n.space[0], n.features)),
    ):
        if start in (kind, "both"):
            extra = make(now)
            net = net >> extra if net else extra
            builder.budget -= now.features * 3
            now = output_signal(net, s)
    if builder.tables or s.tokens:
        assert net is not None
        attention = builder.attention(now)
        net = net >> (b.residual(attention) if builder.flag() else attention)
    if not net and builder.pick([False, False, False, True]):
        net = b.Recurrent(now.features, 2, tokens, builder.pick([b.ReLU(), b.LeakyReLU(0.3), b.Tanh()]), builder.flag())
        builder.budget -= 4 + 2 * now.features
    return _finish(builder, s, max_depth, draw, net)


@st.composite
def images(draw: Draw, max_depth: int = 2) -> Architecture:
    """Convolutional networks in one or two dimensions."""
    builder = _Builder(draw, 90)
    rank = draw(st.integers(1, 2))
    s = b.Signal(draw(st.integers(2, 3)), (4,) * rank, channels_first=True)
    if rank == 2 and builder.pick([False, False, True]):
        patches = b.Conv2d(s.features, builder.width(), 2, 2, bias=builder.flag()) >> b.ToTokens()
        builder.budget -= 4 * s.features * 3
        return _finish(builder, s, max_depth, draw, patches)
    net: b.Net = builder.conv(s, first=True)
    s2 = output_signal(net, s)
    if rank == 2 and s2.space[0] >= 4 and builder.flag():
        net = net >> builder.pick([b.MaxPool2d(2, 2), b.AveragePool2d(2)])
    return _finish(builder, s, max_depth, draw, net)


def _finish(builder: _Builder, s: b.Signal, depth: int, draw: Draw, net: b.Net | None = None) -> Architecture:
    """A body, a pooling where there are positions, and a head."""
    now = output_signal(net, s) if net else s
    body, now = builder.chain(now, depth)
    net = net >> body if net else body
    if now.space and (now.channels_first or builder.flag()):
        options: list[b.Net] = [b.GlobalAveragePool()]
        if now.channels_first:
            options.append(b.Flatten())
        if not now.channels_first:
            options.append(b.SelectToken(now.space[0] - 1))
        net = net >> builder.pick(options)
        now = output_signal(net, s)
    if now.channels_first or builder.pick([True, True, True, False]) or now.features < 3:
        net = net >> b.Linear(now.features, builder.width(3), builder.flag())
    arch = Architecture(net, input=s)
    if builder.pick([False, False, False, True]):
        names = [n for n, p in arch.parameters.items() if len(p.shape) == 1]
        if names:
            arch = arch.freeze(draw(st.sampled_from(sorted(names))))
    return arch


def architectures(max_depth: int = 2) -> st.SearchStrategy[Architecture]:
    """Architectures of every kind: vectors, token sequences, images; with skips, branches, shared or frozen weights.

    Args:
        max_depth: how deep residuals and branches nest; a network has up to some twenty blocks.
    """
    if not 0 <= max_depth <= 6:
        raise ValueError(f"max_depth is {max_depth}, expected 0 to 6")
    return st.one_of(vectors(max_depth), sequences(max_depth), images(max_depth))


losses = st.sampled_from(["mse", "cross_entropy"])
