"""Latent attention and rotary position as published code writes them out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.theory.verdict import Verdict

Turn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LAWS = 16  # 4 + 4 without positions, a scalar for the plane, 4 of the latent vector, and the values: counted
TOKENS = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


def by_halves(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """As gpt-oss does."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def backwards(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """As modded-nanogpt does."""
    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat([a * angle.cos() + b * angle.sin(), a * (-angle.sin()) + b * angle.cos()], -1)


def to_halves(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """As DeepSeek-V3 does in transformers: neighbours become halves."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def by_neighbours(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1).flatten(-2)


def in_pairs(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1).flatten(-2)


def complex_numbers(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """As Llama and DeepSeek-V2 do."""
    z = torch.view_as_complex(x.contiguous().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle)).flatten(-2).type_as(x)


class Latent(nn.Module):
    """Two heads with one plane that turns and two features that do not; keys and values from one latent vector."""

    def __init__(self, turn: Turn, written: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.turn, self.written = turn, written
        self.register_buffer("speed", torch.tensor([0.7]))
        self.q, self.down = nn.Linear(3, 8, bias=False), nn.Linear(3, 4, bias=False)
        self.up, self.out = nn.Linear(2, 8, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        angle = torch.arange(length)[:, None] * self.speed
        q_plain, q_turned = self.q(x).view(batch, length, 2, 4).transpose(1, 2).split([2, 2], -1)
        latent, k_turned = self.down(x).split([2, 2], -1)
        k_plain, v = self.up(latent).view(batch, length, 2, 4).transpose(1, 2).split([2, 2], -1)
        q = torch.cat([q_plain, self.turn(q_turned, angle)], -1)
        turned = self.turn(k_turned.view(batch, 1, length, 2), angle).expand(-1, 2, -1, -1)
        if self.written:
            k = q.new_empty(batch, 2, length, 4)
            k[..., :2].copy_(k_plain)
            k[..., 2:].copy_(turned)
        else:
            k = torch.cat([k_plain, turned], -1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, 4))


@pytest.mark.parametrize("turn", [by_halves, backwards, to_halves, by_neighbours, in_pairs, complex_numbers])
def test_rotations_are_read_however_they_are_written(turn: Turn) -> None:
    module = Latent(turn)
    laws = lw.derive(module, args=(TOKENS,))
    assert not any("degrees" in note or "no rule" in note for note in laws.notes), laws.notes
    assert laws.independent == LAWS
    assert lw.verify(module, laws, args=(TOKENS,)).verdict is Verdict.HOLDS


def test_a_count_says_the_same() -> None:
    assert lw.count(Latent(to_halves), args=(TOKENS,)).laws == LAWS
    assert lw.derive(Latent(by_halves, written=False), args=(TOKENS,)).independent == LAWS


class Filled(nn.Module):
    """A tensor that is written position by position, or feature by feature."""

    def __init__(self, positions: bool) -> None:
        super().__init__()
        self.positions = positions
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.up(x).relu()
        y = torch.empty_like(h)
        for i in range(4):
            if self.positions:
                y[:, i] = h[:, i]
            else:
                y[..., i] = h[..., i]
        return self.down(y)


@pytest.mark.parametrize("positions", [True, False])
def test_what_is_written_piece_by_piece_is_what_was_written(positions: bool) -> None:
    laws = lw.derive(Filled(positions), args=(TOKENS,))
    assert laws.independent == 4 and not any("opaque" in note or "degrees" in note for note in laws.notes)


class Alternating(nn.Module):
    """Every second feature is written by another map."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.odd, self.down = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.new_zeros(*x.shape[:-1], 4)
        y[..., 0::2] = self.even(x)
        y[..., 1::2] = self.odd(x)
        return self.down(y.relu())


def test_features_that_are_written_in_turn() -> None:
    assert lw.derive(Alternating(), args=(TOKENS,)).independent == 4
