"""Blocks of one's own say what the library asks of its own: lengths, fixed numbers, buffers, batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import lawful as lw
from lawful import blocks as b
from lawful.blocks.masks import MaskedScores
from lawful.blocks.rules import BatchNormRule, PassRule, Rule, TableRule

TOKENS = 16


@dataclass(frozen=True, eq=False, repr=False)
class Faded(b.Block):
    """`y_t = a_t x_t` with a fixed factor for every position."""

    factors: tuple[float, ...]

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        if signals[0].space != (len(self.factors),):
            raise b.ShapeError(f"{self} fades {len(self.factors)} positions but gets {signals[0]}")
        return (signals[0],)

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return PassRule(keeps_constants=False)

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> torch.Tensor:
        return x[0] * torch.tensor(self.factors, dtype=x[0].dtype)[:, None]

    def at_fewer(self, old: Sequence[b.Signal], new: Sequence[b.Signal]) -> b.Block:
        return dataclasses.replace(self, factors=self.factors[: new[0].space[0]])


@dataclass(frozen=True, eq=False, repr=False)
class Rows(b.Block):
    """Learned rows, which a reader may want in another number."""

    length: int
    width: int

    inputs = 0

    @property
    def parameters(self) -> dict[str, b.Spec]:
        return {"rows": b.Spec((self.length, self.width), 0.5)}

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        return (b.Signal(self.width, (self.length,)),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return TableRule(names["rows"], (self.length, self.width))

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> torch.Tensor:
        return p["rows"].unsqueeze(0)

    @property
    def chooses_width(self) -> bool:
        return True

    def resize(self, signals: Sequence[b.Signal], width: int) -> b.Block:
        return dataclasses.replace(self, width=width)

    @property
    def chooses_length(self) -> bool:
        return True

    def with_length(self, positions: int) -> b.Block:
        return dataclasses.replace(self, length=positions)


@dataclass(frozen=True, eq=False, repr=False)
class Whitened(b.Block):
    """Every feature to mean 0 and variance 1 over the batch; counts its batches."""

    over_batch = True

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        return (signals[0],)

    @property
    def buffers(self) -> dict[str, b.Spec]:
        return {"batches": b.Spec((), mean=7.0)}

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return BatchNormRule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> torch.Tensor:
        y = x[0] - x[0].mean(0)
        return y / (y**2).mean(0).sqrt()


@dataclass(frozen=True, eq=False, repr=False)
class Mean(MaskedScores):
    """A core of attention whose weights are masked scores as they are: heads and masks come with the base."""

    def output(self, *signals: b.Signal) -> Sequence[b.Signal]:
        self.expect_biases(signals)
        return (signals[0].with_features(signals[2].features),)

    def rule(self, names: Mapping[str, str], inputs: Sequence[b.Signal], outputs: Sequence[b.Signal]) -> Rule:
        return Rule()

    def forward(self, p: Mapping[str, torch.Tensor], x: Sequence[torch.Tensor], run: Any) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for t in x[:3])
        scores = self.with_biases(q @ k.transpose(-1, -2), x)
        seen = self.visible(*scores.shape[-2:]).to(scores.dtype)
        return ((scores * seen) @ v).transpose(-2, -3).flatten(-2)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They are kinds for this file alone."""
    monkeypatch.setattr("lawful.blocks.registry._KINDS", b.kinds())
    for kind in (Faded, Rows, Whitened, Mean):
        b.register(kind)
    yield


def test_fixed_numbers_are_cut_with_their_positions() -> None:
    net = b.Linear(20, 30) >> Faded(tuple(1 / (i + 1) for i in range(TOKENS))) >> b.ReLU() >> b.Linear(30, 8)
    arch = lw.Architecture(net, input=b.Signal(20, (TOKENS,)))
    small = arch.shrink()
    assert small.inputs[0].space == (4,) and small.block("1").factors == (1.0, 1 / 2, 1 / 3, 1 / 4)
    assert lw.check(arch).complete
    assert lw.Architecture.from_json(arch.to_json()).to_json() == arch.to_json()


def test_a_table_of_ones_own_is_as_long_as_what_it_joins() -> None:
    net = b.Linear(20, 30) >> b.parallel(b.Identity(), Rows(TOKENS, 30), join=b.Add()) >> b.ReLU() >> b.Linear(30, 8)
    small = lw.Architecture(net, input=b.Signal(20, (TOKENS,))).shrink()
    assert next(s for n, s in ((n, small.block(n)) for n in small.nodes) if isinstance(s, Rows)).length == 4


def test_a_table_of_ones_own_gives_the_biases_that_attention_wants() -> None:
    net = b.SelfAttention(12, 4, relative="window", window_shape=(3, 3), table=Rows(25, 4))
    small = lw.Architecture(net, input=b.Signal(12, (9,))).shrink()
    core = next(small.block(n) for n in small.nodes if isinstance(small.block(n), b.DotProductAttention))
    rows = next(small.block(n) for n in small.nodes if isinstance(small.block(n), Rows))
    assert rows.length == core.rows < 25 and rows.width == core.heads == 2


def test_a_block_that_mixes_examples_is_never_taken_for_one_that_does_not() -> None:
    arch = lw.Architecture(b.Linear(3, 4) >> Whitened() >> b.Linear(4, 3))
    assert lw.check(arch).complete
    assert dict(arch.to_torch().named_buffers())["1.batches"] == 7.0


def test_masks_come_with_their_base() -> None:
    heads = {n: b.Linear(8, 8, False) for n in "qkv"}
    core = Mean(4, causal=True, window=2, alibi=True)
    arch = lw.Architecture(b.parallel(join=core, **heads) >> b.Linear(8, 3), input=b.Signal(8, (12,)))
    small = next(k for k in (arch.shrink().block(n) for n in arch.shrink().nodes) if isinstance(k, Mean))
    assert (small.heads, small.causal, small.window, small.alibi) == (2, True, 2, True)
    assert lw.Architecture.from_json(arch.to_json()).to_json() == arch.to_json()
    assert lw.derive(arch).notes  # its rule lets nothing through, and the answer says so
    x = [torch.randn(2, 12, 8, dtype=torch.float64) for _ in range(3)]
    moved = [t.clone() for t in x]
    moved[2][:, 6:] += 1.0  # later values are not seen, and those two steps ago are not either
    same = core.forward({}, x, None) == core.forward({}, moved, None)
    assert same[:, :6].all() and not same[:, 6:].any()
