"""Blocks of users that have heads: cut in small copies by what they declare, as those of the library are."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
import torch
from test_shrink import agree, trainable

from lawful import blocks as b
from lawful.blocks.rules import AttentionRule, NormRule, Rule
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import check


@dataclass(frozen=True, eq=False, repr=False)
class LinearCore(b.Block):
    """`(q k^T) v` per head; each of `kv_heads` heads of keys and values serves several of queries."""

    heads: int
    kv_heads: int

    inputs = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads % self.kv_heads:
            raise b.ShapeError(f"{self}: {self.kv_heads} key heads must divide {self.heads} query heads")

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads, self.kv_heads, self.kv_heads)

    def with_heads(self, heads: Sequence[int]) -> b.Block:
        return dataclasses.replace(self, heads=heads[0], kv_heads=heads[1])

    def shrunk(self) -> b.Block:
        kv = min(self.kv_heads, 2)
        return self.with_heads((kv * min(self.heads // self.kv_heads, 2), kv))

    def width_multiple(self, port: int) -> int:
        return 2 * (self.kv_heads if port in (1, 2) else self.heads)

    def width_relations(self, signals: Sequence[b.Signal]) -> list[b.WidthRelation]:
        copies = Fraction(self.heads, self.kv_heads)
        return [b.WidthRelation(1, {0: 1 / copies}), b.WidthRelation(-1, {2: copies})]

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        q, k, v = signals
        if q.features % self.heads or q.features // self.heads * self.kv_heads != k.features:
            raise b.ShapeError(f"{self} gets {q} and {k}")
        return (q.with_features(v.features // self.kv_heads * self.heads),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        keys = inputs[1].space[-1]
        return AttentionRule(self.heads, self.kv_heads, power=1, linear=True, unseen=False, normalised=False, keys=keys)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> Any:
        counts = (self.heads, self.kv_heads, self.kv_heads)
        q, k, v = (t.unflatten(-1, (n, -1)).transpose(-2, -3) for t, n in zip(x, counts, strict=True))
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, -3) for t in (k, v))
        return (q @ k.transpose(-1, -2) @ v).transpose(-2, -3).flatten(-2)


@dataclass(frozen=True, eq=False, repr=False)
class HeadRMS(b.Block):
    """Every head to mean square 1."""

    heads: int

    @property
    def port_heads(self) -> tuple[int, ...]:
        return (self.heads,)

    def with_heads(self, heads: Sequence[int]) -> b.Block:
        return dataclasses.replace(self, heads=heads[0])

    def shrunk(self) -> b.Block:
        return self.with_heads((min(self.heads, 2),))

    def width_minimum(self, port: int) -> int:
        return 3 * self.heads

    def width_multiple(self, port: int) -> int:
        return self.heads

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        if signals[0].features % self.heads:
            raise b.ShapeError(f"{self} gets {signals[0]}")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return NormRule(centre=False, groups=self.heads)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> Any:
        y = x[0].unflatten(-1, (self.heads, -1))
        return (y / (y**2).mean(-1, keepdim=True) ** 0.5).flatten(-2)


@dataclass(frozen=True, eq=False, repr=False)
class Gained(b.Block):
    """`gain * x` with a number that is trained."""

    @property
    def parameters(self) -> dict[str, b.Spec]:
        return {"gain": b.Spec((1,))}

    def input_signal(self) -> b.Signal:
        return b.Signal(3)

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        return signals

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return Rule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> Any:
        return p["gain"] * x[0]


def attention(heads: int, kv_heads: int, width: int, normed: bool = False) -> Architecture:
    q: b.Net = b.Linear(width, width, False)
    if normed:
        q = b.chain(map=q, norm=HeadRMS(heads))
    k, v = (b.Linear(width, width // heads * kv_heads, False) for _ in range(2))
    core = b.Parallel((("q", q), ("k", k), ("v", v)), LinearCore(heads, kv_heads))
    return Architecture(
        b.Linear(width, width) >> core >> b.Linear(width, width, False), input=b.Signal(width, space=(64,))
    )


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 8), (16, 4), (12, 1)])
def test_heads_of_users_are_cut_as_those_of_attention(heads: int, kv_heads: int) -> None:
    small = attention(heads, kv_heads, 16 * heads).shrink()
    core = next(small.block(n) for n in small.nodes if small.block(n).kind == "LinearCore")
    kv = min(kv_heads, 2)
    assert core.port_heads == (kv * min(heads // kv_heads, 2), kv, kv)
    assert trainable(small) < 1000
    agree(small, "mse")


def test_heads_between_a_map_and_a_core_are_those_of_the_core() -> None:
    """Grouped queries keep four heads, twice as many as a block alone keeps."""
    small = attention(16, 4, 256, normed=True).shrink()
    heads = {small.block(n).kind: small.block(n).port_heads[0] for n in small.nodes if small.block(n).port_heads}
    assert heads == {"LinearCore": 4, "HeadRMS": 4}


def test_a_block_that_cannot_be_frozen_says_what_it_lacks() -> None:
    with pytest.raises(b.ShapeError, match="give Gained a field `frozen"):
        Architecture(Gained()).freeze("gained")


def test_a_large_network_with_heads_of_users_is_counted_on_its_copy() -> None:
    report = check(attention(8, 8, 128))
    assert report.complete, report.summary
