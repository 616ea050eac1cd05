"""Nested brackets of fields, and whether their derivatives are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.func import jvp, vmap
from torch.utils import _pytree

from .signal import Sampler

Field = Callable[[torch.Tensor, Any], torch.Tensor]

NOISE = 1e-8  # relative size below which a singular value, or a sample, may be rounding
ROUNDS = 8  # of drawing, until enough data give numbers
TRIED, STEP = 5, 1e-6  # samples, and the relative step, of the finite differences that derivatives are held against
ROUNDING = 1e-6  # a bracket far below the product of its fields, over the size of the parameters, is rounding


def level_rows(
    field: Field, state: torch.Tensor, sample: Sampler, level: int, n: int, chunk: int
) -> tuple[torch.Tensor, int]:
    """`n` nested brackets of `level + 1` random fields, scaled by the size of their terms.

    Data for which they are no numbers (a mean over no token, the logarithm of what is negative) are drawn again: no
    step of training is made with them.  Where nearly all are like that, the rows are not finite.

    Returns:
        The rows, and how many were drawn again.
    """
    blocks, scales, lacking, again = [], [], n, 0
    for _ in range(ROUNDS):
        for data in level_data(sample, level, lacking, chunk):
            x, scale = brackets_of(field, state, data)
            finite = torch.isfinite(x).all(1) & torch.isfinite(scale)
            blocks.append(x[finite])
            scales.append(scale[finite])
            lacking -= int(finite.sum())
            again += int((~finite).sum())
        if not lacking:
            break
    if lacking:
        return torch.full((n, state.numel()), torch.nan, dtype=state.dtype), again
    return torch.cat(blocks) / row_scales(torch.cat(scales)), again


def where_finite(field: Field, state: torch.Tensor, sample: Sampler) -> Sampler:
    """The data for which the fields are numbers, as many as are asked for; others too, if there are too few."""

    def draw(n: int) -> Any:
        kept, found = [], 0
        for _ in range(ROUNDS):
            data = sample(2 * n)
            finite = torch.isfinite(vmap(field, (None, 0))(state, data)).all(1)
            kept.append(_pytree.tree_map(lambda t, rows=finite: t[rows], data))
            found += int(finite.sum())
            if found >= n:
                return _pytree.tree_map(lambda *parts: torch.cat(parts)[:n], *kept)
        return sample(n)

    return draw


def level_data(sample: Sampler, level: int, n: int, chunk: int) -> Iterator[tuple[Any, ...]]:
    """Data of `n` brackets of `level + 1` fields, for at most `chunk` at once."""
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        yield tuple(sample(size) for _ in range(level + 1))


def brackets_of(field: Field, state: torch.Tensor, data: tuple[Any, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Nested brackets of the fields of some data, and the size of the terms of each."""

    def one(data: tuple[Any, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        if len(data) == 1:
            x = field(state, data[0])
            return x, x.norm()
        a, b, size = _terms(field, data, state)
        # Where the function is linear in all that moves, both terms are rounding and must stay small.
        return a - b, a.norm() + b.norm() + ROUNDING * size / state.norm()

    return vmap(one)(data)


def row_scales(scale: torch.Tensor) -> torch.Tensor:
    """What every bracket is divided by, shape `(n, 1)`, for sizes of terms of shape `(n,)`."""
    typical = scale[scale >= NOISE * scale.max()].median()  # most samples may be degenerate, and only rounding
    return torch.maximum(scale, typical * 1e-3).clamp_min(1e-300)[:, None]


def derivable(field: Field, state: torch.Tensor, sample: Sampler, depth: int) -> bool:
    """Whether derivatives of nested brackets are those of finite differences, along fields, at most of some samples.

    What was detached, or has a backward of its own, has others, and some operations of torch have wrong ones from the
    second on (`linalg.solve`); brackets of these mean nothing.
    """

    def error(data: tuple[Any, ...], other: Any) -> tuple[torch.Tensor, torch.Tensor]:
        along = field(state, other)
        along = along / along.norm().clamp_min(1e-300)
        step = STEP * state.norm()

        def inner(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if len(data) == 1:
                value = field(t, data[0])
                return value, 1e-6 * value.norm()
            one, two, _ = _terms(field, data, t)
            return one - two, 1e-4 * (one.norm() + two.norm())  # a bracket may vanish, and its terms are rounded

        moved: Any = jvp(inner, (state,), (along,), has_aux=True)
        _, derivative, least = moved
        ahead, behind = vmap(lambda s: inner(state + s * along)[0])(torch.stack([step, -step]))
        measured = (ahead - behind) / (2 * step)
        scale = torch.stack([derivative.norm(), measured.norm(), least]).max()
        return (derivative - measured).norm(), scale

    errors, scales = vmap(error)(tuple(sample(TRIED) for _ in range(depth)), sample(TRIED))
    return int((errors <= 1e-3 * scales).sum()) > TRIED // 2


def _terms(field: Field, data: Sequence[Any], theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the bracket of a field `a` with the bracket `b` of all others: its two terms, and the size of both.

    The terms are the derivative of `b` along `a`, and of `a` along `b`.
    """
    if len(data) == 2:  # two plain fields are one function of two data
        both = _pytree.tree_map(lambda *parts: torch.stack(parts), *data)
        values = vmap(field, (None, 0))(theta, both)
        sizes = values.norm(dim=1)

        def along(each: Any, direction: torch.Tensor) -> torch.Tensor:
            return jvp(lambda t: field(t, each), (theta,), (direction,))[1]

        of_a, of_b = vmap(along)(both, values.flip(0))
        return of_b, of_a, sizes[0] * sizes[1]

    def a(t: torch.Tensor) -> torch.Tensor:
        return field(t, data[0])

    def b(t: torch.Tensor) -> torch.Tensor:
        first, second, _ = _terms(field, data[1:], t)
        return first - second

    va = a(theta)
    moved: Any = jvp(b, (theta,), (va,))
    vb, along_a = moved
    return along_a, jvp(a, (theta,), (vb,))[1], va.norm() * vb.norm()
