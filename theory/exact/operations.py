"""Torch operations as steps of polynomial programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from .program import NotPolynomialError
from .symbols import Choice, Symbol, Writer

# what only moves entries, repeats them or replaces them by zeros
MOVES = frozenset(
    "view _unsafe_view reshape permute transpose t expand unsqueeze squeeze slice select flip roll index_select index "
    "gather unfold im2col repeat alias clone detach _to_copy diagonal split split_with_sizes chunk unbind narrow tril "
    "triu diag_embed upsample_nearest1d upsample_nearest2d pixel_shuffle pixel_unshuffle reflection_pad1d "
    "reflection_pad2d replication_pad1d replication_pad2d as_strided lift_fresh_copy constant_pad_nd "
    "channel_shuffle movedim".split()
)
# other linear maps with fixed coefficients, which are measured on a basis
MAPS = frozenset("avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d cumsum".split())
WIDEST = 4096  # entries of a value whose map is measured on a basis
# what gives numbers that do not depend on the value, only on its shape
FRESH = frozenset("zeros_like ones_like new_zeros new_ones new_full new_empty empty_like full_like".split())


def _exact(value: Any) -> Fraction | None:
    """A fixed number as a fraction, None for anything else."""
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (int, float)) and math.isfinite(value):
        return Fraction(value)
    return None


def _add(to: Writer, a: Any, b: Any, *, alpha: Any = 1) -> Symbol:
    return to.add([(to.symbol(a), Fraction(1)), (to.symbol(b), Fraction(alpha))])


def _sub(to: Writer, a: Any, b: Any, *, alpha: Any = 1) -> Symbol:
    return _add(to, a, b, alpha=-alpha)


def _mul(to: Writer, a: Any, b: Any) -> Symbol:
    for x, y in ((a, b), (b, a)):
        c = _exact(x)
        if c is not None and isinstance(y, (Symbol, Choice)):
            return to.add([(to.symbol(y), c)])
    return to.multiply(to.symbol(a), to.symbol(b))


def _div(to: Writer, a: Any, b: Any, **options: Any) -> Symbol:
    c = _exact(b)
    if not c or options:
        raise NotPolynomialError("a division by something that is computed is no polynomial")
    return to.add([(to.symbol(a), 1 / c)])


def _sum(to: Writer, a: Symbol, axes: Any = (), keep: bool = False, **options: Any) -> Symbol:
    return to.total(a, [axes] if isinstance(axes, int) else list(axes or ()), keep)


def _mean(to: Writer, a: Symbol, axes: Any = (), keep: bool = False, **options: Any) -> Symbol:
    out = _sum(to, a, axes, keep)
    n = math.prod(to.shape(a)) // max(math.prod(to.shape(out)), 1)
    return to.add([(out, Fraction(1, n))])


def _pow(to: Writer, a: Any, n: Any) -> Symbol:
    if not isinstance(a, (Symbol, Choice)) or n != int(n) or not 1 <= n <= 16:
        raise NotPolynomialError(f"the power {n} is no polynomial")
    x = to.symbol(a)
    out = x
    for _ in range(int(n) - 1):
        out = to.multiply(out, x)
    return out


def _mm(to: Writer, a: Any, b: Any) -> Symbol:
    a, b = to.symbol(a), to.symbol(b)
    out = to.matmul(to.reshaped(a, (1, *to.shape(a))), to.reshaped(b, (1, *to.shape(b))))
    return to.reshaped(out, to.shape(out)[1:])


def _addmm(to: Writer, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Symbol:
    return to.add([(to.symbol(c), Fraction(beta)), (_mm(to, a, b), Fraction(alpha))])


def _bmm(to: Writer, a: Any, b: Any) -> Symbol:
    return to.matmul(to.symbol(a), to.symbol(b))


def _baddbmm(to: Writer, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Symbol:
    return to.add([(to.symbol(c), Fraction(beta)), (_bmm(to, a, b), Fraction(alpha))])


def _mv(to: Writer, a: Any, b: Any) -> Symbol:
    y = _mm(to, a, to.reshaped(to.symbol(b), (*to.shape(b), 1)))
    return to.reshaped(y, to.shape(y)[:1])


def _dot(to: Writer, a: Any, b: Any) -> Symbol:
    return to.total(to.multiply(to.symbol(a), to.symbol(b)), (), False)


def _cat(to: Writer, values: Sequence[Any], axis: int = 0) -> Symbol:
    shapes = [to.shape(v) for v in values]
    whole = torch.cat([torch.full(s, float(i)) for i, s in enumerate(shapes)], axis).numpy()
    terms = []
    for i, v in enumerate(values):
        index = np.full(whole.shape, -1, dtype=np.int64)
        index[whole == i] = np.arange(math.prod(shapes[i]))
        terms.append((to.take(to.symbol(v), index), Fraction(1)))
    return to.add(terms)


def _stack(to: Writer, values: Sequence[Any], axis: int = 0) -> Symbol:
    shape = to.shape(values[0])
    axis %= len(shape) + 1
    inserted = (*shape[:axis], 1, *shape[axis:])
    return _cat(to, [to.reshaped(to.symbol(v), inserted) for v in values], axis)


def _embedding(to: Writer, table: Any, index: Any, *rest: Any) -> Symbol:
    table = to.symbol(table)
    n, width = to.shape(table)
    if not isinstance(index, Choice):
        picked = np.arange(n * width).reshape(n, width)[index.numpy()]
        return to.take(table, picked)
    shape = to.shape(index)
    seen = index.table.unsqueeze(-1) == torch.arange(n)
    places = np.broadcast_to(index.places[..., None], (*shape, n))
    hot = to.symbol(Choice(index.name, places, seen))
    y = _mm(to, to.reshaped(hot, (math.prod(shape), n)), table)
    return to.reshaped(y, (*shape, width))


def _convolution(
    to: Writer,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Symbol:
    if transposed:
        raise NotPolynomialError("a transposed convolution is not written as windows")
    x, weight = to.symbol(x), to.symbol(weight)
    (n, _, *space), (out, inner, *kernel) = to.shape(x), to.shape(weight)
    number = np.arange(1, math.prod(to.shape(x)) + 1).reshape(to.shape(x))
    number = np.pad(number, [(0, 0), (0, 0), *((q, q) for q in padding)])
    sizes = [
        (m + 2 * q - d * (k - 1) - 1) // s + 1
        for m, q, d, k, s in zip(space, padding, dilation, kernel, stride, strict=True)
    ]
    windows = number
    for i, (size, s, d, k) in enumerate(zip(sizes, stride, dilation, kernel, strict=True)):
        places = np.arange(size)[:, None] * s + np.arange(k) * d
        windows = np.moveaxis(np.take(windows, places.ravel(), axis=2 + i), 2 + i, -1)
        windows = np.moveaxis(windows.reshape(*windows.shape[:-1], size, k), -2, 2 + i)
    # now (n, channels, *sizes, *kernel): one batch of products for every example and group
    axes = len(sizes)
    order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
    cut = windows.transpose(order).reshape(n * groups, inner * math.prod(kernel), math.prod(sizes))
    rows = to.reshaped(weight, (groups, out // groups, inner * math.prod(kernel)))
    every = np.arange(math.prod(to.shape(rows))).reshape(to.shape(rows))
    y = to.matmul(to.take(rows, np.tile(every, (n, 1, 1))), to.take(x, cut - 1))
    y = to.reshaped(y, (n, out, *sizes))
    if bias is None:
        return y
    shift = to.reshaped(to.symbol(bias), (1, out, *[1] * axes))
    return to.add([(y, Fraction(1)), (shift, Fraction(1))])


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "rsub": lambda to, a, b, alpha=1: _sub(to, b, a, alpha=alpha),
    "neg": lambda to, a: to.add([(to.symbol(a), Fraction(-1))]),
    "mul": _mul,
    "div": _div,
    "sum": _sum,
    "mean": _mean,
    "pow": _pow,
    "square": lambda to, a: _pow(to, a, 2),
    "mm": _mm,
    "addmm": _addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "mv": _mv,
    "dot": _dot,
    "cat": _cat,
    "stack": _stack,
    "embedding": _embedding,
    "convolution": _convolution,
}
