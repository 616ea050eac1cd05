"""Nested brackets of fields, and whether their derivatives are right."""

from __future__ import annotations

<<<<<<< HEAD
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
=======
from collections.abc import Callable, Iterator, Sequence
from typing import Any
>>>>>>> main

import torch
from torch.func import jvp, vmap
from torch.utils import _pytree

from .signal import Sampler

Field = Callable[[torch.Tensor, Any], torch.Tensor]

NOISE = 1e-8  # relative size below which a singular value, or a sample, may be rounding
ROUNDS = 8  # of drawing, until enough data give numbers
TRIED, STEP = 5, 1e-6  # samples, and the relative step, of the finite differences that derivatives are held against
ROUNDING = 1e-6  # a bracket far below the product of its fields, over the size of the parameters, is rounding


<<<<<<< HEAD
class Rows(NamedTuple):
    """Some nested brackets.

    Attributes:
        rows: shape `(n, D)`, scaled by the size of their terms.
        derivable: whether the derivatives that they are made of are those of finite differences.
=======
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
        a, b, size = _terms(_with(field, data[0]), _nested(field, data[1:]), state)
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
>>>>>>> main
    """

    rows: torch.Tensor
    derivable: bool


class _Bracket(NamedTuple):
    """The bracket of a field `a` with the bracket `b` of others: its two terms, and both fields."""

    b_along_a: torch.Tensor
    a_along_b: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor

    @property
    def value(self) -> torch.Tensor:
        return self.b_along_a - self.a_along_b

    @property
    def size(self) -> torch.Tensor:
        """That of its terms; the bracket itself may vanish."""
        return self.b_along_a.norm() + self.a_along_b.norm()


def level_rows(field: Field, state: torch.Tensor, sample: Sampler, level: int, n: int, chunk: int) -> Rows:
    """`n` nested brackets of `level + 1` random fields, scaled by the size of their terms.

    What was detached, or has a backward of its own, has other derivatives than finite differences, and some operations
    of torch have wrong ones from the second on (`linalg.solve`); brackets of these mean nothing.  It is the derivative
    of the inner bracket along the outer field that is held against its finite difference, at most of some samples.
    """

    def one(data: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
        if level == 0:
            x = field(state, data[0])
            return x, x.norm(), x, x
        found = _bracket(field, data, state)
        # Where the function is linear in all that moves, both terms are rounding and must stay small.
        rounding = ROUNDING * found.a.norm() * found.b.norm() / state.norm()
        return found.value, found.size + rounding, found.a, found.b_along_a

    def error(
        data: tuple[Any, ...], direction: torch.Tensor, derivative: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length = direction.norm().clamp_min(1e-300)
        step = STEP * state.norm()

        def inner(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if len(data) == 1:
                value = field(t, data[0])
                return value, 1e-6 * value.norm()
            found = _bracket(field, data, t)
            return found.value, 1e-4 * found.size

        ends, least = vmap(lambda s: inner(state + s * direction / length))(torch.stack([step, -step]))
        measured = (ends[0] - ends[1]) / (2 * step)
        scale = torch.stack([(derivative / length).norm(), measured.norm(), least.max()]).max()
        return (derivative / length - measured).norm(), scale

    blocks, scales, derivable = [], [], True
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        data = tuple(sample(size) for _ in range(level + 1))
        x, scale, direction, derivative = vmap(one)(data)
        blocks.append(x)
        scales.append(scale)
        if level and not start:
            tried = _pytree.tree_map(lambda part: part[:TRIED], (data[1:], direction, derivative))
            errors, sizes = vmap(error)(*tried)
            derivable = int((errors <= 1e-3 * sizes).sum()) > len(errors) // 2
    scale = torch.cat(scales)
    typical = scale[scale >= NOISE * scale.max()].median()  # most samples may be degenerate, and only rounding
    factors = torch.maximum(scale, typical * 1e-3).clamp_min(1e-300)[:, None]
    return Rows(torch.cat(blocks) / factors, derivable)


def _bracket(field: Field, data: Sequence[Any], theta: torch.Tensor) -> _Bracket:
    """The bracket of the first field with that of the second one with that of the third, and so on."""
    if len(data) == 2:  # two plain fields are one function of two data
        both = _pytree.tree_map(lambda *parts: torch.stack(parts), *data)
        values = vmap(field, (None, 0))(theta, both)

        def along(each: Any, direction: torch.Tensor) -> torch.Tensor:
            return jvp(lambda t: field(t, each), (theta,), (direction,))[1]

        of_a, of_b = vmap(along)(both, values.flip(0))
        return _Bracket(of_b, of_a, values[0], values[1])

    def a(t: torch.Tensor) -> torch.Tensor:
        return field(t, data[0])

    va = a(theta)
    vb, along_a = jvp(lambda t: _bracket(field, data[1:], t).value, (theta,), (va,))
    return _Bracket(along_a, jvp(a, (theta,), (vb,))[1], va, vb)
