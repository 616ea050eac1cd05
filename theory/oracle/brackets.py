"""Nested brackets of fields, and whether their derivatives are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.func import jvp, vmap

from .signal import Sampler

Field = Callable[[torch.Tensor, Any], torch.Tensor]

NOISE = 1e-8  # relative size below which a singular value, or a sample, may be rounding
TRIED, STEP = 5, 1e-6  # samples, and the relative step, of the finite differences that derivatives are held against
ROUNDING = 1e-6  # a bracket far below the product of its fields, over the size of the parameters, is rounding


def level_rows(field: Field, state: torch.Tensor, sample: Sampler, level: int, n: int, chunk: int) -> torch.Tensor:
    """`n` nested brackets of `level + 1` random fields, scaled by the size of their terms."""

    def one(data: tuple[Any, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        if level == 0:
            x = field(state, data[0])
            return x, x.norm()
        a, b, size = _terms(_with(field, data[0]), _nested(field, data[1:]), state)
        # Where the function is linear in all that moves, both terms are rounding and must stay small.
        return a - b, a.norm() + b.norm() + ROUNDING * size / state.norm()

    blocks, scales = [], []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        x, scale = vmap(one)(tuple(sample(size) for _ in range(level + 1)))
        blocks.append(x)
        scales.append(scale)
    scale = torch.cat(scales)
    typical = scale[scale >= NOISE * scale.max()].median()  # most samples may be degenerate, and only rounding
    return torch.cat(blocks) / torch.maximum(scale, typical * 1e-3).clamp_min(1e-300)[:, None]


def derivable(field: Field, state: torch.Tensor, sample: Sampler, depth: int) -> bool:
    """Whether derivatives of nested brackets are those of finite differences, along fields, at most of some samples.

    What was detached, or has a backward of its own, has others, and some operations of torch have wrong ones from the
    second on (`linalg.solve`); brackets of these mean nothing.
    """

    def error(data: tuple[Any, ...], other: Any) -> tuple[torch.Tensor, torch.Tensor]:
        inner = _nested(field, data)
        along = field(state, other)
        along = along / along.norm().clamp_min(1e-300)
        step = STEP * state.norm()
        derivative = jvp(inner, (state,), (along,))[1]
        measured = (inner(state + step * along) - inner(state - step * along)) / (2 * step)
        if len(data) > 1:  # a bracket may vanish, and its terms are rounded
            one, two, _ = _terms(_with(field, data[0]), _nested(field, data[1:]), state)
            least = 1e-4 * (one.norm() + two.norm())
        else:
            least = 1e-6 * inner(state).norm()
        scale = torch.stack([derivative.norm(), measured.norm(), least]).max()
        return (derivative - measured).norm(), scale

    errors, scales = vmap(error)(tuple(sample(TRIED) for _ in range(depth)), sample(TRIED))
    return int((errors <= 1e-3 * scales).sum()) > TRIED // 2


def _with(field: Field, data: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The field of some data."""
    return lambda t: field(t, data)


def _nested(field: Field, data: Sequence[Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The bracket of a field with the bracket of the next one, and so on."""
    inner = _with(field, data[-1])
    for outer in reversed(data[:-1]):
        inner = _bracket(_with(field, outer), inner)
    return inner


def _terms(a: Callable, b: Callable, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The two terms of a bracket, the derivative of `b` along `a` and of `a` along `b`, and the size of both fields."""
    va = a(theta)
    vb, along_a = jvp(b, (theta,), (va,))
    return along_a, jvp(a, (theta,), (vb,))[1], va.norm() * vb.norm()


def _bracket(a: Callable, b: Callable) -> Callable:
    def field_(theta: torch.Tensor) -> torch.Tensor:
        first, second, _ = _terms(a, b, theta)
        return first - second

    return field_
