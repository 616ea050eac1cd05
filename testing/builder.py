"""How random architectures grow: piece by piece, with every registered block among the pieces."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from typing import TypeVar

from hypothesis import strategies as st

from lawful import blocks as b
from lawful.graph.architecture.compile import Nodes, output_signal

Draw = st.DrawFn
T = TypeVar("T")
CONVOLUTIONS = {1: b.Conv1d, 2: b.Conv2d, 3: b.Conv3d}


@dataclass
class Builder:
    """Grows a network piece by piece and remembers the linear maps that may be used again.

    Attributes:
        draw: of hypothesis.
        most: parameters after which it grows no more.
        linears: maps that may be used again.
        counted: the blocks that it has made, by identity.
    """

    draw: Draw
    most: int
    linears: list[b.Linear] = field(default_factory=list)
    counted: dict[int, b.Block] = field(default_factory=dict)

    @property
    def budget(self) -> int:
        """Parameters that are left; a block that is used again costs nothing."""
        specs = (spec for block in self.counted.values() for spec in block.parameters.values())
        return self.most - sum(prod(spec.shape) for spec in specs)

    def count(self, net: b.Net) -> None:
        """Takes the parameters of a net off the budget."""
        nodes = Nodes()
        nodes.add("", net, [("input", 0)])
        self.counted |= {id(block): block for block in nodes.blocks.values()}

    def pick(self, options: Sequence[T]) -> T:
        """One of some options."""
        return self.draw(st.sampled_from(options))

    def flag(self) -> bool:
        """A coin."""
        return bool(self.draw(st.booleans()))

    def width(self, least: int = 2) -> int:
        """A small width."""
        return self.draw(st.integers(least, 4))

    # Pieces that may change the width

    def linear(self, features: int, width: int) -> b.Net:
        """A linear map: new, frozen, or one that is there already."""
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
            windows = {1: [(1, 0, 1), (2, 0, 1), (3, 1, 1), (2, 0, 2)], 2: [(1, 0, 1), (2, 0, 1)], 3: [(1, 0, 1)]}
            kernel, padding, stride = self.pick(windows[rank])
        elif min(s.space) >= 3 and self.pick([False, True]) and (rank == 1 or self.budget > 60):
            kernel, padding = 3, 1
        groups = s.features if self.pick([False, False, False, True]) else 1
        n = self.width() if groups == 1 else s.features * self.draw(st.integers(1, 2))
        return CONVOLUTIONS[rank](s.features, n, kernel, stride, padding, groups, bias=self.flag())

    # Pieces that keep the signal

    def activation(self) -> b.Net:
        """Any activation."""
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
        """A norm with or without gain and shift, epsilon 0."""
        gain, shift = self.flag(), self.flag()
        kinds = ["layer", "rms", "batch"]
        if (s.features == 4 and s.channels_first) or (s.features >= 6 and s.features % 2 == 0):
            kinds.append("group")
            gain = True  # the mean of a core over space is zero, which a pooling right after it would see
        kind = self.pick(kinds)
        n = s.features
        if kind == "layer" and n >= 3:
            return b.LayerNorm(n, gain, shift, 0.0)
        if kind == "group":
            return b.GroupNorm(self.pick([1, 2] if n >= 6 else [1]), n, gain, shift, 0.0)
        if kind == "batch":
            return b.BatchNorm(n, gain, shift, 0.0)
        return b.RMSNorm(n, gain, 0.0)

    def affine(self, s: b.Signal) -> b.Net:
        """A gain, a shift or both."""
        gain = self.flag()
        return b.Affine(s.features, gain, not gain or self.flag())

    def attention(self, s: b.Signal) -> b.Net:
        """Self-attention with random heads and options."""
        heads, kv = self.pick([(1, 1), (2, 2), (2, 1)])
        return b.SelfAttention(
            s.features,
            heads,
            kv,
            head_width=2,
            bias=self.flag(),
            causal=self.flag(),
            rotary=self.pick([0.0, 0.0, 10.0]),
            scores=self.pick(["softmax", "softmax", "softmax", "linear"]),
        )

    def glu(self, s: b.Signal) -> b.Net:
        """A gated linear unit."""
        hidden = self.draw(st.integers(2, 3))
        return b.GatedLinearUnit(
            s.features, hidden, self.pick([b.SiLU(), b.ReLU(), b.Identity(), b.Sigmoid()]), self.flag()
        )

    def mixture(self, s: b.Signal) -> b.Net:
        """A dense mixture of two or three experts."""
        experts = [self.back_to(s, 1) for _ in range(self.draw(st.integers(2, 3)))]
        return self.joined(b.MixtureOfExperts(s.features, experts), experts)

    def back_to(self, s: b.Signal, depth: int) -> b.Net:
        """A net that ends in the signal it began with."""
        net, out = self.chain(s, depth)
        if out == s and self.flag():
            return net
        if s.channels_first and s.space:
            last: b.Net = CONVOLUTIONS[len(s.space)](out.features, s.features, 1, bias=self.flag())
        else:
            last = self.linear(out.features, s.features)
        return net >> last

    def fork(self, s: b.Signal, depth: int) -> b.Net:
        """Branches joined by a sum, a product or side by side."""
        join = self.pick([b.Add(), b.Product(), b.Concat()])
        branches = [self.back_to(s, depth) for _ in range(self.draw(st.integers(2, 3)))]
        return self.joined(b.parallel(*branches, join=join), branches)

    def joined(self, net: b.Net, parts: Sequence[b.Net]) -> b.Net:
        """A net of parts that keep the signal; rarely, and wherever a counterexample can do with it, they in a row."""
        if self.draw(st.integers(0, 9)):
            return net
        return reduce(operator.rshift, parts)

    def chain(self, s: b.Signal, depth: int) -> tuple[b.Net, b.Signal]:
        """One to three pieces that keep the positions."""
        net: b.Net | None = None
        for _ in range(self.draw(st.integers(1, 3))):
            piece = self.piece(s, depth)
            self.count(piece)
            net = piece if net is None else net >> piece
            s = output_signal(piece, s)
            if self.budget <= 0:
                break
        assert net is not None
        return net, s

    def block(self, s: b.Signal) -> b.Net:
        """A net around any registered block that says how it follows such a signal."""
        known = {name: nets for name, kind in sorted(b.kinds().items()) if (nets := kind.examples(s))}
        if not known:
            return self.activation()
        return self.pick(known[self.pick(list(known))])

    def piece(self, s: b.Signal, depth: int) -> b.Net:
        """One piece that keeps the positions."""
        options = ["linear", "linear", "activation", "activation", "norm", "affine", *["block"] * 6]
        if depth > 0 and self.budget > 0:
            options += ["residual", "residual", "fork", "glu" if not s.channels_first else "residual"]
            if s.features >= 4:
                options.append("split")
            if not s.channels_first:
                options.append("mixture")
            if len(s.space) == 1 and not s.channels_first:
                options += ["attention", "attention"]
        kind = self.pick(options)
        if kind == "linear":
            return self.conv(s) if s.channels_first and s.space else self.linear(s.features, self.width())
        if kind == "residual":
            branch = self.back_to(s, depth - 1)
            return self.joined(b.residual(branch), [branch])
        if kind == "fork":
            return self.fork(s, depth - 1)
        if kind == "split":
            half = s.features // 2
            if s.features == 2 * half:
                return b.Split((half, half)) >> self.pick([b.Add(), b.Product(), b.Concat()])
            return b.Split((half, s.features - half)) >> b.Concat()
        if kind in ("glu", "mixture", "attention", "norm", "affine", "block"):
            return getattr(self, kind)(s)
        return self.activation()
