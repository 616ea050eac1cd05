"""Torch operations as steps of polynomial programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from ..aten import window_counts, window_places
from .program import NotPolynomialError
from .symbols import Choice, Symbol, Writer

WIDEST = 4096  # entries of a value whose map is measured on a basis


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
    x, weight = to.symbol(x), to.symbol(weight)
    (n, channels, *space), (out, inner, *kernel) = to.shape(x), to.shape(weight)
    if transposed:
        inner, out = channels // groups, inner * groups
        reach = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(space, stride, dilation, kernel, strict=True)]
        sizes = [r - 2 * q + o for r, q, o in zip(reach, padding, output_padding, strict=True)]
        whole, read = sizes, space  # positions of the input have windows in the output
    else:
        reach = [m + 2 * q for m, q in zip(space, padding, strict=True)]
        sizes = window_counts(reach, kernel, stride, dilation)
        whole, read = space, sizes
    places = window_places(whole, read, kernel, stride, padding, dilation)
    taps, positions = places.shape
    if transposed:
        # what every position of the input sends to its window; then each output collects what meets there
        rows = to.take(weight, np.arange(channels * out // groups * taps).reshape(groups, inner, -1).swapaxes(1, 2))
        sent = to.matmul(_each(to, rows, n), to.reshaped(x, (n * groups, inner, positions)))
        number = np.arange(n * out * taps * positions).reshape(n * out, taps, positions)
        terms = []
        for tap in range(taps):
            index = np.full((n * out, math.prod(sizes) + 1), -1, dtype=np.int64)
            index[:, places[tap]] = number[:, tap]  # what falls off the edge goes to the last place
            terms.append((to.take(sent, index[:, :-1]), Fraction(1)))
        y = to.add(terms)
    else:
        number = np.arange(math.prod(to.shape(x))).reshape(n * groups, inner, -1)
        number = np.concatenate([number, np.full((*number.shape[:2], 1), -1)], axis=-1)
        cut = to.take(x, number[..., places].reshape(n * groups, inner * taps, positions))
        y = to.matmul(_each(to, to.reshaped(weight, (groups, out // groups, inner * taps)), n), cut)
    y = to.reshaped(y, (n, out, *sizes))
    if bias is None:
        return y
    shift = to.reshaped(to.symbol(bias), (1, out, *[1] * len(sizes)))
    return to.add([(y, Fraction(1)), (shift, Fraction(1))])


def _each(to: Writer, rows: Symbol, examples: int) -> Symbol:
    """The same matrices for every example."""
    shape = to.shape(rows)
    return to.take(rows, np.tile(np.arange(math.prod(shape)).reshape(shape), (examples, 1, 1)))


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
